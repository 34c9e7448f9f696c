"""Saved questions, asked of many accounts at once: one answer a customer."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.context import services
from dashboard.core.sql_text import without_literals
from dashboard.fleet.lists import ACCOUNTS
from dashboard.fleet.models import Account
from dashboard.listing.query import BadQuery, Page
from dashboard.masking import service as reveals
from dashboard.sql import service as query_runs
from dashboard.sql.models import QueryResult, QueryRun, SavedQuery
from dashboard.sql.parameters import TYPES, BadQuestion, checked, names_in, with_values
from dashboard.sql.views.editor import (
    answer_file,
    as_csv,
    ask_for,
    ensure_shown,
    get_question_or_404,
    is_complete,
    is_gone,
    is_shown,
    lines_of,
    rows_of,
)
from dashboard.users.access import visitor
from dashboard.web.access import requires
from dashboard.web.lists import csv_response

bp = Blueprint("queries", __name__)


@bp.get("/queries")
@requires("operator")
def index() -> ResponseReturnValue:
    """All saved questions."""
    return render_template("sql/saved_queries.html", queries=query_runs.saved())


@bp.get("/queries/new")
@requires("operator")
def new() -> ResponseReturnValue:
    """A form for one."""
    return _form(None, {})


@bp.post("/queries/new")
@requires("operator")
def draft() -> ResponseReturnValue:
    """The same with a question that was written elsewhere: posted, since addresses are kept by browsers and proxies."""
    return _form(None, {"text": request.form.get("text", "")})


@bp.post("/queries")
@requires("operator")
def create() -> ResponseReturnValue:
    """Keep one."""
    return _save(None)


@bp.get("/queries/<int:query_id>")
@requires("operator")
def show(query_id: int) -> ResponseReturnValue:
    """One, with its values and the accounts to be asked; ``q`` and ``connector`` choose as the list of accounts does."""
    return _asking(_query_or_404(query_id))


@bp.get("/queries/<int:query_id>/edit")
@requires("operator")
def edit(query_id: int) -> ResponseReturnValue:
    """The form with what it says now."""
    query = _changeable_or_404(query_id)
    kinds = {f"type-{name}": kind for name, kind in query.parameters.items()}
    return _form(query, {"name": query.name, "text": query.text, **kinds})


@bp.post("/queries/<int:query_id>/edit")
@requires("operator")
def change(query_id: int) -> ResponseReturnValue:
    """Keep what was changed."""
    return _save(_changeable_or_404(query_id))


@bp.post("/queries/<int:query_id>/delete")
@requires("operator")
def delete(query_id: int) -> ResponseReturnValue:
    """Forget it; what was asked stays in the audit trail."""
    query_runs.delete(visitor().user, _changeable_or_404(query_id), services().clock())
    return redirect(url_for("queries.index"))


@bp.post("/queries/<int:query_id>/ask")
@requires("operator")
def ask(query_id: int) -> ResponseReturnValue:
    """Ask all accounts that fit, one answer each."""
    query = _query_or_404(query_id)
    try:
        chosen = _chosen()
        accounts, total = ACCOUNTS.all(chosen.query, _most()), chosen.total
        if str(total) != request.form.get("seen", ""):
            raise BadQuestion(
                "Other accounts fit by now than those that you saw: look again, then ask."
            )
        if total > _most():
            raise BadQuestion(
                f"{total:,} accounts fit; your role may ask {_most():,} at once. Choose fewer."
            )
        if not accounts:
            raise BadQuestion("No account fits: choose others.")
        values = {name: request.form.get(f"value-{name}", "") for name in names_in(query.text)}
        text = with_values(query.text, query.parameters, values)
        told = f"“{query.name}”: {without_literals(query.text)}"
        answers = ask_for(query.name, text, [account.id for account in accounts], told)
    except (BadQuestion, query_runs.TooMany, reveals.BadReason) as error:
        return _asking(query, str(error)), 422
    return redirect(url_for("queries.question", question_id=answers[0].question_id))


@bp.get("/questions/<int:question_id>", endpoint="question")
@bp.get("/questions/<int:question_id>.csv", endpoint="question_csv")
@requires("operator")
def question(question_id: int) -> ResponseReturnValue:
    """A question's answers, one a customer; as CSV all their rows, with the account in front."""
    found = get_question_or_404(question_id)
    answers = query_runs.answers(question_id)
    if request.path.endswith(".csv"):
        if not all(map(is_gone, answers)):
            ensure_shown(found)
        complete = all(is_complete(answer) and rows_of(answer) is not None for answer in answers)
        return answer_file(
            csv_response(_together(answers), ""), f"question-{question_id}", "csv", complete
        )
    return _answers("sql/query_run.html", found, answers)


@bp.get("/questions/<int:question_id>/progress")
@requires("operator", poll=True)
def progress(question_id: int) -> ResponseReturnValue:
    """The polled part."""
    return _answers(
        "sql/_results.html", get_question_or_404(question_id), query_runs.answers(question_id)
    )


@bp.post("/questions/<int:question_id>/cancel")
@requires("operator")
def cancel(question_id: int) -> ResponseReturnValue:
    """None of the answers that are still to come is wanted."""
    get_question_or_404(question_id)
    for answer in query_runs.answers(question_id):
        if answer.state in query_runs.OPEN:
            query_runs.finish(
                answer, query_runs.CANCELLED, services().clock(), f"Cancelled by {visitor().email}."
            )
    return redirect(url_for("queries.question", question_id=question_id))


def _query_or_404(query_id: int) -> SavedQuery:
    found = query_runs.saved_or_none(query_id)
    if found is None:
        abort(404, f"There is no saved question {query_id}.")
    return found


def _changeable_or_404(query_id: int) -> SavedQuery:
    """The saved question, for somebody who may change and delete it; 403 for others."""
    query = _query_or_404(query_id)
    try:
        query_runs.check_change(visitor().user, query)
    except query_runs.NotTheirs as error:
        abort(403, str(error))
    return query


def _answers(template: str, question: QueryRun, answers: list[QueryResult]) -> str:
    return render_template(
        template, question=question, answers=answers, open=query_runs.OPEN, shown=is_shown(question)
    )


def _most() -> int:
    return (
        query_runs.MOST_OPEN
        if visitor().may("admin")
        else min(query_runs.MOST_OPEN, services().settings.dashboard_bulk_most)
    )


def _chosen() -> Page[Account]:
    """The first of the accounts that fit, and how many do."""
    return ACCOUNTS.page(
        ACCOUNTS.read({name: request.values.get(name, "") for name in ("q", "connector")})
    )


def _asking(query: SavedQuery, problem: str = "") -> str:
    chosen = _chosen()
    return render_template(
        "sql/saved_query.html",
        query=query,
        may_change=query_runs.may_change(visitor().user, query),
        names=names_in(query.text),
        accounts=chosen.items[:12],
        total=chosen.total,
        most=_most(),
        problem=problem,
        typed=request.values,
        connectors=ACCOUNTS.choices(chosen)["connector"],
    )


def _form(query: SavedQuery | None, typed: Any, problem: str = "") -> str:
    names = names_in(typed.get("text", ""))
    return render_template(
        "sql/saved_query_form.html",
        query=query,
        typed=typed,
        names=names,
        types=TYPES,
        problem=problem,
    )


def _save(query: SavedQuery | None) -> ResponseReturnValue:
    try:
        text = checked(request.form.get("text", ""))
        kinds = {name: request.form.get(f"type-{name}", "text") for name in names_in(text)}
        if wrong := next((kind for kind in kinds.values() if kind not in TYPES), None):
            raise BadQuery(f"There is no type “{wrong}”.")
        kept = query_runs.save(
            visitor().user, query, request.form.get("name", ""), text, kinds, services().clock()
        )
    except BadQuery:
        raise
    except ValueError as error:
        return _form(query, request.form, str(error)), 422
    return redirect(url_for("queries.show", query_id=kept.id))


def _together(answers: list[Any]) -> list[dict[str, Any]]:
    """All rows of all answers, with every column that any of them has."""
    lines, columns = [], ["account_id", "account_name"]
    for answer in answers:
        names, items = lines_of(answer, rows_of(answer) or ())
        columns += [name for name in names if name not in columns]
        account = {"account_id": answer.account_id, "account_name": answer.account.title}
        # A column of the answer's that is called so as well comes behind.
        lines += [{**as_csv(item), **account} for item in items]
    return [{name: line.get(name) for name in columns} for line in lines]
