"""Reads a complete table page by page, and reports changes during the read.

The next pages are requested while one is used.

Peliqan's pages are numbers (Baserow's paging). If rows are added or deleted during the read, all
later rows move: some may be read twice or not at all. Repeated rows are left out and counted, and
a changed row count is reported.
"""

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Final

from dashboard import peliqan
from dashboard.peliqan import AccountApi

# Rows a page: the most that the API returns.
PAGE: Final = 200
# Pages requested at a time. As many more may have arrived and wait to be used.
AHEAD: Final = 8
# Characters that the waiting pages may take: with long rows, fewer pages are requested ahead.
ROOM: Final = 16_000_000
# Extra tries for a page that timed out. It is requested alone, so that a slow server can finish
# its earlier requests.
ALONE: Final = 5
# Rows of a page that are measured to estimate its length.
WEIGHED: Final = 4
# Pages in whose rows a repeated row is recognised.
REMEMBERED: Final = 3

Row = Mapping[str, Any]


class TableChanged(Exception):
    """The table cannot be read to its end: it was removed, or its pages repeat.

    The message is a sentence.
    """


@dataclass
class ReadRemarks:
    """What to report about a read of a table.

    ``count``: rows as the API first counted them, ``last_count`` as it last did; ``repeated``: rows
    that came twice and were left out.
    """

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
        """Sentences on why rows may be missing or came twice; empty if the read was consistent."""
        found = []
        if self.repeated:
            found.append(
                f"{self.repeated:,} rows came twice and were left out the second time: the table"
                " changed while it was read, so others may be missing."
            )
        if self.last_count != self.count:
            found.append(
                f"The table had {self.count:,} rows at the start of the reading and"
                f" {self.last_count:,} at its end."
            )
        elif self.ended and self.count is not None and self.read + self.repeated != self.count:
            found.append(
                f"Peliqan counted {self.count:,} rows, and gave {self.read + self.repeated:,}."
            )
        return found


class TableReading:
    """A read of a table from ``first_page`` to its end; ``progress`` is updated with each page."""

    def __init__(
        self,
        api: AccountApi,
        table_id: int,
        arguments: Mapping[str, Any],
        *,
        first_page: int = 1,
        size: int = PAGE,
        ahead: int = AHEAD,
    ) -> None:
        """Prepare a read. ``arguments``: those of ``AccountApi.rows``, except page and size."""
        self._api, self._table_id, self._arguments = api, table_id, dict(arguments)
        self._next, self._size, self._ahead = first_page, size, ahead
        # One page only, until the first page shows how long its rows are.
        self._limit = 1
        self._slow = False
        self.page = first_page - 1
        self.progress = ReadRemarks()

    def pages(self) -> Generator[Sequence[Row], None, None]:
        """Yield the rows of each page, in order.

        Memory is constant: at most twice ``ahead`` pages are requested or wait to be used, and with
        long rows only as many as fit into ``ROOM``. Closing the generator cancels what is pending.

        Raises:
            TableChanged: the pages repeat.
            PeliqanError: a page cannot be read.
        """
        pool = ThreadPoolExecutor(self._ahead, thread_name_prefix="reading")
        waiting: deque[Future[peliqan.RowPage]] = deque()
        try:
            self._request(pool, waiting, 1)
            while waiting:
                found = self._next_page(waiting)
                self.page += 1
                self._limit = (
                    1 if self._slow else max(1, min(2 * self._ahead, ROOM // _length(found.rows)))
                )
                rows = self._without_repeated(found)
                if self._is_last(found):
                    self.progress.ended = True
                    yield rows
                    return
                self._request(pool, waiting, self._pages_left(found.count))
                yield rows
        finally:
            for each in waiting:
                each.cancel()
            pool.shutdown(wait=True, cancel_futures=True)

    def _next_page(self, waiting: "deque[Future[peliqan.RowPage]]") -> peliqan.RowPage:
        """Return the next page.

        After a time-out, pages are requested one at a time: more would only queue at a slow server.

        Raises:
            PeliqanError: the page cannot be read, even after ``ALONE`` more tries.
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

    def _request(
        self, pool: ThreadPoolExecutor, waiting: "deque[Future[peliqan.RowPage]]", most: int
    ) -> None:
        while len(waiting) < min(self._limit, most):
            # In this thread's context, which holds the purpose of the API call.
            waiting.append(pool.submit(copy_context().run, self._get, self._next))
            self._next += 1

    def _get(self, page: int) -> peliqan.RowPage:
        return self._api.rows(
            self._table_id,
            peliqan.RowQuery(page=page, size=self._size, **self._arguments),
            retry_timeouts=False,
        )

    def _pages_left(self, count: int) -> int:
        """Return how many pages to request after the current one, at least one.

        At least one, since a count can be wrong: only a short page is the end.
        """
        return max(1, -(-count // self._size) - self.page)

    def _is_last(self, found: peliqan.RowPage) -> bool:
        return len(found.rows) < self._size and (found.next is None or not found.rows)

    def _without_repeated(self, found: peliqan.RowPage) -> Sequence[Row]:
        """Return a page's rows without those of the pages before it, and count both."""
        progress = self.progress
        if progress.count is None:
            progress.count = found.count
        progress.last_count = found.count
        ids = [row.get("id") for row in found.rows]
        known: frozenset[Any] = frozenset().union(*progress.last_ids)
        if (
            ids
            and None not in ids
            and frozenset(ids) == (progress.last_ids[-1] if progress.last_ids else None)
        ):
            raise TableChanged(
                f"Page {self.page} has the rows of the page before it:"
                " the table's pages repeat themselves."
            )
        rows = [row for row in found.rows if row.get("id") is None or row["id"] not in known]
        progress.repeated += len(found.rows) - len(rows)
        progress.read += len(rows)
        progress.last_ids.append(frozenset(each for each in ids if each is not None))
        return rows


def _length(rows: Sequence[Row]) -> int:
    """Return about how many characters a page's rows have, at least one."""
    some = rows[:: max(1, len(rows) // WEIGHED)]
    return 1 + len(rows) * max((len(repr(row)) for row in some), default=0)
