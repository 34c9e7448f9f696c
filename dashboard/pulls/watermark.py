"""Cursor columns, which show new and changed rows: a time, or a number that only grows.

A time is recognised by the column's type or name. A growing number cannot be recognised, so a user
has to name it. It shows added rows, but not changes of existing rows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from dashboard import peliqan
from dashboard.core.text import comparable
from dashboard.core.times import CLOCK_SKEW, read_time
from dashboard.pulls.limits import NUMBERS_AGAIN, OVERLAP
from dashboard.tables.filters import can_sort
from dashboard.tables.reader import TableReading

# Columns that loaders write. A ``last_modified`` column comes first: every change of a row sets it.
CHANGE_COLUMNS: Final = ("_sdc_batched_at", "_sdc_received_at")
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")


@dataclass(frozen=True)
class CursorColumn:
    """Cursor column. ``grows``: its values are growing numbers, else times."""

    column: str
    grows: bool = False

    def read(self, value: object) -> Any:
        """Return a value as time in UTC or integer; None if it is neither."""
        return _whole(value) if self.grows else read_time(value)

    def start_after(self, watermark: str | None) -> Any:
        """Return the value at which to start reading: shortly before the last watermark."""
        since = self.read(watermark)
        if self.grows:
            return since - NUMBERS_AGAIN
        return max(since, _BEGINNING + OVERLAP) - OVERLAP

    def is_sound(self, newest: object, at: datetime) -> bool:
        """Return whether the newest value is usable: one in the future would hide later changes."""
        found = self.read(newest)
        return found is not None and (self.grows or found <= at + CLOCK_SKEW)


def cursor_column_of(columns: Sequence[peliqan.Column], grows: str = "") -> CursorColumn | None:
    """Return the cursor column among these columns, if any; ``grows``: the user's choice.

    A column that Peliqan cannot sort by is not usable, since rows are read sorted by it.
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
    """Yield pages of rows that changed at or after ``since``.

    Rows without a value come last, after older rows.
    """
    pages = reading.pages()
    for rows in pages:
        raw = [row.get(by.column) for row in rows]
        values = [by.read(each) for each in raw]
        # Rows whose value cannot be read may stand anywhere, and may be new.
        old = [
            each in (None, "") if value is None else value < since
            for each, value in zip(raw, values, strict=True)
        ]
        yield [row for row, is_old in zip(rows, old, strict=True) if not is_old]
        if any(old):
            # Cancels the pages that were requested ahead.
            pages.close()
            return


def _whole(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    return int(number) if number == number.to_integral_value() else None
