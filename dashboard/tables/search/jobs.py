"""Searches all tables of a connection for one value, in turns of about two seconds.

The page requests each turn. First the API's own search is used for each table, and its results are
checked by their cells. That search is fast but approximate. So if it finds nothing, and for tables
that refuse it, the rows themselves are read page by page, up to a limit. The progress is stored
after each API call: an interrupted turn costs one call, and no call is made twice.
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
from dashboard.tables.connection_tables import tables_of
from dashboard.tables.health.freshness import OF_ONE_TABLE
from dashboard.tables.limits import (
    MOST_HITS,
    MOST_HITS_OF_A_TABLE,
    SEARCHED_DATABASES,
    SEARCHED_ROWS,
    SEARCHED_SECONDS,
    SEARCHED_TABLES,
)
from dashboard.tables.reader import PAGE
from dashboard.tables.search import service as searches
from dashboard.tables.search.matching import found_in
from dashboard.tables.search.models import ValueSearch

Clock = Callable[[], datetime]
# Stored hits, of all tables and of one table; and pages of the API's search that are checked.
CHECKED_PAGES = 2
TURN: Final = 2.0
# The states of a table in a search.
WAITS, ASKED, REFUSED, FOUND, READ, PART, UNREADABLE, LEFT = (
    "waits", "asked", "refused", "found", "read", "part", "unreadable", "left"
)  # fmt: skip


@dataclass(frozen=True)
class SearchedTable:
    """A table of a search.

    ``page``: the last page that was read; ``last``: a digest of the ids of its rows. ``note``: why
    the table was not read.
    """

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
    """A place where the value was found.

    ``exact``: it is a complete text of the cell. ``type``: the column's type; ``like``: the
    column's properties that masking depends on. ``masked``: the user saw the column masked, so
    that only the complete cell counted.
    """

    table_id: int
    row_id: int | None
    column: str
    exact: bool
    type: str = ""
    like: dict[str, Any] | None = None
    masked: bool = False


# Returns the names of those of a table's columns that the user sees masked. Takes the table's id.
MaskedIn = Callable[[int, tuple[peliqan.Column, ...]], Collection[str]]


def searched_tables(search: ValueSearch) -> list[SearchedTable]:
    """Return the tables of a search; none before they are listed."""
    return [SearchedTable(**each) for each in search.places or ()]


def hits_of(search: ValueSearch) -> list[Hit]:
    """Return where the value was found."""
    return [Hit(**each) for each in search.hits]


def continue_search(
    api: peliqan.Peliqan,
    search: ValueSearch,
    connection: Connection,
    value: str,
    clock: Clock,
    masked_in: MaskedIn,
) -> None:
    """Run one turn, unless another turn is running or the search is finished. Commits.

    In masked columns (``masked_in``) the value has to be the complete cell.
    """
    if searches.lease(search, clock()):
        try:
            _Turn(
                api.for_account(search.account_id), search, connection, value, clock, masked_in
            ).run()
        except peliqan.PeliqanError as error:
            # The API as a whole failed: the progress stays, and the page offers to continue.
            searches.reschedule(search, error=f"{sentence_of(error)} {error.next_step}")


class _Turn:
    """One turn of a search."""

    def __init__(
        self,
        api: peliqan.AccountApi,
        search: ValueSearch,
        connection: Connection,
        value: str,
        clock: Clock,
        masked_in: MaskedIn,
    ) -> None:
        self._api, self._search, self._connection = api, search, connection
        self._value, self._clock, self._masked_in = value, clock, masked_in
        self._tables, self._hits = searched_tables(search), hits_of(search)
        self._rows, self._seconds, self._started = search.rows_read, search.seconds, clock()
        self._columns: dict[int, tuple[peliqan.Column, ...]] = {}

    def run(self) -> None:
        if self._search.places is None:
            self._tables = self._list_tables()
            self._save_progress()
        while (number := self._next()) is not None:
            if self._elapsed() >= TURN:
                searches.reschedule(self._search)
                return
            self._tables[number] = self._step(self._tables[number])
            self._save_progress()
        self._tables = [
            replace(each, state=LEFT) if each.state == REFUSED else each for each in self._tables
        ]
        self._save_progress()
        searches.reschedule(self._search, ended_at=self._clock())

    def _list_tables(self) -> list[SearchedTable]:
        databases = self._api.databases()
        found = tables_of(
            self._connection,
            (
                table
                for each in databases[:SEARCHED_DATABASES]
                for table in self._api.tables(each.id)
            ),
        )
        named = [SearchedTable(table.id, clean(table.name)) for table in found]
        return [
            *named[:SEARCHED_TABLES],
            *(replace(each, state=LEFT) for each in named[SEARCHED_TABLES:]),
        ]

    def _next(self) -> int | None:
        """Return the index of the next table; None if the search is finished."""
        if self._seconds + self._elapsed() >= SEARCHED_SECONDS or len(self._hits) >= MOST_HITS:
            return None
        states = [each.state for each in self._tables]
        if WAITS in states:
            return states.index(WAITS)
        if self._rows >= SEARCHED_ROWS:
            return None
        # Started tables first. Once there is a hit, tables without one are not read by rows.
        for wanted in (PART, REFUSED) if self._hits else (PART, REFUSED, ASKED):
            if wanted in states:
                return states.index(wanted)
        return None

    def _step(self, table: SearchedTable) -> SearchedTable:
        try:
            return self._use_api_search(table) if table.state == WAITS else self._read_page(table)
        except OF_ONE_TABLE as error:
            if (
                table.state == WAITS
                and isinstance(error, peliqan.Refused)
                and table.table_id in self._columns
            ):
                return replace(table, state=REFUSED)
            return replace(table, state=UNREADABLE, note=error.sentence)

    def _use_api_search(self, table: SearchedTable) -> SearchedTable:
        hits = 0
        for number in range(1, CHECKED_PAGES + 1):
            columns = self._columns_of(table)
            wanted = peliqan.RowQuery(page=number, size=PAGE, search=self._value)
            page = self._api.rows(table.table_id, wanted)
            hits += self._add_hits(table, columns, page.rows, hits)
            if len(page.rows) < PAGE or hits:
                break
        return replace(table, state=FOUND if hits else ASKED)

    def _read_page(self, table: SearchedTable) -> SearchedTable:
        columns = self._columns_of(table)
        page = self._api.rows(table.table_id, peliqan.RowQuery(page=table.page + 1, size=PAGE))
        ids = hashlib.sha256(repr([row.get("id") for row in page.rows]).encode()).hexdigest()[:16]
        if page.rows and ids == table.last:
            return replace(table, state=UNREADABLE, note="Its pages repeat themselves.")
        hits = self._add_hits(table, columns, page.rows, 0)
        self._rows += len(page.rows)
        rows = table.rows + len(page.rows)
        is_last = len(page.rows) < PAGE and (page.next is None or not page.rows)
        state = FOUND if hits else READ if is_last else PART
        return replace(
            table, state=state, page=table.page + 1, rows=rows, total=page.count, last=ids
        )

    def _add_hits(
        self,
        table: SearchedTable,
        columns: tuple[peliqan.Column, ...],
        rows: tuple[dict[str, Any], ...],
        before: int,
    ) -> int:
        """Store the cells that contain the value, as far as the limits allow; return how many do.

        ``before``: the number of hits that the table has already.
        """
        found = 0
        masked = self._masked_in(table.table_id, columns)
        for row in rows:
            for column, exact in found_in(row, columns, self._value, masked):
                found += 1
                if before + found <= MOST_HITS_OF_A_TABLE and len(self._hits) < MOST_HITS:
                    number = row.get("id")
                    hit = Hit(
                        table.table_id,
                        number if type(number) is int and number >= 0 else None,
                        clean(column.name),
                        exact,
                        clean(column.type),
                        column.for_masking(),
                        column.name in masked,
                    )
                    self._hits.append(hit)
        return found

    def _columns_of(self, table: SearchedTable) -> tuple[peliqan.Column, ...]:
        if table.table_id not in self._columns:
            self._columns[table.table_id] = self._api.columns(table.table_id)
        return self._columns[table.table_id]

    def _elapsed(self) -> float:
        return (self._clock() - self._started).total_seconds()

    def _save_progress(self) -> None:
        hits = [asdict(each) for each in self._hits]
        tables = [asdict(each) for each in self._tables]
        counters = {"rows_read": self._rows, "seconds": self._seconds + self._elapsed()}
        searches.save_progress(self._search, self._clock(), places=tables, hits=hits, **counters)
