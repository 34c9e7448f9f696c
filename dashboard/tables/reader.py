"""A whole table, page by page: pages ahead are asked for while one is worked on, and what changed meanwhile is said.

Pages are numbers at Peliqan (Baserow's paging), so rows that come or go while a table is read move all that follow: some may be
met twice or not at all. What can be seen of that is told: rows met twice are left out, a count that changed is named.
"""

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Final

from dashboard import peliqan
from dashboard.peliqan import AccountApi

# The most rows a page that the API gives.
PAGE: Final = 200
# Pages that are asked for at a time; as many more may have come and wait for their turn.
AHEAD: Final = 8
# What they may take, in characters: of long rows fewer are asked for ahead.
ROOM: Final = 16_000_000
# A page that timed out is asked for so many times more, alone: meanwhile a slow server ends what it was asked before.
ALONE: Final = 5
# So many of a page's rows tell how long they are.
WEIGHED: Final = 4
# So many pages back a row is known again.
REMEMBERED: Final = 3

Row = Mapping[str, Any]


class TableChanged(Exception):
    """The table cannot be read to its end: it is gone, or its pages repeat. The message is a sentence."""


@dataclass
class ReadRemarks:
    """What is to be said of a reading. ``count``: rows as the API counted them first; ``repeated``: rows met twice, left out."""

    count: int | None = None
    read: int = 0
    repeated: int = 0
    last_count: int | None = None
    ended: bool = False
    last_ids: deque[frozenset[Any]] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED), repr=False
    )

    @property
    def remarks(self) -> list[str]:
        """Sentences for people: why rows may be missing, or were met twice. Empty where nothing speaks against the reading."""
        found = []
        if self.repeated:
            found.append(
                f"{self.repeated:,} rows came twice and were left out the second time: the table changed while it was read,"
                " so others may be missing."
            )
        if self.last_count != self.count:
            found.append(
                f"The table had {self.count:,} rows at the start of the reading and {self.last_count:,} at its end."
            )
        elif self.ended and self.count is not None and self.read + self.repeated != self.count:
            found.append(
                f"Peliqan counted {self.count:,} rows, and gave {self.read + self.repeated:,}."
            )
        return found


class TableReading:
    """Reads a table from ``first_page`` to its end. ``told`` grows with each page; ``close`` lets go of what is under way."""

    def __init__(
        self,
        api: AccountApi,
        table_id: int,
        asked: Mapping[str, Any],
        *,
        first_page: int = 1,
        size: int = PAGE,
        ahead: int = AHEAD,
    ) -> None:
        """``asked``: search, order_by, filters, include, as ``AccountApi.rows`` takes them."""
        self._api, self._table_id, self._asked = api, table_id, dict(asked)
        self._next, self._size, self._ahead = first_page, size, ahead
        # Until the first page has come nobody knows how long its rows are.
        self._most = 1
        self._slow = False
        self.page = first_page - 1
        self.told = ReadRemarks()

    def pages(self) -> Generator[Sequence[Row], None, None]:
        """The rows of each page, in order. Constant memory: at most twice ``ahead`` pages are under way or wait to be taken, and
        of long rows as many as there is ``ROOM`` for.

        Raises:
            TableChanged: its pages repeat themselves.
            PeliqanError: a page cannot be had.
        """
        pool = ThreadPoolExecutor(self._ahead, thread_name_prefix="reading")
        waiting: deque[Future[peliqan.RowPage]] = deque()
        try:
            self._ask(pool, waiting, 1)
            while waiting:
                found = self._take(waiting)
                self.page += 1
                self._most = (
                    1 if self._slow else max(1, min(2 * self._ahead, ROOM // _length(found.rows)))
                )
                rows = self._fresh(found)
                if self._is_last(found):
                    self.told.ended = True
                    yield rows
                    return
                self._ask(pool, waiting, self._pages_left(found.count))
                yield rows
        finally:
            for each in waiting:
                each.cancel()
            pool.shutdown(wait=True, cancel_futures=True)

    def _take(self, waiting: "deque[Future[peliqan.RowPage]]") -> peliqan.RowPage:
        """Return the next page. After a time-out, pages are asked for one at a time: asked ahead, they queue at a slow server.

        Raises:
            PeliqanError: it cannot be had, also not after ``ALONE`` more tries.
        """
        try:
            return waiting.popleft().result()
        except peliqan.TimedOut as error:
            self._slow, timed_out = True, error
        wait(waiting)
        for _ in range(ALONE):
            try:
                return self._get(self.page + 1)
            except peliqan.TimedOut as error:
                timed_out = error
        raise timed_out

    def _ask(
        self, pool: ThreadPoolExecutor, waiting: "deque[Future[peliqan.RowPage]]", most: int
    ) -> None:
        while len(waiting) < min(self._most, most):
            # In this thread's context: a call says what it is made for.
            waiting.append(pool.submit(copy_context().run, self._get, self._next))
            self._next += 1

    def _get(self, page: int) -> peliqan.RowPage:
        return self._api.rows(
            self._table_id, page=page, size=self._size, retry_timeouts=False, **self._asked
        )

    def _pages_left(self, count: int) -> int:
        """After the page that was just taken; one at least, since a count may be wrong and only a short page is the end."""
        return max(1, -(-count // self._size) - self.page)

    def _is_last(self, found: peliqan.RowPage) -> bool:
        return len(found.rows) < self._size and (found.next is None or not found.rows)

    def _fresh(self, found: peliqan.RowPage) -> Sequence[Row]:
        """Its rows without those that came before."""
        told = self.told
        if told.count is None:
            told.count = found.count
        told.last_count = found.count
        ids = [row.get("id") for row in found.rows]
        known: frozenset[Any] = frozenset().union(*told.last_ids)
        if (
            ids
            and None not in ids
            and frozenset(ids) == (told.last_ids[-1] if told.last_ids else None)
        ):
            raise TableChanged(
                f"Page {self.page} has the rows of the page before it: the table's pages repeat themselves."
            )
        rows = [row for row in found.rows if row.get("id") is None or row["id"] not in known]
        told.repeated += len(found.rows) - len(rows)
        told.read += len(rows)
        told.last_ids.append(frozenset(each for each in ids if each is not None))
        return rows


def _length(rows: Sequence[Row]) -> int:
    """About how many characters a page's rows have, and one at least."""
    some = rows[:: max(1, len(rows) // WEIGHED)]
    return 1 + len(rows) * max((len(repr(row)) for row in some), default=0)
