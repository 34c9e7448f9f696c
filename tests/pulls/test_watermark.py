"""Choice of the cursor column, and the rows that it selects."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from dashboard.peliqan import Column
from dashboard.pulls.watermark import CursorColumn, cursor_column_of, until
from dashboard.tables.reader import TableReading


class Pages:
    """Reading that yields these pages, and counts how many were requested."""

    def __init__(self, *pages: Sequence[Mapping[str, Any]]) -> None:
        self._pages, self.given = pages, 0

    def pages(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        for page in self._pages:
            self.given += 1
            yield page


def column(name: str, kind: str = "number", decimals: int | None = 0) -> Column:
    return Column.model_validate(
        {"id": 1, "name": name, "type": kind, "number_decimal_places": decimals}
    )


def read(by: CursorColumn, since: Any, *pages: Sequence[Any]) -> tuple[list[Any], int]:
    reading = Pages(*[[{by.column: value} for value in page] for page in pages])
    found = [
        row[by.column] for rows in until(cast(TableReading, reading), by, since) for row in rows
    ]
    return found, reading.given


def test_reading_ends_with_the_page_on_which_older_rows_begin() -> None:
    assert read(CursorColumn("n", grows=True), 10, [14, 13], [12, 9], [8, 7]) == ([14, 13, 12], 2)


def test_a_value_that_cannot_be_read_hides_none_of_the_rows_behind_it() -> None:
    assert read(
        CursorColumn("n", grows=True), 2000, ["3000", "2999.5"], ["2998", "--5"], ["10"]
    ) == (
        ["3000", "2999.5", "2998", "--5"],
        3,
    )


def test_empty_values_stand_behind_all_others_and_end_it() -> None:
    assert read(CursorColumn("n", grows=True), 1, [3, 2], [None, None], [None]) == ([3, 2], 2)


def test_a_time_of_change_goes_before_a_number_that_grows() -> None:
    columns = [column("nr"), column("_SDC_Batched_At", "text"), column("changed", "last_modified")]
    assert cursor_column_of(columns, "nr") == CursorColumn("changed")
    assert cursor_column_of(columns[:2], "nr") == CursorColumn("_SDC_Batched_At")
    assert cursor_column_of(columns[:1], "NR") == CursorColumn("nr", grows=True)
    assert cursor_column_of(columns[:1]) is None
    assert cursor_column_of([column("nr", "text")], "nr") is None
    assert cursor_column_of([column("nr", decimals=2)], "nr") is None
    # Peliqan parses brackets as a sort type, and does not sort by passwords.
    assert cursor_column_of(
        [column("changed [UTC]", "last_modified"), *columns], "nr"
    ) == CursorColumn("changed")
    assert cursor_column_of([column("_sdc_batched_at", "password")], "") is None


@pytest.mark.parametrize("value", ["--5", "", "1e9", "nan", "9" * 400, True, None, "1.5", "٣"])
def test_what_is_no_whole_number_is_none(value: object) -> None:
    assert CursorColumn("n", grows=True).read(value) is None


def test_a_time_that_lies_ahead_is_not_gone_by() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert CursorColumn("at").is_sound("2026-11-23T00:00:00Z", now)
    assert not CursorColumn("at").is_sound("2027-11-23T00:00:00Z", now)
