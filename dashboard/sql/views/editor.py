"""The SQL editor of an account, and the pages of query results.

A worker runs the queries; a result's page polls until the result exists.
"""

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
from dashboard.core import database_urls
from dashboard.core.egress import NotAllowed
from dashboard.core.sql_text import title_of, without_literals
from dashboard.core.text import name_for
from dashboard.fleet.models import Account
from dashboard.listing.query import Page, read_query
from dashboard.masking import service as reveals
from dashboard.masking.rule_file import SEES_ALL
from dashboard.sql import service as query_runs
from dashboard.sql.backends import postgresql
from dashboard.sql.models import QueryResult, QueryRun
from dashboard.sql.parameters import BadStatement, checked, names_in
from dashboard.sql.tasks import run_query
from dashboard.tables.cells import cell, plain
from dashboard.users.authentication import visitor
from dashboard.web.lists import ListContext, csv_response
from dashboard.web.lookup import get_account_or_404
from dashboard.web.required_role import requires

bp = Blueprint("sql", __name__)
bp = Blueprint("sql", __name__)
REASON_NEEDED = (
    "This answer is not shown yet: say on its page why you need it."
    " The reason stands in the audit trail."
)


@dataclass(frozen=True)
class AnswerPage:
    """The context of a result's page and of its polled fragment.

    ``shown``: whether the user may see the result now. ``text``: the statement; None after a day.
    ``list``: a page of the rows as cells; None if there are no rows or they may not be shown.
    """

    answer: QueryResult
    shown: bool
    text: str | None
    columns: Sequence[tuple[str, str]]
    list: ListContext | None

    @property
    def moves(self) -> bool:
        """Whether the query is waiting or running."""
        return self.answer.state in query_runs.OPEN

    @property
    def is_deleted(self) -> bool:
        """Whether the result was deleted after a day."""
        return is_deleted(self.answer)


@bp.get("/accounts/<int:account_id>/sql")
@requires("operator")
def ask(account_id: int) -> ResponseReturnValue:
    """Show the SQL editor, and the user's latest results at this account.

    ``answer``: the id of a result whose statement the editor starts with.
    """
    account, result_id = get_account_or_404(account_id), request.args.get("answer", type=int)
    text = text_of(get_result_or_404(result_id)) if result_id is not None else None
    return _editor(account, text or "")


@bp.post("/accounts/<int:account_id>/sql")
@requires("operator")
def begin(account_id: int) -> ResponseReturnValue:
    """Start a query; with a ``reason``, its result is shown as soon as it exists."""
    account, written = get_account_or_404(account_id), request.form.get("text", "")
    try:
        text = checked(written)
        if names := names_in(text):
            raise BadStatement(
                f"“:{names[0]}” has no value here."
                " Write the value, or save the question and ask it from there."
            )
        (result,) = start_queries(title_of(text), text, [account_id], without_literals(text))
    except (BadStatement, query_runs.TooManyQueries, reveals.BadReason) as error:
        return _editor(account, written, str(error)), 422
    return redirect(url_for("sql.show", answer_id=result.id))


@bp.get("/accounts/<int:account_id>/sql/schema")
@requires("operator", poll=True)
def schema(account_id: int) -> ResponseReturnValue:
    """Show the account's tables next to the editor, or the columns of one ``table``, read live."""
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
    """Store the address for direct connections to the warehouse; without one, remove it."""
    account, text = get_account_or_404(account_id), request.form.get("address", "").strip()
    vault, shown = services().vault, ""
    try:
        if text:
            address = database_urls.read_postgresql(text)
            services().settings.egress_policy.ensure(address)
            postgresql.check(address, services().settings.store_address)
            shown = address.shown
        query_runs.save_dsn(
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
    """Show a page of a result's rows, or send all rows as JSON, CSV or JSON Lines."""
    result = get_result_or_404(answer_id)
    suffix = request.path.rpartition(".")[2] if "." in request.path else ""
    if not suffix:
        return render_template("sql/result.html", page=_page(result), account=result.account)
    if is_deleted(result):
        abort(410, "The rows were deleted after a day. Ask again to have them.")
    ensure_shown(result.question)
    rows = rows_of(result)
    if rows is None:
        code = 409 if result.state in query_runs.OPEN else 410
        abort(code, "There are no rows: the answer is not there yet, or it failed.")
    names, items = lines_of(result, rows)
    complete = is_complete(result)
    name = f"answer-{result.id}"
    if suffix == "csv":
        lines = csv_response([as_csv(item) for item in items], "")
        return name_file(lines, name, "csv", complete)
    if suffix == "jsonl":
        text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        response = Response(text, mimetype="application/jsonl")
        return name_file(response, name, "jsonl", complete)
    shape = [
        {"name": name, "type": kind}
        for name, (_, kind) in zip(names, columns_of(result), strict=True)
    ]
    return jsonify(
        columns=shape, items=items, total=len(items), complete=complete, told=result.told
    )


@bp.get("/answers/<int:answer_id>/progress")
@requires("operator", poll=True)
def progress(answer_id: int) -> ResponseReturnValue:
    """Show a result as a fragment, which the page polls until the query is finished."""
    return render_template("sql/_result.html", page=_page(get_result_or_404(answer_id)))


@bp.post("/answers/<int:answer_id>/cancel")
@requires("operator")
def cancel(answer_id: int) -> ResponseReturnValue:
    """Cancel a query; its worker cancels it in the database within half a second."""
    result = get_result_or_404(answer_id)
    query_runs.finish(
        result, query_runs.CANCELLED, services().clock(), f"Cancelled by {visitor().email}."
    )
    return redirect(url_for("sql.show", answer_id=answer_id))


@bp.post("/questions/<int:question_id>/reveal")
@requires("operator")
def reveal(question_id: int) -> ResponseReturnValue:
    """Show the results of a run to its user for 15 minutes, for a reason that is audited."""
    run = get_run_or_404(question_id)
    try:
        query_runs.reveal(run, visitor().user, request.form.get("why", ""), services().clock())
    except (reveals.BadReason, query_runs.NotOwner) as error:
        flash(f"Nothing was shown. {error}", "danger")
    answer_id = request.form.get("answer", type=int)
    back = (
        url_for("sql.show", answer_id=answer_id)
        if answer_id
        else url_for("queries.question", question_id=question_id)
    )
    return redirect(back)


def start_queries(title: str, text: str, accounts: Sequence[int], detail: str) -> list[QueryResult]:
    """Store a query run, with the form's reason if there is one, and enqueue it. Commits.

    ``title`` and ``detail`` are stored and must not contain values. Returns one waiting result for
    each account.

    Raises:
        query_runs.TooManyQueries: too many queries of the user are waiting or running.
        reveals.BadReason: the reason is too short or too long.
    """
    encrypted = query_runs.encrypted(text, services().vault.keys)
    reason = request.form.get("reason", "")
    new = query_runs.NewRun(title, encrypted, accounts, detail, reason)
    run = query_runs.start_run(visitor().user, new, services().clock())
    results = query_runs.results_of(run.id)
    for result in results:
        run_query.enqueue_when_due(result)
    return results


def is_shown(run: QueryRun) -> bool:
    """Return whether the user may see the results of a run now; checked with each request.

    Administrators may; the user who ran the query may for 15 minutes after giving a reason.
    """
    user = visitor().user
    return user.role == SEES_ALL or (
        run.who == user.email and query_runs.is_revealed(run, services().clock())
    )


def ensure_shown(run: QueryRun) -> None:
    """Abort with 403 and what to do if the user may not see the results now."""
    if not is_shown(run):
        abort(403, REASON_NEEDED)


def get_run_or_404(run_id: int) -> QueryRun:
    """Return a run of the user, or of anyone for an administrator; abort with 404 otherwise."""
    found = query_runs.run_or_none(run_id)
    if found is None or (found.who != visitor().email and not visitor().may("admin")):
        abort(404, f"There is no question {run_id} of yours.")
    return found


def get_result_or_404(result_id: int) -> QueryResult:
    """Return a result of the user, or of anyone for an administrator; abort with 404 otherwise."""
    found = query_runs.result_or_none(result_id)
    if found is None or (found.question.who != visitor().email and not visitor().may("admin")):
        abort(404, f"There is no answer {result_id} of yours.")
    return found


def rows_of(result: QueryResult) -> list[list[Any]] | None:
    """Return a result's rows; None if there are none yet or they were deleted."""
    return query_runs.unpack(result.rows, services().vault.keys)


def columns_of(result: QueryResult) -> list[tuple[str, str]]:
    """Return name and type of a result's columns; the previous version did not encrypt names."""
    keys = services().vault.keys
    return [
        (query_runs.decrypted(name.encode(), keys) or name, kind)
        for name, kind, *_ in result.columns
    ]


def text_of(result: QueryResult) -> str | None:
    """Return the statement of a result; None after a day."""
    return query_runs.decrypted(result.question.text, services().vault.keys)


def is_deleted(result: QueryResult) -> bool:
    """Return whether a result was deleted after a day."""
    return result.state not in query_runs.OPEN and not result.question.text


def lines_of(result: QueryResult, rows: Sequence[Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return unique column names, and the rows by them: ``select a.id, b.id`` has id and id_2."""
    names: list[str] = []
    for name, _ in columns_of(result):
        names.append(name_for(name, names, fold=False, most_bytes=None))
    return names, [dict(zip(names, row, strict=True)) for row in rows]


def is_complete(result: QueryResult) -> bool:
    """Return whether a result has all rows: no limit was reached, and the query did not fail."""
    return result.state == query_runs.DONE and not result.told


def name_file(response: Response, name: str, suffix: str, complete: bool) -> Response:
    """Name a file of results, so that an incomplete one is recognised.

    Its name then ends in ``-incomplete``, and its header ``X-Complete`` is false.
    """
    response.headers["Content-Disposition"] = (
        f'attachment; filename="{name}{"" if complete else "-incomplete"}.{suffix}"'
    )
    response.headers["X-Complete"] = "true" if complete else "false"
    return response


def as_csv(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for CSV: lists and objects as JSON."""
    return {name: plain(value) for name, value in item.items()}


def _page(result: QueryResult) -> AnswerPage:
    shown, list_ = is_shown(result.question), None
    if shown and (rows := rows_of(result)) is not None:
        query = read_query(request.args, {}, {})
        start = (query.page - 1) * query.per_page
        cells = [[cell(value) for value in row] for row in rows[start : start + query.per_page]]
        list_ = ListContext("sql.show", {"answer_id": result.id}, Page(cells, len(rows), query), "")
    return AnswerPage(result, shown, text_of(result), columns_of(result) if shown else (), list_)


def _editor(account: Account, text: str, problem: str = "") -> str:
    address = query_runs.dsn_or_none(account.id)
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
