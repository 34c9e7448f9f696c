"""What says that a row of a table is new or changed: a time that moves with the row, or a number that only grows.

A time is found by the column's type or name. That a number only grows nobody can see from outside, so it counts only where
somebody says so: rows that were added are seen by it, changes of rows that are there already are not.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from dashboard import peliqan
from dashboard.core.text import comparable
from dashboard.core.times import CLOCK_SKEW, read_time
from dashboard.tables.filters import can_sort
from dashboard.tables.reader import TableReading

# What loaders write into each row. A table's own last_modified goes first: it moves with whatever changes a row.
CHANGE_COLUMNS: Final = ("_sdc_batched_at", "_sdc_received_at")
# A loader writes its time down before others can see the row: so much of what is there already is read again.
OVERLAP: Final = timedelta(minutes=15)
# And so many numbers: of two rows that are made at once the higher may be seen first.
NUMBERS_AGAIN: Final = 1000
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")


@dataclass(frozen=True)
class CursorColumn:
    """The column that is gone by, and how its values are read: comparable ones, None where a value is none."""

    column: str
    grows: bool = False

    def read(self, value: object) -> Any:
        """A time in UTC or a whole number."""
        return _whole(value) if self.grows else read_time(value)

    def from_where(self, watermark: str | None) -> Any:
        """The value from which on rows are read, given the newest of the last time; what lies shortly before comes once more."""
        since = self.read(watermark)
        if self.grows:
            return since - NUMBERS_AGAIN
        return max(since, _BEGINNING + OVERLAP) - OVERLAP

    def is_sound(self, newest: object, at: datetime) -> bool:
        """Whether the newest value can be gone by: a time that lies ahead would hide what follows."""
        found = self.read(newest)
        return found is not None and (self.grows or found <= at + CLOCK_SKEW)


def cursor_column_of(columns: Sequence[peliqan.Column], grows: str = "") -> CursorColumn | None:
    """What says when a row of a table with these columns changed, if anything does; ``grows``: a number to go by otherwise.

    A column that Peliqan cannot sort by is of no use: rows are read sorted by it.
    """
    columns = [column for column in columns if can_sort(column)]
    for column in columns:
        if column.type == "last_modified":
            return CursorColumn(column.name)
    names = {column.name.casefold(): column.name for column in columns}
    found = next((names[name] for name in CHANGE_COLUMNS if name in names), None)
    if found is not None:
        return CursorColumn(found)
    wanted = next(
        (each for each in columns if grows and comparable(each.name) == comparable(grows)), None
    )
    is_number = (
        wanted is not None and wanted.type in {"number", "autonumber"} and not wanted.decimals
    )
    return CursorColumn(wanted.name, grows=True) if wanted is not None and is_number else None


def until(
    reading: TableReading, by: CursorColumn, since: Any
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Pages of rows that changed at or after ``since``. Rows that say nothing come last, and older ones before them."""
    pages = reading.pages()
    for rows in pages:
        said = [row.get(by.column) for row in rows]
        values = [by.read(each) for each in said]
        # What cannot be read stands somewhere among the others, and may be new.
        old = [
            each in (None, "") if value is None else value < since
            for each, value in zip(said, values, strict=True)
        ]
        yield [row for row, is_old in zip(rows, old, strict=True) if not is_old]
        if any(old):
            # Lets go of the pages that were asked for ahead.
            pages.close()
            return


def _whole(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    return int(number) if number == number.to_integral_value() else None
