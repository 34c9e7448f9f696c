"""Pages of saved queries, which can be run at many accounts at once."""

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
from dashboard.sql.limits import MOST_OPEN
from dashboard.sql.models import QueryResult, QueryRun, SavedQuery
from dashboard.sql.parameters import TYPES, BadStatement, checked, names_in, with_values
from dashboard.sql.views.editor import (
    as_csv,
    ensure_shown,
    get_run_or_404,
    is_complete,
    is_deleted,
    is_shown,
    lines_of,
    name_file,
    rows_of,
    start_queries,
)
from dashboard.users.authentication import visitor
from dashboard.web.lists import csv_response
from dashboard.web.required_role import requires

bp = Blueprint("queries", __name__)


@bp.get("/queries")
@requires("operator")
def index() -> ResponseReturnValue:
    """Show all saved queries."""
    return render_template("sql/saved_queries.html", queries=query_runs.saved_queries())


@bp.get("/queries/new")
@requires("operator")
def new() -> ResponseReturnValue:
    """Show the form for a new saved query."""
    return _form(None, {})


@bp.post("/queries/new")
@requires("operator")
def draft() -> ResponseReturnValue:
    """Show the form with a statement from the editor.

    By POST, because browsers and proxies store addresses.
    """
    return _form(None, {"text": request.form.get("text", "")})


@bp.post("/queries")
@requires("operator")
def create() -> ResponseReturnValue:
    """Store a new saved query."""
    return _save(None)


@bp.get("/queries/<int:query_id>")
@requires("operator")
def show(query_id: int) -> ResponseReturnValue:
    """Show a saved query with its parameters and accounts.

    ``q`` and ``connector`` filter the accounts as in the list of accounts.
    """
    return _run_form(_query_or_404(query_id))


@bp.get("/queries/<int:query_id>/edit")
@requires("operator")
def edit(query_id: int) -> ResponseReturnValue:
    """Show the form with the content of a saved query."""
    query = _changeable_or_404(query_id)
    kinds = {f"type-{name}": kind for name, kind in query.parameters.items()}
    return _form(query, {"name": query.name, "text": query.text, **kinds})


@bp.post("/queries/<int:query_id>/edit")
@requires("operator")
def change(query_id: int) -> ResponseReturnValue:
    """Store the changes of a saved query."""
    return _save(_changeable_or_404(query_id))


@bp.post("/queries/<int:query_id>/delete")
@requires("operator")
def delete(query_id: int) -> ResponseReturnValue:
    """Delete a saved query; its runs stay in the audit trail."""
    query_runs.delete(visitor().user, _changeable_or_404(query_id), services().clock())
    return redirect(url_for("queries.index"))


@bp.post("/queries/<int:query_id>/ask")
@requires("operator")
def ask(query_id: int) -> ResponseReturnValue:
    """Run a saved query at all accounts that fit, with one result for each."""
    query = _query_or_404(query_id)
    try:
        chosen = _chosen()
        accounts, total = ACCOUNTS.all(chosen.query, _most()), chosen.total
        if str(total) != request.form.get("seen", ""):
            raise BadStatement(
                "Other accounts fit by now than those that you saw: look again, then ask."
            )
        if total > _most():
            raise BadStatement(
                f"{total:,} accounts fit; your role may ask {_most():,} at once. Choose fewer."
            )
        if not accounts:
            raise BadStatement("No account fits: choose others.")
        values = {name: request.form.get(f"value-{name}", "") for name in names_in(query.text)}
        text = with_values(query.text, query.parameters, values)
        detail = f"“{query.name}”: {without_literals(query.text)}"
        results = start_queries(query.name, text, [account.id for account in accounts], detail)
    except (BadStatement, query_runs.TooManyQueries, reveals.BadReason) as error:
        return _run_form(query, str(error)), 422
    return redirect(url_for("queries.question", question_id=results[0].question_id))


@bp.get("/questions/<int:question_id>", endpoint="question")
@bp.get("/questions/<int:question_id>.csv", endpoint="question_csv")
@requires("operator")
def question(question_id: int) -> ResponseReturnValue:
    """Show the results of a query run, or send all their rows as CSV with the account's columns."""
    run = get_run_or_404(question_id)
    results = query_runs.results_of(question_id)
    if request.path.endswith(".csv"):
        if not all(map(is_deleted, results)):
            ensure_shown(run)
        complete = all(is_complete(result) and rows_of(result) is not None for result in results)
        response = csv_response(_all_rows(results), "")
        return name_file(response, f"question-{question_id}", "csv", complete)
    return _render_results("sql/query_run.html", run, results)


@bp.get("/questions/<int:question_id>/progress")
@requires("operator", poll=True)
def progress(question_id: int) -> ResponseReturnValue:
    """Show the results as a fragment, which the page polls until all are finished."""
    run, results = get_run_or_404(question_id), query_runs.results_of(question_id)
    return _render_results("sql/_results.html", run, results)


@bp.post("/questions/<int:question_id>/cancel")
@requires("operator")
def cancel(question_id: int) -> ResponseReturnValue:
    """Cancel the queries of a run that are waiting or running."""
    get_run_or_404(question_id)
    for result in query_runs.results_of(question_id):
        if result.state in query_runs.OPEN:
            query_runs.finish(
                result, query_runs.CANCELLED, services().clock(), f"Cancelled by {visitor().email}."
            )
    return redirect(url_for("queries.question", question_id=question_id))


def _query_or_404(query_id: int) -> SavedQuery:
    found = query_runs.saved_query_or_none(query_id)
    if found is None:
        abort(404, f"There is no saved question {query_id}.")
    return found


def _changeable_or_404(query_id: int) -> SavedQuery:
    """Return a saved query that the user may change or delete; abort with 403 otherwise."""
    query = _query_or_404(query_id)
    try:
        query_runs.check_change(visitor().user, query)
    except query_runs.NotOwner as error:
        abort(403, str(error))
    return query


def _render_results(template: str, run: QueryRun, results: list[QueryResult]) -> str:
    return render_template(
        template, question=run, answers=results, open=query_runs.OPEN, shown=is_shown(run)
    )


def _most() -> int:
    return (
        MOST_OPEN
        if visitor().may("admin")
        else min(MOST_OPEN, services().settings.dashboard_bulk_most)
    )


def _chosen() -> Page[Account]:
    """Return the first page of the accounts that fit, with their total."""
    return ACCOUNTS.page(
        ACCOUNTS.read({name: request.values.get(name, "") for name in ("q", "connector")})
    )


def _run_form(query: SavedQuery, problem: str = "") -> str:
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
        new = query_runs.QueryInput(request.form.get("name", ""), text, kinds)
        stored = query_runs.save(visitor().user, query, new, services().clock())
    except BadQuery:
        raise
    except ValueError as error:
        return _form(query, request.form, str(error)), 422
    return redirect(url_for("queries.show", query_id=stored.id))


def _all_rows(results: list[QueryResult]) -> list[dict[str, Any]]:
    """Return the rows of all results, with every column that any of them has."""
    lines, columns = [], ["account_id", "account_name"]
    for result in results:
        names, items = lines_of(result, rows_of(result) or ())
        columns += [name for name in names if name not in columns]
        account = {"account_id": result.account_id, "account_name": result.account.title}
        # The account's columns replace those of the result with the same name.
        lines += [{**as_csv(item), **account} for item in items]
    return [{name: line.get(name) for name in columns} for line in lines]
