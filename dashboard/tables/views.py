"""Pages of a customer's data: a database's tables, a table's rows, a row and a cell.

All data is read live from Peliqan. The address holds the query; ``addresses`` stores what is too
long for it.

If rows are slow to load, the page does not wait for them. A browser that runs scripts (it has sent
its time zone in a cookie) gets the page's frame first, with heading, filters and columns, and then
requests the rows. Without that cookie, or with ``fill=1``, the page contains its rows, so that
everything works without scripts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from flask import Blueprint, abort, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from dashboard import peliqan
from dashboard.context import services
from dashboard.fleet.models import Account
from dashboard.listing.query import BadQuery, Page
from dashboard.masking import presenters as masking
from dashboard.masking import service as reveals
from dashboard.masking.rule_file import mask
from dashboard.tables import presenters, short_links
from dashboard.tables.cells import plain, raw
from dashboard.tables.filters import KINDS, can_sort, key_of, kinds_of
from dashboard.tables.limits import ROW_REQUESTS
from dashboard.tables.query import PREFIX, TableQuery, reference
from dashboard.tables.rows import cell_of, line
from dashboard.tables.saved_views import SavedView
from dashboard.users.authentication import visitor
from dashboard.web import api_response_cache, htmx
from dashboard.web.lists import csv_response
from dashboard.web.lookup import get_account_or_404
from dashboard.web.page_after_sign_in import safe_next
from dashboard.web.required_role import requires
from dashboard.web.security import limiter

bp = Blueprint("tables", __name__, url_prefix="/accounts/<int:account_id>")
bp.add_app_template_filter(reference, "column_reference")
DECISIONS = {"mask": True, "show": False, "rules": None}


@dataclass(frozen=True)
class RowsRequest:
    """A request for a page of rows, checked against the table's columns."""

    account: Account
    table_id: int
    columns: Sequence[peliqan.Column]
    query: TableQuery
    context: masking.MaskingContext
    view: SavedView | None


@dataclass(frozen=True)
class RowsPage:
    """The context of a table's page and its fragments. Items of ``list`` are of ``rows.Line``.

    ``columns``: all columns of the table; ``shown``: the chosen ones. ``sight``: the columns that
    are masked for the user; ``others``: those that are masked for all but administrators, with what
    their values look like. ``decided``: administrators' decisions by column name. ``is_frame``: the
    rows are not loaded yet.
    """

    account: Account
    table: peliqan.Table
    columns: Sequence[peliqan.Column]
    shown: Sequence[peliqan.Column]
    list: short_links.ShownRows
    query: TableQuery
    sight: masking.MaskingContext
    others: Mapping[str, str]
    decided: Mapping[str, bool]
    is_frame: bool = False

    @cached_property
    def filterable(self) -> Sequence[peliqan.Column]:
        """The columns that have a filter."""
        return [column for column in self.columns if self._kinds_of(column)]

    @cached_property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """The filters by the key of the columns that have them, for the menu."""
        return {self.key_of(column): self._kinds_of(column) for column in self.filterable}

    def key_of(self, column: peliqan.Column) -> str:
        """Return a key that columns with the same filters share."""
        return key_of(column, masked=column.name in self.sight.hidden)

    @cached_property
    def families(self) -> dict[str, Sequence[str]]:
        """The filters that any column has, by their group in the menu."""
        offered = {kind for kinds in self.kinds.values() for kind in kinds}
        groups: dict[str, Any] = {}
        for name, kind in KINDS.items():
            if name in offered:
                groups.setdefault(kind.family, []).append(name)
        return groups

    def sort_url(self, column: peliqan.Column) -> str:
        """Return the address of the rows sorted by a column.

        Empty if Peliqan cannot sort by the column, or if it is masked for the user.
        """
        can = can_sort(column) and column.name not in self.sight.hidden
        return self.list.url(sort=self.query.sort_by(column.name)) if can else ""

    def _kinds_of(self, column: peliqan.Column) -> tuple[str, ...]:
        return kinds_of(column, masked=column.name in self.sight.hidden)

    @cached_property
    def shown_names(self) -> frozenset[str]:
        """The names of the chosen columns."""
        return frozenset(column.name for column in self.shown)


@bp.get("/databases/<int:database_id>")
@requires("viewer")
def database(account_id: int, database_id: int) -> ResponseReturnValue:
    """Show the tables of a database."""
    account = get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    found = next((each for each in api.databases() if each.id == database_id), None)
    if found is None:
        abort(404, f"{account.title} has no database {database_id}.")
    return render_template(
        "tables/database.html", account=account, database=found, tables=api.tables(database_id)
    )


@bp.get("/tables/<int:table_id>", endpoint="rows")
@bp.get("/tables/<int:table_id>.json", endpoint="rows_json")
@bp.get("/tables/<int:table_id>.csv", endpoint="rows_csv")
@requires("viewer")
def rows(account_id: int, table_id: int) -> ResponseReturnValue:
    """Show a page of a table's rows, as HTML, JSON or CSV."""
    account = get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    columns = api_response_cache.cached_briefly(
        ("columns", account_id, table_id), lambda: api.columns(table_id), refresh=_needs_refresh()
    )
    parsed = short_links.read(account_id, table_id, request.args)
    if (
        request.endpoint == "tables.rows"
        and (shorter := short_links.plain_args(parsed.args, request.args, columns)) is not None
    ):
        return redirect(url_for("tables.rows", account_id=account_id, table_id=table_id, **shorter))
    query, context = presenters.read_query(
        account_id, table_id, parsed.args, parsed.args.getlist("column"), columns
    )
    wanted = RowsRequest(account, table_id, columns, query, context, parsed.view)
    if request.endpoint == "tables.rows" and _loads_rows_later():
        # The number of rows is not known yet: assume that there are enough to fill this page.
        page: Page[Any] = Page([], query.page * query.per_page, query)
        return _render_rows(wanted, page, is_frame=True)
    rows = peliqan.RowQuery(page=query.page, size=query.per_page, **query.upstream(columns))
    found = api.rows(table_id, rows)
    if request.path.endswith(".json"):
        return _rows_as_json(wanted, found)
    shown, hidden = query.shown(columns), context.hidden
    if request.path.endswith(".csv"):
        lines = [
            {column.name: plain(value.get(column.name)) for column in shown}
            for value in (mask(row, hidden) for row in found.rows)
        ]
        return csv_response(lines, f"table-{table_id}-page-{query.page}.csv")
    page = Page([line(row, shown, hidden) for row in found.rows], found.count, query)
    return _render_rows(wanted, page)


@bp.post("/tables/<int:table_id>")
@requires("viewer")
@limiter.limit(ROW_REQUESTS)
def ask(account_id: int, table_id: int) -> ResponseReturnValue:
    """Redirect a form for columns or conditions to the address of its query.

    A form is sent by POST, because its fields can be too long for an address.
    """
    get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    # Read again and cached for the page to which this redirects.
    columns = api_response_cache.cached_briefly(
        ("columns", account_id, table_id), lambda: api.columns(table_id), refresh=True
    )
    parsed = short_links.read(account_id, table_id, request.form).args
    shorter = short_links.plain_args(parsed, request.form, columns)
    args = parsed if shorter is None else MultiDict(shorter)
    query, _ = presenters.read_query(account_id, table_id, args, args.getlist("column"), columns)
    return redirect(short_links.url_of(account_id, table_id, query), 303)


@bp.get("/tables/<int:table_id>/rows/<int:row_id>")
@requires("viewer")
def row(account_id: int, table_id: int, row_id: int) -> ResponseReturnValue:
    """Show a row with all its columns."""
    account = get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    table, columns, values = api.table(table_id), api.columns(table_id), api.row(table_id, row_id)
    context = masking.masking_context(account_id, table_id, columns)
    hidden = context.hidden
    masked = mask(values, hidden)
    cells = [
        (column, cell_of(values.get(column.name), column, hidden), raw(masked.get(column.name)))
        for column in columns
    ]
    as_json = raw(_item(values, columns, hidden))
    return render_template(
        "tables/row.html",
        account=account,
        table=table,
        row_id=row_id,
        cells=cells,
        sight=context,
        as_json=as_json,
    )


@bp.get("/tables/<int:table_id>/rows/<int:row_id>/cell")
@requires("viewer")
def cell_value(account_id: int, table_id: int, row_id: int) -> ResponseReturnValue:
    """Show a cell's complete value, in the table or on a page. A masked value stays masked."""
    account = get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    columns = api.columns(table_id)
    column = _column(columns, request.args.get("column", ""))
    hidden = masking.masking_context(account_id, table_id, columns).hidden
    values = api.row(table_id, row_id)
    each = cell_of(values.get(column.name), column, hidden)
    template = "tables/_cell.html" if htmx.is_htmx() else "tables/cell.html"
    complete = each.text if each.kind == "masked" else raw(values.get(column.name))
    return render_template(
        template,
        account=account,
        table_id=table_id,
        row_id=row_id,
        column=column,
        cell=each,
        whole=complete,
    )


@bp.post("/tables/<int:table_id>/reveal")
@requires("viewer")
def reveal(account_id: int, table_id: int) -> ResponseReturnValue:
    """Show the user the table's masked columns for 15 minutes; the given reason is audited."""
    get_account_or_404(account_id)
    table = services().api.for_account(account_id).table(table_id)
    try:
        reveals.reveal(
            visitor().user, account_id, table.id, request.form.get("why", ""), services().clock()
        )
    except reveals.BadReason as error:
        flash(f"Nothing was shown. {error}", "danger")
    return redirect(_back(account_id, table_id))


@bp.post("/tables/<int:table_id>/masks")
@requires("admin")
def decide(account_id: int, table_id: int) -> ResponseReturnValue:
    """Store an administrator's decision on a column: masked, shown to everybody, or by rules."""
    get_account_or_404(account_id)
    column = _column(
        services().api.for_account(account_id).columns(table_id), request.form.get("column", "")
    )
    decision = request.form.get("decision", "")
    if decision not in DECISIONS:
        raise BadQuery(
            f"“{decision[:40]}” is no decision on a column. There are: {', '.join(DECISIONS)}."
        )
    reveals.decide(
        visitor().user, account_id, table_id, column.name, DECISIONS[decision], services().clock()
    )
    outcome = {
        "mask": "is masked for all but administrators",
        "show": "is shown to everybody",
        "rules": "is left to the rules",
    }
    flash(f"“{column.name[:60]}” {outcome[decision]}.", "success")
    return redirect(_back(account_id, table_id))


def _rows_as_json(wanted: RowsRequest, found: peliqan.RowPage) -> ResponseReturnValue:
    query, hidden = wanted.query, wanted.context.hidden
    shown = query.shown(wanted.columns)
    return jsonify(
        columns=[{"name": column.name, "type": column.type} for column in shown],
        items=[_item(row, shown, hidden) for row in found.rows],
        masked=[column.name for column in shown if column.name in hidden],
        page=query.page,
        per_page=query.per_page,
        total=found.count,
    )


def _render_rows(
    wanted: RowsRequest, page: Page[Any], *, is_frame: bool = False
) -> ResponseReturnValue:
    account, table_id, query = wanted.account, wanted.table_id, wanted.query
    url_values = {"account_id": account.id, "table_id": table_id}
    view = short_links.view_for(account.id, table_id, query, wanted.view)
    list_ = short_links.ShownRows("tables.rows", url_values, page, default_sort="", view=view)
    api = services().api.for_account(account.id)
    # The table's name is in the heading, which a fragment does not have.
    table = (
        peliqan.Table(id=table_id)
        if htmx.is_htmx()
        else api_response_cache.cached_briefly(
            ("table", account.id, table_id), lambda: api.table(table_id), refresh=_needs_refresh()
        )
    )
    others, decided = (
        masking.as_others_see(table_id, wanted.columns) if visitor().may("admin") else ({}, {})
    )
    shown = RowsPage(
        account,
        table,
        wanted.columns,
        query.shown(wanted.columns),
        list_,
        query,
        wanted.context,
        others,
        decided,
        is_frame,
    )
    # A request for the rows of a frame gets the rows only.
    fragment = "tables/_rows.html" if htmx.target() == "rows" else "tables/_browser.html"
    return render_template(
        fragment if htmx.is_htmx() else "tables/rows.html", page=shown, kind_words=KINDS
    )


def _loads_rows_later() -> bool:
    return "tz" in request.cookies and "fill" not in request.args and not htmx.is_htmx()


def _needs_refresh() -> bool:
    """Return whether the table's columns have to be read again, even if they are cached.

    Not for a fragment of a page that has just read them, unless there are conditions. These are
    checked against the current columns: upstream ignores a condition on a removed column, and then
    all rows match.
    """
    is_part = htmx.is_htmx() or "fill" in request.args
    return not is_part or any(name.startswith((PREFIX, "add_")) for name in request.args)


def _item(
    row: Mapping[str, Any], columns: Iterable[peliqan.Column], hidden: Mapping[str, str]
) -> dict[str, Any]:
    """Return a row for JSON: its id, its order and the values of known columns.

    A column that was added since the columns were read is left out, because no masking rule was
    checked for it.
    """
    masked = mask(row, hidden)
    names = ["id", "order", *(column.name for column in columns)]
    return {name: _json_value(masked[name]) for name in names if name in masked}


def _json_value(value: Any) -> Any:
    """Return a value for JSON, with infinite numbers as text, which JSON cannot represent."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_json_value(each) for each in value]
    return (
        {name: _json_value(each) for name, each in value.items()}
        if isinstance(value, dict)
        else value
    )


def _column(columns: Sequence[peliqan.Column], name: str) -> peliqan.Column:
    found = next(
        (column for column in columns if name in (column.name, reference(column.name))), None
    )
    if found is None:
        raise BadQuery(f"The table has no column “{name[:60]}”.")
    return found


def _back(account_id: int, table_id: int) -> str:
    """Return the address of the page with the form."""
    target = request.form.get("next", "")
    rows_url = url_for("tables.rows", account_id=account_id, table_id=table_id)
    return safe_next(target) if target.startswith(rows_url) else rows_url
