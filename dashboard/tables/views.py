"""The data: databases, tables, rows, one row and one cell, all asked for live; the URL is the state.

How long it may become, and what is kept beyond that: ``table_views``.

Where rows are slow to come, the page does not wait for them: a browser that runs scripts (it has sent its time zone in a cookie)
gets the frame at once, heading, filters and columns, and asks for the rows itself. Without that cookie, or with ``fill=1``, the
page has its rows, so nothing needs a script.
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
from dashboard.masking.rules import mask
from dashboard.tables import addresses as table_views
from dashboard.tables import presenters
from dashboard.tables.cells import plain, raw
from dashboard.tables.filters import KINDS, can_sort, key_of, kinds_of
from dashboard.tables.query import PREFIX, TableQuery, reference
from dashboard.tables.rows import cell_of, line
from dashboard.users.access import visitor
from dashboard.web import htmx, recent
from dashboard.web.access import requires, safe_next
from dashboard.web.lists import csv_response
from dashboard.web.lookup import get_account_or_404
from dashboard.web.security import limiter

bp = Blueprint("tables", __name__, url_prefix="/accounts/<int:account_id>")
bp.add_app_template_filter(reference, "column_reference")
DECISIONS = {"mask": True, "show": False, "rules": None}


@dataclass(frozen=True)
class RowsPage:
    """What the page and its fragment receive. Items of ``list`` are a ``lines.Line`` each.

    ``columns``: all that the table has; ``shown``: those that were chosen. ``hidden``: columns that this person sees masked, with
    what each looks like; ``others``: the same as anybody but an administrator has it. ``is_frame``: the rows are still to come.
    """

    account: Account
    table: peliqan.Table
    columns: Sequence[peliqan.Column]
    shown: Sequence[peliqan.Column]
    list: table_views.ShownRows
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
        """The filters by the keys of columns that have them (``key_of``), for the form's menu."""
        return {
            key_of(column, masked=column.name in self.sight.hidden): self._kinds_of(column)
            for column in self.filterable
        }

    @cached_property
    def families(self) -> dict[str, Sequence[str]]:
        """The filters that any column has, in the groups of the form's menu."""
        offered = {kind for kinds in self.kinds.values() for kind in kinds}
        groups: dict[str, Any] = {}
        for name, kind in KINDS.items():
            if name in offered:
                groups.setdefault(kind.family, []).append(name)
        return groups

    def sort_url(self, column: peliqan.Column) -> str:
        """The address of the rows sorted by a column; empty where Peliqan cannot sort by it, or it is masked for this person."""
        can = can_sort(column) and column.name not in self.sight.hidden
        return self.list.url(sort=self.query.sort_by(column.name)) if can else ""

    def _kinds_of(self, column: peliqan.Column) -> tuple[str, ...]:
        return kinds_of(column, masked=column.name in self.sight.hidden)

    @cached_property
    def shown_names(self) -> frozenset[str]:
        """The names of the columns that were chosen."""
        return frozenset(column.name for column in self.shown)


@bp.get("/databases/<int:database_id>")
@requires("viewer")
def database(account_id: int, database_id: int) -> ResponseReturnValue:
    """The tables of a database."""
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
    """One page of a table's rows, as a page, JSON or CSV."""
    account = get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    columns = recent.cached_briefly(
        ("columns", account_id, table_id), lambda: api.columns(table_id), refresh=_begins()
    )
    asked = table_views.read(account_id, table_id, request.args)
    if (
        request.endpoint == "tables.rows"
        and (shorter := table_views.plain_args(asked.args, request.args, columns)) is not None
    ):
        return redirect(url_for("tables.rows", account_id=account_id, table_id=table_id, **shorter))
    query, sight = presenters.read_query(
        account_id, table_id, asked.args, asked.args.getlist("column"), columns
    )
    shown = query.shown(columns)
    if request.endpoint == "tables.rows" and _can_fill_itself():
        # Of a page that is not known yet nothing is said: it is there, with as many rows as it needs.
        page: Page[Any] = Page([], query.page * query.per_page, query)
        return _show_rows(account, table_id, columns, page, sight, asked, is_frame=True)
    found = api.rows(table_id, page=query.page, size=query.per_page, **query.upstream(columns))
    if request.path.endswith(".json"):
        shape = [{"name": column.name, "type": column.type} for column in shown]
        names = [column.name for column in shown if column.name in sight.hidden]
        items = [_item(row, shown, sight.hidden) for row in found.rows]
        return jsonify(
            columns=shape,
            items=items,
            masked=names,
            page=query.page,
            per_page=query.per_page,
            total=found.count,
        )
    if request.path.endswith(".csv"):
        lines = [
            {column.name: plain(value.get(column.name)) for column in shown}
            for value in (mask(row, sight.hidden) for row in found.rows)
        ]
        return csv_response(lines, f"table-{table_id}-page-{query.page}.csv")
    page = Page([line(row, shown, sight.hidden) for row in found.rows], found.count, query)
    return _show_rows(account, table_id, columns, page, sight, asked)


@bp.post("/tables/<int:table_id>")
@requires("viewer")
@limiter.limit("120 per minute")
def ask(account_id: int, table_id: int) -> ResponseReturnValue:
    """The forms for columns and conditions, which can be longer than an address: redirect to the address of what they ask."""
    get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    # Kept for the page that the browser is sent to.
    columns = recent.cached_briefly(
        ("columns", account_id, table_id), lambda: api.columns(table_id), refresh=True
    )
    given = table_views.read(account_id, table_id, request.form).args
    shorter = table_views.plain_args(given, request.form, columns)
    asked = given if shorter is None else MultiDict(shorter)
    query, _ = presenters.read_query(account_id, table_id, asked, asked.getlist("column"), columns)
    return redirect(table_views.address(account_id, table_id, query), 303)


@bp.get("/tables/<int:table_id>/rows/<int:row_id>")
@requires("viewer")
def row(account_id: int, table_id: int, row_id: int) -> ResponseReturnValue:
    """One row, whole."""
    account = get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    table, columns, values = api.table(table_id), api.columns(table_id), api.row(table_id, row_id)
    sight = masking.masking_context(account_id, table_id, columns)
    seen = mask(values, sight.hidden)
    cells = [
        (column, cell_of(values.get(column.name), column, sight.hidden), raw(seen.get(column.name)))
        for column in columns
    ]
    as_json = raw(_item(values, columns, sight.hidden))
    return render_template(
        "tables/row.html",
        account=account,
        table=table,
        row_id=row_id,
        cells=cells,
        sight=sight,
        as_json=as_json,
    )


@bp.get("/tables/<int:table_id>/rows/<int:row_id>/cell")
@requires("viewer")
def cell_value(account_id: int, table_id: int, row_id: int) -> ResponseReturnValue:
    """One cell's whole value, as a fragment for the table or as a page of its own. What is masked stays so."""
    account = get_account_or_404(account_id)
    api = services().api.for_account(account_id)
    columns = api.columns(table_id)
    column = _column(columns, request.args.get("column", ""))
    sight = masking.masking_context(account_id, table_id, columns)
    values = api.row(table_id, row_id)
    each = cell_of(values.get(column.name), column, sight.hidden)
    template = "tables/_cell.html" if htmx.is_htmx() else "tables/cell.html"
    whole = each.text if each.kind == "masked" else raw(values.get(column.name))
    return render_template(
        template,
        account=account,
        table_id=table_id,
        row_id=row_id,
        column=column,
        cell=each,
        whole=whole,
    )


@bp.post("/tables/<int:table_id>/reveal")
@requires("viewer")
def reveal(account_id: int, table_id: int) -> ResponseReturnValue:
    """Somebody says why they have to see the masked columns, and sees them for a quarter of an hour."""
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
    """An administrator masks a column, shows it to everybody, or leaves it to the rules."""
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
    said = {
        "mask": "is masked for all but administrators",
        "show": "is shown to everybody",
        "rules": "is left to the rules",
    }
    flash(f"“{column.name[:60]}” {said[decision]}.", "success")
    return redirect(_back(account_id, table_id))


def _show_rows(
    account: Account,
    table_id: int,
    columns: Sequence[peliqan.Column],
    page: Page[Any],
    sight: masking.MaskingContext,
    asked: table_views.TableRequest,
    is_frame: bool = False,
) -> ResponseReturnValue:
    query = page.query
    assert isinstance(query, TableQuery)
    place = {"account_id": account.id, "table_id": table_id}
    kept = table_views.kept_for(account.id, table_id, query, asked.kept)
    list_ = table_views.ShownRows("tables.rows", place, page, default_sort="", kept=kept)
    api = services().api.for_account(account.id)
    # Its name stands above the rows: a part of the page does without.
    table = (
        peliqan.Table(id=table_id)
        if htmx.is_htmx()
        else recent.cached_briefly(
            ("table", account.id, table_id), lambda: api.table(table_id), refresh=_begins()
        )
    )
    others, decided = (
        masking.as_others_see(table_id, columns) if visitor().may("admin") else ({}, {})
    )
    shown = RowsPage(
        account,
        table,
        columns,
        query.shown(columns),
        list_,
        query,
        sight,
        others,
        decided,
        is_frame,
    )
    # Into the frame go the rows alone: what stands above them is there.
    part = "tables/_rows.html" if htmx.target() == "rows" else "tables/_browser.html"
    return render_template(
        part if htmx.is_htmx() else "tables/rows.html", page=shown, kind_words=KINDS
    )


def _can_fill_itself() -> bool:
    return "tz" in request.cookies and "fill" not in request.args and not htmx.is_htmx()


def _begins() -> bool:
    """Whether this is no part of a page that has just read what the table is like. Conditions are checked against its columns as
    they are now: upstream ignores one on a column that is gone, and then all rows match.
    """
    is_part = htmx.is_htmx() or "fill" in request.args
    return not is_part or any(name.startswith((PREFIX, "add_")) for name in request.args)


def _item(
    row: Mapping[str, Any], columns: Iterable[peliqan.Column], hidden: Mapping[str, str]
) -> dict[str, Any]:
    """A row for scripts: its id, its place, and columns that are known; of one that came meanwhile no rule was asked."""
    seen = mask(row, hidden)
    names = ["id", "order", *(column.name for column in columns)]
    return {name: _speakable(seen[name]) for name in names if name in seen}


def _speakable(value: Any) -> Any:
    """JSON has no word for infinity: such numbers, and lists that hold them, are told as text."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_speakable(each) for each in value]
    return (
        {name: _speakable(each) for name, each in value.items()}
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
    """The page that the form stood on."""
    target = request.form.get("next", "")
    here = url_for("tables.rows", account_id=account_id, table_id=table_id)
    return safe_next(target) if target.startswith(here) else here
