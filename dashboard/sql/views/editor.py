"""Questions in SQL to one account's warehouse, and their answers: asked by a worker, looked at until they are there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.context import services
from dashboard.core import addresses
from dashboard.core.egress import NotAllowed
from dashboard.core.sql_text import title_of, without_literals
from dashboard.core.text import name_for
from dashboard.fleet.models import Account
from dashboard.listing.query import Page, read_query
from dashboard.masking import service as reveals
from dashboard.masking.rules import SEES_ALL
from dashboard.sql import service as query_runs
from dashboard.sql.backends import postgresql
from dashboard.sql.models import QueryResult, QueryRun
from dashboard.sql.parameters import BadQuestion, checked, names_in
from dashboard.sql.tasks import run_query
from dashboard.tables.cells import cell, plain
from dashboard.users.access import visitor
from dashboard.web.access import requires
from dashboard.web.lists import ListContext, csv_response
from dashboard.web.lookup import get_account_or_404

bp = Blueprint("sql", __name__)


REASON_NEEDED = "This answer is not shown yet: say on its page why you need it. The reason stands in the audit trail."


@dataclass(frozen=True)
class AnswerPage:
    """An answer as its page and the polled part show it.

    ``shown``: whether this person may see it now; where not, nothing that was answered is shown. ``list``: a page of its rows
    as cells; None before there are any.
    """

    answer: QueryResult
    shown: bool
    text: str | None
    columns: Sequence[tuple[str, str]]
    list: ListContext | None

    @property
    def moves(self) -> bool:
        """Whether anything changes by itself."""
        return self.answer.state in query_runs.OPEN

    @property
    def gone(self) -> bool:
        """Whether it was deleted because a day has passed."""
        return is_gone(self.answer)


@bp.get("/accounts/<int:account_id>/sql")
@requires("operator")
def ask(account_id: int) -> ResponseReturnValue:
    """Show where a question is written, and what one has asked here before; ``answer``: begin with the question of that one."""
    account, answer_id = get_account_or_404(account_id), request.args.get("answer", type=int)
    return _editor(
        account, text_of(get_answer_or_404(answer_id)) or "" if answer_id is not None else ""
    )


@bp.post("/accounts/<int:account_id>/sql")
@requires("operator")
def begin(account_id: int) -> ResponseReturnValue:
    """Have the question asked; with ``reason``, its answer is shown as soon as it is there."""
    account, written = get_account_or_404(account_id), request.form.get("text", "")
    try:
        text = checked(written)
        if names := names_in(text):
            raise BadQuestion(
                f"“:{names[0]}” has no value here. Write the value, or save the question and ask it from there."
            )
        (answer,) = ask_for(title_of(text), text, [account_id], without_literals(text))
    except (BadQuestion, query_runs.TooMany, reveals.BadReason) as error:
        return _editor(account, written, str(error)), 422
    return redirect(url_for("sql.show", answer_id=answer.id))


@bp.get("/accounts/<int:account_id>/sql/schema")
@requires("operator", poll=True)
def schema(account_id: int) -> ResponseReturnValue:
    """The account's tables, and one's columns where ``table`` says which; asked for live, beside the editor."""
    account = get_account_or_404(account_id)
    api, table_id = services().api.for_account(account_id), request.args.get("table", type=int)
    try:
        columns = api.columns(table_id) if table_id is not None else ()
        databases = (
            []
            if table_id is not None
            else [(each, api.tables(each.id)) for each in api.databases()]
        )
        problem = None
    except peliqan.PeliqanError as error:
        columns, databases, problem = (), [], error
    template = "sql/_columns.html" if table_id is not None else "sql/_schema.html"
    return render_template(
        template, account=account, databases=databases, columns=columns, problem=problem
    )


@bp.post("/accounts/<int:account_id>/warehouse")
@requires("admin")
def keep_address(account_id: int) -> ResponseReturnValue:
    """Have the account's warehouse asked directly at this address, or without one through Peliqan again."""
    account, text = get_account_or_404(account_id), request.form.get("address", "").strip()
    vault, shown = services().vault, ""
    try:
        if text:
            address = addresses.read_postgresql(text)
            services().settings.places.ensure(address)
            postgresql.check(address, services().settings.store_address)
            shown = address.shown
        query_runs.keep_address(
            visitor().user,
            account,
            vault.encrypt(text) if text else None,
            shown,
            services().clock(),
        )
    except (postgresql.BadAddress, NotAllowed) as error:
        flash(f"Nothing was changed. {error} Enter it again.", "danger")
    return redirect(url_for("sql.ask", account_id=account_id))


@bp.get("/answers/<int:answer_id>", endpoint="show")
@bp.get("/answers/<int:answer_id>.json", endpoint="show_json")
@bp.get("/answers/<int:answer_id>.csv", endpoint="show_csv")
@bp.get("/answers/<int:answer_id>.jsonl", endpoint="show_jsonl")
@requires("operator")
def show(answer_id: int) -> ResponseReturnValue:
    """An answer: a page of its rows; all of them for scripts."""
    answer = get_answer_or_404(answer_id)
    suffix = request.path.rpartition(".")[2] if "." in request.path else ""
    if not suffix:
        return render_template("sql/result.html", page=_page(answer), account=answer.account)
    if is_gone(answer):
        abort(410, "The rows were deleted after a day. Ask again to have them.")
    ensure_shown(answer.question)
    rows = rows_of(answer)
    if rows is None:
        code = 409 if answer.state in query_runs.OPEN else 410
        abort(code, "There are no rows: the answer is not there yet, or it failed.")
    names, items = lines_of(answer, rows)
    complete = is_complete(answer)
    if suffix == "csv":
        return answer_file(
            csv_response([as_csv(item) for item in items], ""),
            f"answer-{answer.id}",
            "csv",
            complete,
        )
    if suffix == "jsonl":
        lines = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        return answer_file(
            Response(lines, mimetype="application/jsonl"), f"answer-{answer.id}", "jsonl", complete
        )
    shape = [
        {"name": name, "type": kind}
        for name, (_, kind) in zip(names, columns_of(answer), strict=True)
    ]
    return jsonify(
        columns=shape, items=items, total=len(items), complete=complete, told=answer.told
    )


@bp.get("/answers/<int:answer_id>/progress")
@requires("operator", poll=True)
def progress(answer_id: int) -> ResponseReturnValue:
    """The polled part: the answer as soon as it is there."""
    return render_template("sql/_result.html", page=_page(get_answer_or_404(answer_id)))


@bp.post("/answers/<int:answer_id>/cancel")
@requires("operator")
def cancel(answer_id: int) -> ResponseReturnValue:
    """Not wanted any more: whoever asks sees that within half a second, and cancels it in the database."""
    answer = get_answer_or_404(answer_id)
    query_runs.finish(
        answer, query_runs.CANCELLED, services().clock(), f"Cancelled by {visitor().email}."
    )
    return redirect(url_for("sql.show", answer_id=answer_id))


@bp.post("/questions/<int:question_id>/reveal")
@requires("operator")
def reveal(question_id: int) -> ResponseReturnValue:
    """The person who asked says why they need the answers; they are shown for a quarter of an hour then."""
    question = get_question_or_404(question_id)
    try:
        query_runs.reveal(question, visitor().user, request.form.get("why", ""), services().clock())
    except (reveals.BadReason, query_runs.NotTheirs) as error:
        flash(f"Nothing was shown. {error}", "danger")
    answer_id = request.form.get("answer", type=int)
    back = (
        url_for("sql.show", answer_id=answer_id)
        if answer_id
        else url_for("queries.question", question_id=question_id)
    )
    return redirect(back)


def ask_for(title: str, text: str, accounts: Sequence[int], told: str) -> list[QueryResult]:
    """Write the question down, with the form's reason where it has one, and ask the workers for its answers, one an account.

    ``title`` and ``told`` stay, and hold no values.

    Raises:
        questions.TooMany: too many of this person's are under way.
        reveals.BadReason: the reason is too short or too long.
    """
    sealed, reason = query_runs.sealed(text, services().vault.keys), request.form.get("reason", "")
    asked = query_runs.start_run(
        visitor().user, title, sealed, accounts, told, services().clock(), reason
    )
    found = query_runs.answers(asked.id)
    for answer in found:
        run_query.enqueue_when_due(answer)
    return found


def is_shown(question: QueryRun) -> bool:
    """Return whether the person may see the answers to a question now; decided with each request, whatever is handed over.

    Administrators may; whoever asked it may for a quarter of an hour after they gave a reason.
    """
    user = visitor().user
    return user.role == SEES_ALL or (
        question.who == user.email and query_runs.is_revealed(question, services().clock())
    )


def ensure_shown(question: QueryRun) -> None:
    """Answer 403, with what to do, where the person may not see the answers now."""
    if not is_shown(question):
        abort(403, REASON_NEEDED)


def get_question_or_404(question_id: int) -> QueryRun:
    """The question, if it is one's own, or one is an administrator."""
    found = query_runs.question_or_none(question_id)
    if found is None or (found.who != visitor().email and not visitor().may("admin")):
        abort(404, f"There is no question {question_id} of yours.")
    return found


def get_answer_or_404(answer_id: int) -> QueryResult:
    """The answer, if its question is one's own, or one is an administrator."""
    found = query_runs.answer_or_none(answer_id)
    if found is None or (found.question.who != visitor().email and not visitor().may("admin")):
        abort(404, f"There is no answer {answer_id} of yours.")
    return found


def rows_of(answer: QueryResult) -> list[list[Any]] | None:
    """Its rows, None where there are none yet, or no more."""
    return query_runs.unpacked(answer.rows, services().vault.keys)


def columns_of(answer: QueryResult) -> list[tuple[str, str]]:
    """Name and type of its columns. The version before this one kept names as they are."""
    keys = services().vault.keys
    return [
        (query_runs.opened(name.encode(), keys) or name, kind) for name, kind, *_ in answer.columns
    ]


def text_of(answer: QueryResult) -> str | None:
    """Return the statement as it was asked; None after a day."""
    return query_runs.opened(answer.question.text, services().vault.keys)


def is_gone(answer: QueryResult) -> bool:
    """Return whether what was answered was deleted because a day has passed."""
    return answer.state not in query_runs.OPEN and not answer.question.text


def lines_of(answer: QueryResult, rows: Sequence[Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Its columns' names, and its rows by them. ``select a.id, b.id`` has two names: id, id_2."""
    names: list[str] = []
    for name, _ in columns_of(answer):
        names.append(name_for(name, names, fold=False, most_bytes=None))
    return names, [dict(zip(names, row, strict=True)) for row in rows]


def is_complete(answer: QueryResult) -> bool:
    """Return whether all rows of the answer are there: it was not cut at a limit and did not break off."""
    return answer.state == query_runs.DONE and not answer.told


def answer_file(response: Response, name: str, suffix: str, complete: bool) -> Response:
    """Name a file of an answer, so that one that is not complete can be told from a complete one.

    Its name ends in ``-incomplete`` then, and the header ``X-Complete`` is false, for a script that keeps no name.
    """
    response.headers["Content-Disposition"] = (
        f'attachment; filename="{name}{"" if complete else "-incomplete"}.{suffix}"'
    )
    response.headers["X-Complete"] = "true" if complete else "false"
    return response


def as_csv(item: Mapping[str, Any]) -> dict[str, Any]:
    """A row as CSV has it: JSON where a value has a shape."""
    return {name: plain(value) for name, value in item.items()}


def _page(answer: QueryResult) -> AnswerPage:
    shown, list_ = is_shown(answer.question), None
    if shown and (rows := rows_of(answer)) is not None:
        query = read_query(request.args, {}, {})
        start = (query.page - 1) * query.per_page
        cells = [[cell(value) for value in row] for row in rows[start : start + query.per_page]]
        list_ = ListContext("sql.show", {"answer_id": answer.id}, Page(cells, len(rows), query), "")
    return AnswerPage(answer, shown, text_of(answer), columns_of(answer) if shown else (), list_)


def _editor(account: Account, text: str, problem: str = "") -> str:
    address = query_runs.address_or_none(account.id)
    return render_template(
        "sql/editor.html",
        account=account,
        text=text,
        reason=request.form.get("reason", ""),
        problem=problem,
        address=address,
        latest=query_runs.latest_of(visitor().email, account.id),
        is_shown=is_shown,
    )
