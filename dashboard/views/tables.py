"""The data: databases, tables, rows and one row, all asked for live; the URL is the state."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.app import console
from dashboard.store.listing import Page, read_query
from dashboard.store.models import Account
from dashboard.views import htmx
from dashboard.views.access import requires
from dashboard.views.accounts import get_account_or_404
from dashboard.views.cells import cell, raw
from dashboard.views.pages import Shown, csv_cell, csv_response

bp = Blueprint("tables", __name__, url_prefix="/accounts/<int:account_id>")


@dataclass(frozen=True)
class RowsPage:
    """What the page and its fragment receive. Items of ``list`` are a row's id, if it has one, and its cells."""

    account: Account
    table: peliqan.Table
    columns: tuple[peliqan.Column, ...]
    list: Shown


@bp.get("/databases/<int:database_id>")
@requires("viewer")
def database(account_id: int, database_id: int) -> ResponseReturnValue:
    """The tables of a database."""
    account = get_account_or_404(account_id)
    api = console().api.for_account(account_id)
    found = next((each for each in api.databases() if each.id == database_id), None)
    if found is None:
        abort(404, f"{account.title} has no database {database_id}.")
    return render_template("pages/database.html", account=account, database=found, tables=api.tables(database_id))


@bp.get("/tables/<int:table_id>", endpoint="rows")
@bp.get("/tables/<int:table_id>.json", endpoint="rows_json")
@bp.get("/tables/<int:table_id>.csv", endpoint="rows_csv")
@requires("viewer")
def rows(account_id: int, table_id: int) -> ResponseReturnValue:
    """One page of a table's rows, as a page, JSON or CSV."""
    account = get_account_or_404(account_id)
    api = console().api.for_account(account_id)
    columns = api.columns(table_id)
    query = read_query(request.args, [column.name for column in columns])
    found = api.rows(table_id, page=query.page, size=query.per_page, search=query.q, order_by=query.sort)
    cells = [(_row_id(row), [cell(row.get(column.name), column.type) for column in columns]) for row in found.rows]
    page = Page(cells, found.count, query)
    if request.path.endswith(".json"):
        shape = [{"name": column.name, "type": column.type} for column in columns]
        return jsonify(columns=shape, items=list(found.rows), page=query.page, per_page=query.per_page, total=found.count)
    if request.path.endswith(".csv"):
        lines = [{column.name: csv_cell(_plain(row.get(column.name))) for column in columns} for row in found.rows]
        return csv_response(lines, f"table-{table_id}-page-{query.page}.csv")
    shown = Shown("tables.rows", {"account_id": account_id, "table_id": table_id}, page, default_sort="")
    template = "fragments/_rows.html" if htmx.is_htmx() else "pages/rows.html"
    return render_template(template, page=RowsPage(account, api.table(table_id), columns, shown))


@bp.get("/tables/<int:table_id>/rows/<int:row_id>")
@requires("viewer")
def row(account_id: int, table_id: int, row_id: int) -> ResponseReturnValue:
    """One row, whole."""
    account = get_account_or_404(account_id)
    api = console().api.for_account(account_id)
    table, columns, values = api.table(table_id), api.columns(table_id), api.row(table_id, row_id)
    cells = [(column, cell(values.get(column.name), column.type), raw(values.get(column.name))) for column in columns]
    return render_template("pages/row.html", account=account, table=table, row_id=row_id, cells=cells)


def _row_id(row: dict[str, Any]) -> int | None:
    found = row.get("id")
    return found if isinstance(found, int) and found >= 0 else None


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float)) else raw(value)
