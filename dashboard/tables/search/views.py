"""Pages of the search for one value in all tables of a connection.

The page requests turn after turn and shows the progress. The value is often personal data: it is
sent by POST, stored encrypted, shown only to the user who searches, and in no address.
"""

from dataclasses import dataclass

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.context import services
from dashboard.core.text import clean, comparable
from dashboard.fleet.models import Connection
from dashboard.masking import presenters as masking
from dashboard.tables.limits import (
    LONGEST_SEARCHED,
    MOST_HITS,
    NAMED_TABLES,
    SAME_SEARCH_WITHIN,
    SHORTEST_SEARCHED,
)
from dashboard.tables.search import jobs as search_jobs
from dashboard.tables.search import service as searches
from dashboard.tables.search.jobs import Hit, SearchedTable
from dashboard.tables.search.models import ValueSearch
from dashboard.users.authentication import visitor
from dashboard.web import htmx
from dashboard.web.lookup import PATH, get_connection_or_404
from dashboard.web.required_role import requires

bp = Blueprint("searches", __name__)


@dataclass(frozen=True)
class SearchPage:
    """The context of the page and its fragment.

    ``masked``: by table with a hit, the columns that the user sees masked now.
    """

    connection: Connection
    search: ValueSearch
    value: str
    places: list[SearchedTable]
    hits: list[Hit]
    masked: dict[int, set[str]]

    @property
    def moves(self) -> bool:
        """Whether the search is not finished."""
        return self.search.ended_at is None

    @property
    def searched(self) -> int:
        """The number of tables that were searched."""
        return sum(each.state not in (search_jobs.WAITS, search_jobs.LEFT) for each in self.places)

    def name(self, table_id: int) -> str:
        """Return a table's name."""
        return (
            next((each.name for each in self.places if each.table_id == table_id), "")
            or f"Table {table_id}"
        )

    @property
    def unread(self) -> list[SearchedTable]:
        """The tables that may still contain the value: not, or not completely, read.

        Tables that only the API's search has covered are included if there is no hit.
        """
        uncertain = () if self.hits else (search_jobs.ASKED,)
        return [
            each
            for each in self.places
            if each.state
            in (
                search_jobs.UNREADABLE,
                search_jobs.LEFT,
                search_jobs.WAITS,
                search_jobs.PART,
                *uncertain,
            )
        ]

    @property
    def sentence(self) -> str:
        """The result, with what was not read."""
        if not self.places:
            return "No table of this connection was found, so nothing was read."
        tables = len({hit.table_id for hit in self.hits})
        if tables:
            most = " These are the first; there may be more." if len(self.hits) >= MOST_HITS else ""
            found = f"Found in {tables} table{'' if tables == 1 else 's'}.{most}"
            return (
                f"{found} Tables without it were asked with Peliqan's search, which can miss some."
                if self._used_api_search
                else found
            )
        read = f"Not found in the {self.search.rows_read:,} rows read"
        if not self.unread:
            count = len(self.places)
            return f"{read}: these are all the rows of {count} table{'' if count == 1 else 's'}."
        count = len(self.unread)
        named = ", ".join(_unread(each) for each in self.unread[:NAMED_TABLES])
        more = f" and {count - NAMED_TABLES} more" if count > NAMED_TABLES else ""
        return f"{read}; {count} table{'' if count == 1 else 's'} not read: {named}{more}."

    @property
    def _used_api_search(self) -> bool:
        return any(each.state == search_jobs.ASKED for each in self.places)


@bp.get(f"{PATH}/search")
@requires("viewer")
def index(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Show the search form, and the user's searches of the last day."""
    connection = get_connection_or_404(account_id, connection_id)
    mine = [(each, _value(each)) for each in searches.latest_of(visitor().email, connection)]
    return render_template("tables/search/searches.html", connection=connection, searches=mine)


@bp.post(f"{PATH}/search")
@requires("viewer")
def begin(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Start a search; the next page runs its turns."""
    connection = get_connection_or_404(account_id, connection_id)
    value = clean(request.form.get("value", "")).strip()
    folded = comparable(value)
    if len(folded) < SHORTEST_SEARCHED or len(value) > LONGEST_SEARCHED:
        length = len(value) if folded else 0
        flash(
            f"Nothing was searched. A value to look for has {SHORTEST_SEARCHED} to"
            f" {LONGEST_SEARCHED} characters; this has {length}.",
            "danger",
        )
        return redirect(url_for(".index", account_id=account_id, connection_id=connection_id), 303)
    at, user_email = services().clock(), visitor().email
    same = (
        each
        for each in searches.latest_of(user_email, connection)
        if at - each.asked_at < SAME_SEARCH_WITHIN and comparable(_value(each) or "") == folded
    )
    search = next(same, None) or searches.start(
        user_email, connection, services().vault.encrypt(value), at
    )
    return redirect(_url(search), 303)


@bp.get(f"{PATH}/search/<int:search_id>")
@requires("viewer")
def show(account_id: int, connection_id: int, search_id: int) -> ResponseReturnValue:
    """Show the progress and the hits of a search."""
    connection, search = _mine_or_404(account_id, connection_id, search_id)
    return render_template("tables/search/search.html", page=_page(connection, search))


@bp.post(f"{PATH}/search/<int:search_id>")
@requires("viewer", poll=True)
def go_on(account_id: int, connection_id: int, search_id: int) -> ResponseReturnValue:
    """Run one turn of about two seconds and show the progress.

    If a turn runs in another tab, show that one's progress only.
    """
    connection, search = _mine_or_404(account_id, connection_id, search_id)
    search_jobs.continue_search(
        services().api,
        search,
        connection,
        _value(search),
        services().clock,
        lambda *table: _masked(account_id, *table),
    )
    if not htmx.is_htmx():
        return redirect(_url(search), 303)
    return render_template("tables/search/_progress.html", page=_page(connection, search))


def _page(connection: Connection, search: ValueSearch) -> SearchPage:
    hits = search_jobs.hits_of(search)
    masked = {}
    for table_id in {hit.table_id for hit in hits}:
        columns = tuple(_column(hit) for hit in hits if hit.table_id == table_id)
        masked[table_id] = {
            clean(name) for name in _masked(connection.account_id, table_id, columns)
        }
    # A hit in a column that the user saw is hidden if the column is masked by now.
    hits = [hit for hit in hits if hit.masked or hit.column not in masked[hit.table_id]]
    return SearchPage(
        connection, search, _value(search), search_jobs.searched_tables(search), hits, masked
    )


def _column(hit: Hit) -> peliqan.Column:
    return peliqan.Column.model_validate(hit.like or {"name": hit.column, "type": hit.type})


def _masked(account_id: int, table_id: int, columns: tuple[peliqan.Column, ...]) -> set[str]:
    """Return the names of the columns that the user sees masked."""
    return set(masking.masking_context(account_id, table_id, columns).hidden)


def _mine_or_404(
    account_id: int, connection_id: int, search_id: int
) -> tuple[Connection, ValueSearch]:
    """Return the connection and the search; abort with 404 if the search is another user's.

    Other users may not see it, because its value can be personal data.
    """
    connection, search = (
        get_connection_or_404(account_id, connection_id),
        searches.search_or_none(search_id),
    )
    if (
        search is None
        or search.who != visitor().email
        or (search.account_id, search.connection_id) != (account_id, connection_id)
    ):
        abort(
            404,
            f"You have no search {search_id} in this connection. Searches are deleted after a day.",
        )
    return connection, search


def _value(search: ValueSearch) -> str:
    """Return the value to search for; empty if SECRET_KEY has changed."""
    return services().vault.decrypt(search.value) or ""


def _url(search: ValueSearch) -> str:
    return url_for(
        ".show",
        account_id=search.account_id,
        connection_id=search.connection_id,
        search_id=search.id,
    )


def _unread(table: SearchedTable) -> str:
    name = f"“{(table.name or f'Table {table.table_id}')[:60]}”"
    if table.state == search_jobs.PART:
        return f"{name} (the first {table.rows:,} of {table.total:,} rows were)"
    if table.state == search_jobs.ASKED:
        return f"{name} (Peliqan's search found nothing there)"
    return f"{name} ({table.note.rstrip('.')})" if table.note else name
