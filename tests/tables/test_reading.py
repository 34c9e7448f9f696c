"""Complete reads of a table: each row once, or a remark that this is not certain."""

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from dashboard import peliqan
from dashboard.peliqan import AccountApi
from dashboard.tables.reader import ROOM, TableChanged, TableReading


class Upstream:
    """A table's API; ``change`` is called with the number of each page before its rows are read.

    Many threads call ``rows``.
    """

    def __init__(
        self, ids: list[Any], change: Callable[[int, list[Any]], None] = lambda page, ids: None
    ) -> None:
        self.ids, self.change, self.pages_requested, self.most = ids, change, [], 0
        self.count: int | None = None
        self.says_next, self.length = True, 0
        self._lock, self._now = threading.Lock(), 0

    def rows(
        self, table_id: int, query: peliqan.RowQuery, *, retry_timeouts: bool
    ) -> peliqan.RowPage:
        page, size = query.page, query.size
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.pages_requested.append(page)
            self.change(page, self.ids)
            part = self.ids[(page - 1) * size : page * size]
            count = len(self.ids) if self.count is None else self.count
            more = page * size < len(self.ids) and self.says_next
            self._now -= 1
        rows = [{"id": each, "text": "x" * self.length} for each in part]
        return peliqan.RowPage(count=count, rows=rows, next="x" if more else None)


def reading(upstream: Upstream, size: int = 10, **more: Any) -> TableReading:
    return TableReading(cast(AccountApi, upstream), 1, {}, size=size, **more)


def ids(found: TableReading) -> list[Any]:
    return [row["id"] for page in found.pages() for row in page]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 95])
def test_every_row_comes_once_and_in_order(count: int) -> None:
    found = reading(Upstream(list(range(count))))
    assert ids(found) == list(range(count))
    assert (found.progress.count, found.progress.read, found.progress.remarks) == (count, count, [])


def test_it_goes_on_at_the_page_it_is_told() -> None:
    found = reading(Upstream(list(range(35))), first_page=3)
    assert ids(found) == list(range(20, 35))
    assert found.page == 4


@pytest.mark.parametrize("wrong", [0, 12, 1000])
def test_a_wrong_count_loses_no_row_and_is_said(wrong: int) -> None:
    upstream = Upstream(list(range(35)))
    upstream.count = wrong
    found = reading(upstream)
    assert ids(found) == list(range(35))
    assert found.progress.remarks == [f"Peliqan counted {wrong:,} rows, and gave 35."]


def test_a_row_that_comes_meanwhile_gives_no_other_twice_and_is_said() -> None:
    def insert(page: int, rows: list[Any]) -> None:
        if page == 3:
            rows.insert(0, 1000)

    found = reading(Upstream(list(range(35)), insert), ahead=1)
    assert ids(found) == list(range(35))
    assert found.progress.repeated == 1
    assert "came twice" in found.progress.remarks[0]
    assert "35 rows at the start" in found.progress.remarks[1]


def test_a_row_that_goes_meanwhile_is_said_since_another_was_skipped() -> None:
    def delete(page: int, rows: list[Any]) -> None:
        if page == 3:
            del rows[0]

    found = reading(Upstream(list(range(35)), delete), ahead=1)
    assert ids(found) == [each for each in range(35) if each != 20]
    assert found.progress.remarks == [
        "The table had 35 rows at the start of the reading and 34 at its end."
    ]


def test_pages_that_repeat_themselves_end_the_reading_with_a_sentence() -> None:
    upstream = Upstream(list(range(35)))
    upstream.rows = lambda table_id, query, **more: peliqan.RowPage(
        count=35, rows=[{"id": 1}] * 10, next="x"
    )  # type: ignore[method-assign]
    with pytest.raises(TableChanged, match="repeat themselves"):
        ids(reading(upstream))


@pytest.mark.parametrize(
    "pointing", ["http://elsewhere.example.com/?page=7", "/api/database/rows/table/1/?page=1", "x"]
)
def test_wherever_the_next_page_is_said_to_be_each_comes_once_and_the_last_ends_it(
    pointing: str,
) -> None:
    upstream = Upstream(list(range(35)))
    response = upstream.rows
    upstream.rows = lambda *place, **options: response(*place, **options).model_copy(
        update={"next": pointing}
    )  # type: ignore[method-assign]
    found = reading(upstream)
    assert ids(found) == list(range(35))
    assert (found.progress.ended, found.progress.remarks) == (True, [])


def test_rows_without_an_id_are_all_kept() -> None:
    assert ids(reading(Upstream([None] * 25))) == [None] * 25


def test_no_more_pages_are_asked_for_than_are_worked_on() -> None:
    upstream = Upstream(list(range(1000)))
    pages = reading(upstream, ahead=3).pages()
    for _ in range(5):
        next(pages)
    assert max(upstream.pages_requested) <= 5 + 6
    pages.close()
    assert max(upstream.pages_requested) <= 5 + 6


def test_of_long_rows_fewer_pages_are_asked_for_ahead() -> None:
    upstream = Upstream(list(range(1000)))
    upstream.length = ROOM // 25
    pages = reading(upstream, ahead=3).pages()
    for pages_read in range(1, 6):
        next(pages)
        assert max(upstream.pages_requested) <= pages_read + 2
    # Pages longer than the room for all are read one by one.
    upstream.length = ROOM // 5
    for _ in range(4):
        next(pages)
    assert max(upstream.pages_requested) <= pages_read + 4 + 1
    pages.close()


def test_a_table_that_is_deleted_meanwhile_ends_it_with_the_apis_own_error() -> None:
    def delete(page: int, rows: list[Any]) -> None:
        if page == 3:
            raise peliqan.NotFound("rows", status=404)

    with pytest.raises(peliqan.NotFound):
        ids(reading(Upstream(list(range(95)), delete)))
