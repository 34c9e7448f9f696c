"""Is it in there? One value, looked for in all tables of a connection: the page asks for turn after turn and shows how far it is.

The value is often somebody's name or address: it is sent by POST, kept encrypted, shown to whoever asked, and in no address.
"""

from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.context import services
from dashboard.core.text import clean, comparable
from dashboard.fleet.models import Connection
from dashboard.masking import presenters as masking
from dashboard.tables.search import jobs as search_jobs
from dashboard.tables.search import service as searches
from dashboard.tables.search.jobs import Hit, SearchedTable
from dashboard.tables.search.matching import LONGEST
from dashboard.tables.search.models import ValueSearch
from dashboard.users.access import visitor
from dashboard.web import htmx
from dashboard.web.access import requires
from dashboard.web.lookup import PATH, get_connection_or_404

bp = Blueprint("searches", __name__)
LEAST = 2
# Who presses the button twice has one search.
SAME = timedelta(minutes=1)
NAMED = 10


@dataclass(frozen=True)
class SearchPage:
    """What page and fragment receive. ``masked``: of the tables where it was found, the columns that this person sees masked."""

    connection: Connection
    search: ValueSearch
    value: str
    places: list[SearchedTable]
    hits: list[Hit]
    masked: dict[int, set[str]]

    @property
    def moves(self) -> bool:
        """Whether there is more to do."""
        return self.search.ended_at is None

    @property
    def asked(self) -> int:
        """How many tables the API's own search, or the rows, have been asked of."""
        return sum(each.state not in (search_jobs.WAITS, search_jobs.LEFT) for each in self.places)

    def name(self, table_id: int) -> str:
        """A table's name."""
        return (
            next((each.name for each in self.places if each.table_id == table_id), "")
            or f"Table {table_id}"
        )

    @property
    def unread(self) -> list[SearchedTable]:
        """Tables of which not every row was read, where that matters: nothing was found, or they could not be asked at all."""
        asked = () if self.hits else (search_jobs.ASKED,)
        return [
            each
            for each in self.places
            if each.state
            in (
                search_jobs.UNREADABLE,
                search_jobs.LEFT,
                search_jobs.WAITS,
                search_jobs.PART,
                *asked,
            )
        ]

    @property
    def sentence(self) -> str:
        """The answer, with what was not read."""
        if not self.places:
            return "No table of this connection was found, so nothing was read."
        tables = len({hit.table_id for hit in self.hits})
        if tables:
            most = (
                " These are the first; there may be more."
                if len(self.hits) >= search_jobs.MOST_HITS
                else ""
            )
            said = f"Found in {tables} table{'' if tables == 1 else 's'}.{most}"
            return (
                f"{said} Tables without it were asked with Peliqan's search, which can miss some."
                if self._some_asked
                else said
            )
        read = f"Not found in the {self.search.rows_read:,} rows read"
        if not self.unread:
            return f"{read}: these are all the rows of {len(self.places)} table{'' if len(self.places) == 1 else 's'}."
        count = len(self.unread)
        named = ", ".join(_unread(each) for each in self.unread[:NAMED])
        more = f" and {count - NAMED} more" if count > NAMED else ""
        return f"{read}; {count} table{'' if count == 1 else 's'} not read: {named}{more}."

    @property
    def _some_asked(self) -> bool:
        return any(each.state == search_jobs.ASKED for each in self.places)


@bp.get(f"{PATH}/search")
@requires("viewer")
def index(account_id: int, connection_id: int) -> ResponseReturnValue:
    """The field, and this person's searches of the last day."""
    connection = get_connection_or_404(account_id, connection_id)
    mine = [(each, _value(each)) for each in searches.latest_of(visitor().email, connection)]
    return render_template("tables/search/searches.html", connection=connection, searches=mine)


@bp.post(f"{PATH}/search")
@requires("viewer")
def begin(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Begin a search; the page that follows works at it."""
    connection = get_connection_or_404(account_id, connection_id)
    value = clean(request.form.get("value", "")).strip()
    seen = comparable(value)
    if len(seen) < LEAST or len(value) > LONGEST:
        length = len(value) if seen else 0
        flash(
            f"Nothing was searched. A value to look for has {LEAST} to {LONGEST} characters; this has {length}.",
            "danger",
        )
        return redirect(url_for(".index", account_id=account_id, connection_id=connection_id), 303)
    at, who = services().clock(), visitor().email
    same = (
        each
        for each in searches.latest_of(who, connection)
        if at - each.asked_at < SAME and comparable(_value(each) or "") == seen
    )
    search = next(same, None) or searches.begin(
        who, connection, services().vault.encrypt(value), at
    )
    return redirect(_url(search), 303)


@bp.get(f"{PATH}/search/<int:search_id>")
@requires("viewer")
def show(account_id: int, connection_id: int, search_id: int) -> ResponseReturnValue:
    """How far a search is, and what it found."""
    connection, search = _mine_or_404(account_id, connection_id, search_id)
    return render_template("tables/search/search.html", page=_page(connection, search))


@bp.post(f"{PATH}/search/<int:search_id>")
@requires("viewer", poll=True)
def go_on(account_id: int, connection_id: int, search_id: int) -> ResponseReturnValue:
    """One turn of about two seconds; where another tab has its turn, only how far that is."""
    connection, search = _mine_or_404(account_id, connection_id, search_id)
    search_jobs.go_on(
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
    # What was found in a column that the person saw is not shown where that column is masked now.
    hits = [hit for hit in hits if hit.masked or hit.column not in masked[hit.table_id]]
    return SearchPage(
        connection, search, _value(search), search_jobs.searched_tables(search), hits, masked
    )


def _column(hit: Hit) -> peliqan.Column:
    return peliqan.Column.model_validate(hit.like or {"name": hit.column, "type": hit.type})


def _masked(account_id: int, table_id: int, columns: tuple[peliqan.Column, ...]) -> set[str]:
    """Return the names of the columns that are masked for the person who asks."""
    return set(masking.masking_context(account_id, table_id, columns).hidden)


def _mine_or_404(
    account_id: int, connection_id: int, search_id: int
) -> tuple[Connection, ValueSearch]:
    """The search, for whoever asked for it: what it looks for may be anybody's address."""
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
    """What is looked for; empty where SECRET_KEY was changed meanwhile."""
    return services().vault.decrypt(search.value) or ""


def _url(search: ValueSearch) -> str:
    return url_for(
        ".show",
        account_id=search.account_id,
        connection_id=search.connection_id,
        search_id=search.id,
    )


def _unread(place: SearchedTable) -> str:
    name = f"“{(place.name or f'Table {place.table_id}')[:60]}”"
    if place.state == search_jobs.PART:
        return f"{name} (the first {place.rows:,} of {place.total:,} rows were)"
    if place.state == search_jobs.ASKED:
        return f"{name} (Peliqan's search found nothing there)"
    return f"{name} ({place.note.rstrip('.')})" if place.note else name
