"""Is it in there? One value, looked for in all tables of a connection, in turns of about two seconds that the page asks for.

First every table is asked with the API's own search, and what that gives is checked against the cells. That search is quick but
only roughly right, so where it found nothing, and where a table refuses it, the rows themselves are read, page by page, up to a
bound. How far it is stands in the store after every call: a turn that is cut off costs one call, and none is asked for twice.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from dashboard import peliqan
from dashboard.core.error_values import sentence_of
from dashboard.core.text import clean
from dashboard.fleet.models import Connection
from dashboard.tables.health.freshness import OF_ONE_TABLE
from dashboard.tables.of_connection import tables_of
from dashboard.tables.reader import PAGE
from dashboard.tables.search import service as searches
from dashboard.tables.search.matching import found_in
from dashboard.tables.search.models import ValueSearch

Clock = Callable[[], datetime]
MOST_ROWS, MOST_SECONDS, MOST_TABLES, MOST_DATABASES = 20_000, 60, 200, 10
# So many hits are kept; of one table, so many pages of what the API's search gives are checked.
MOST_HITS, OF_A_TABLE, CHECKED_PAGES = 50, 10, 2
TURN: Final = 2.0
# What is to be done with a table, and what became of it.
WAITS, ASKED, REFUSED, FOUND, READ, PART, UNREADABLE, LEFT = (
    "waits", "asked", "refused", "found", "read", "part", "unreadable", "left"
)  # fmt: skip


@dataclass(frozen=True)
class SearchedTable:
    """A table of a search. ``page``: the last that was read, by its rows' ids in ``last``; ``note``: why it was not read."""

    table_id: int
    name: str
    state: str = WAITS
    page: int = 0
    rows: int = 0
    total: int | None = None
    last: str = ""
    note: str = ""


@dataclass(frozen=True)
class Hit:
    """Where the value is; ``exact``: it is all that stands there. ``type``: its column's; ``like``: what masking goes by;
    ``masked``: the column was masked for the person, so that only the whole cell counted.
    """

    table_id: int
    row_id: int | None
    column: str
    exact: bool
    type: str = ""
    like: dict[str, Any] | None = None
    masked: bool = False


# Names of the columns of a table, by its id, whose values the person who asks does not see.
MaskedIn = Callable[[int, tuple[peliqan.Column, ...]], Collection[str]]


def searched_tables(search: ValueSearch) -> list[SearchedTable]:
    """The tables of a search; none before they are known."""
    return [SearchedTable(**each) for each in search.places or ()]


def hits_of(search: ValueSearch) -> list[Hit]:
    """Where the value was found."""
    return [Hit(**each) for each in search.hits]


def go_on(
    api: peliqan.Peliqan,
    search: ValueSearch,
    connection: Connection,
    value: str,
    clock: Clock,
    masked_in: MaskedIn,
) -> None:
    """One turn. Nothing is done where another turn is under way, or the search has ended.

    In masked columns (``masked_in``) the value is found only where it is the whole cell.
    """
    if searches.lease(search, clock()):
        try:
            _Turn(
                api.for_account(search.account_id), search, connection, value, clock, masked_in
            ).work()
        except peliqan.PeliqanError as error:
            # Of the API as a whole: what is known stays, and the page offers to go on.
            searches.reschedule(search, error=f"{sentence_of(error)} {error.next_step}")


class _Turn:
    def __init__(
        self,
        api: peliqan.AccountApi,
        search: ValueSearch,
        connection: Connection,
        value: str,
        clock: Clock,
        masked_in: MaskedIn,
    ) -> None:
        self._api, self._search, self._connection, self._value, self._clock = (
            api,
            search,
            connection,
            value,
            clock,
        )
        self._masked_in = masked_in
        self._places, self._hits = searched_tables(search), hits_of(search)
        self._rows, self._seconds, self._began = search.rows_read, search.seconds, clock()
        self._columns: dict[int, tuple[peliqan.Column, ...]] = {}

    def work(self) -> None:
        if self._search.places is None:
            self._places = self._list_tables()
            self._note()
        while (at := self._next()) is not None:
            if self._took() >= TURN:
                searches.reschedule(self._search)
                return
            self._places[at] = self._step(self._places[at])
            self._note()
        self._places = [
            replace(each, state=LEFT) if each.state == REFUSED else each for each in self._places
        ]
        self._note()
        searches.reschedule(self._search, ended_at=self._clock())

    def _list_tables(self) -> list[SearchedTable]:
        databases = self._api.databases()
        found = tables_of(
            self._connection,
            (table for each in databases[:MOST_DATABASES] for table in self._api.tables(each.id)),
        )
        named = [SearchedTable(table.id, clean(table.name)) for table in found]
        return [*named[:MOST_TABLES], *(replace(each, state=LEFT) for each in named[MOST_TABLES:])]

    def _next(self) -> int | None:
        """The place of the table that is next; None when all is done that will be."""
        if self._seconds + self._took() >= MOST_SECONDS or len(self._hits) >= MOST_HITS:
            return None
        states = [each.state for each in self._places]
        if WAITS in states:
            return states.index(WAITS)
        if self._rows >= MOST_ROWS:
            return None
        # Begun ones first. Where the API's search has found it, what else it was asked of is left as it is.
        for wanted in (PART, REFUSED) if self._hits else (PART, REFUSED, ASKED):
            if wanted in states:
                return states.index(wanted)
        return None

    def _step(self, place: SearchedTable) -> SearchedTable:
        try:
            return self._ask(place) if place.state == WAITS else self._read(place)
        except OF_ONE_TABLE as error:
            if (
                place.state == WAITS
                and isinstance(error, peliqan.Refused)
                and place.table_id in self._columns
            ):
                return replace(place, state=REFUSED)
            return replace(place, state=UNREADABLE, note=error.sentence)

    def _ask(self, place: SearchedTable) -> SearchedTable:
        """With the API's own search."""
        hits = 0
        for number in range(1, CHECKED_PAGES + 1):
            columns = self._columns_of(place)
            page = self._api.rows(place.table_id, page=number, size=PAGE, search=self._value)
            hits += self._check(place, columns, page.rows, hits)
            if len(page.rows) < PAGE or hits:
                break
        return replace(place, state=FOUND if hits else ASKED)

    def _read(self, place: SearchedTable) -> SearchedTable:
        """The next page of its rows."""
        columns = self._columns_of(place)
        page = self._api.rows(place.table_id, page=place.page + 1, size=PAGE)
        ids = hashlib.sha256(repr([row.get("id") for row in page.rows]).encode()).hexdigest()[:16]
        if page.rows and ids == place.last:
            return replace(place, state=UNREADABLE, note="Its pages repeat themselves.")
        hits = self._check(place, columns, page.rows, 0)
        self._rows += len(page.rows)
        rows = place.rows + len(page.rows)
        is_last = len(page.rows) < PAGE and (page.next is None or not page.rows)
        state = FOUND if hits else READ if is_last else PART
        return replace(
            place, state=state, page=place.page + 1, rows=rows, total=page.count, last=ids
        )

    def _check(
        self,
        place: SearchedTable,
        columns: tuple[peliqan.Column, ...],
        rows: tuple[dict[str, Any], ...],
        before: int,
    ) -> int:
        """Keep what is truly there; how much that is."""
        found = 0
        masked = self._masked_in(place.table_id, columns)
        for row in rows:
            for column, exact in found_in(row, columns, self._value, masked):
                found += 1
                if before + found <= OF_A_TABLE and len(self._hits) < MOST_HITS:
                    number = row.get("id")
                    row_id = number if type(number) is int and number >= 0 else None
                    kept = (
                        clean(column.name),
                        exact,
                        clean(column.type),
                        column.for_masking(),
                        column.name in masked,
                    )
                    self._hits.append(Hit(place.table_id, row_id, *kept))
        return found

    def _columns_of(self, place: SearchedTable) -> tuple[peliqan.Column, ...]:
        if place.table_id not in self._columns:
            self._columns[place.table_id] = self._api.columns(place.table_id)
        return self._columns[place.table_id]

    def _took(self) -> float:
        return (self._clock() - self._began).total_seconds()

    def _note(self) -> None:
        hits = [asdict(each) for each in self._hits]
        places = [asdict(each) for each in self._places]
        reached = {"rows_read": self._rows, "seconds": self._seconds + self._took()}
        searches.save_progress(self._search, self._clock(), places=places, hits=hits, **reached)
