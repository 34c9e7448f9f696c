"""The data: databases, tables, rows and one row, all asked for live; the URL is the state."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.app import console
from dashboard.store.listing import LONGEST_SEARCH, PAGE_SIZES, BadQuery, NoSuchPage, whole_number
from dashboard.store.models import Account
from dashboard.views import htmx
from dashboard.views.access import requires
from dashboard.views.accounts import get_account_or_404
from dashboard.views.cells import Cell, cell, raw
from dashboard.views.pages import csv_cell, csv_response

bp = Blueprint("tables", __name__, url_prefix="/accounts/<int:account_id>")


@dataclass(frozen=True)
class RowsQuery:
    """What was asked of a table. ``sort``: a column's name, ``-`` in front for descending."""

    q: str
    sort: str
    page: int
    per_page: int

    @classmethod
    def read(cls, columns: tuple[peliqan.Column, ...]) -> "RowsQuery":
        """From the request, the sort checked against the table's columns.

        Raises:
            BadQuery: with a sentence.
        """
        q, sort = request.args.get("q", "").strip(), request.args.get("sort", "")
        if len(q) > LONGEST_SEARCH or "\0" in q:
            raise BadQuery(f"The search text must have at most {LONGEST_SEARCH} characters, and no NUL.")
        names = {column.name for column in columns}
        if sort and sort not in names and sort.removeprefix("-") not in names:
            raise BadQuery(f"The table has no column “{sort[:60]}” to sort by.")
        page = whole_number("page", request.args.get("page") or "1", 10**9)
        return cls(q, sort, page, whole_number("per_page", request.args.get("per_page") or "50", PAGE_SIZES[-1]))


@dataclass(frozen=True)
class RowsPage:
    """What the page and its fragment receive."""

    account: Account
    table: peliqan.Table
    columns: tuple[peliqan.Column, ...]
    rows: list[tuple[int | None, list[Cell]]]
    total: int
    query: RowsQuery

    @property
    def last(self) -> int:
        """Number of the last page."""
        return max(1, -(-self.total // self.query.per_page))

    @property
    def first_shown(self) -> int:
        """Position of the first row shown, from 1; 0 where there is none."""
        return (self.query.page - 1) * self.query.per_page + 1 if self.rows else 0

    @property
    def last_shown(self) -> int:
        """Position of the last."""
        return self.first_shown + len(self.rows) - 1 if self.rows else 0

    @property
    def page_sizes(self) -> tuple[int, ...]:
        """What may be chosen."""
        return PAGE_SIZES

    def url(self, **changes: Any) -> str:
        """This table with the query changed; another search or sort begins on page 1."""
        return self._url("tables.rows", **changes)

    def twin(self, extension: str) -> str:
        """The same rows for scripts."""
        return self._url(f"tables.rows_{extension}", page=self.query.page)

    def sort_url(self, name: str) -> str:
        """Sorted by this column, or the other way round."""
        return self.url(sort=f"-{name}" if self.query.sort == name else name)

    def _url(self, endpoint: str, **changes: Any) -> str:
        args: dict[str, Any] = {"q": self.query.q, "sort": self.query.sort, "per_page": self.query.per_page, "page": 1, **changes}
        kept = {
            key: value
            for key, value in args.items()
            if value not in ("", None) and (key, value) not in {("page", 1), ("per_page", 50)}
        }
        return url_for(endpoint, account_id=self.account.id, table_id=self.table.id, **kept)


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
    query = RowsQuery.read(columns)
    found = api.rows(table_id, page=query.page, size=query.per_page, search=query.q, order_by=query.sort)
    last = max(1, -(-found.count // query.per_page))
    if query.page > last:
        raise NoSuchPage(query.page, last)
    if request.path.endswith(".json"):
        shape = [{"name": column.name, "type": column.type} for column in columns]
        return jsonify(columns=shape, items=list(found.rows), page=query.page, per_page=query.per_page, total=found.count)
    if request.path.endswith(".csv"):
        lines = [{column.name: csv_cell(_plain(row.get(column.name))) for column in columns} for row in found.rows]
        return csv_response(lines, f"table-{table_id}-page-{query.page}.csv")
    shown = RowsPage(
        account=account,
        table=api.table(table_id),
        columns=columns,
        rows=[(_row_id(row), [cell(row.get(column.name), column.type) for column in columns]) for row in found.rows],
        total=found.count,
        query=query,
    )
    return render_template("fragments/_rows.html" if htmx.is_htmx() else "pages/rows.html", page=shown)


@bp.get("/tables/<int:table_id>/rows/<int:row_id>")
@requires("viewer")
def row(account_id: int, table_id: int, row_id: int) -> ResponseReturnValue:
    """One row, whole."""
    account = get_account_or_404(account_id)
    api = console().api.for_account(account_id)
    table, columns, values = api.table(table_id), api.columns(table_id), api.row(table_id, row_id)
    # A row asked for by itself may come with field ids for names: match those by their column.
    by_name = {column.name: values.get(column.name, values.get(f"field_{column.id}")) for column in columns}
    cells = [(column, cell(by_name[column.name], column.type), raw(by_name[column.name])) for column in columns]
    return render_template("pages/row.html", account=account, table=table, row_id=row_id, cells=cells)


def _row_id(row: dict[str, Any]) -> int | None:
    found = row.get("id")
    return found if isinstance(found, int) and found >= 0 else None


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float)) else raw(value)
