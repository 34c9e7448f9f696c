"""A query result: columns and rows, within limits."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from dashboard.sql.limits import MOST_BYTES, MOST_ROWS


class Failed(Exception):
    """The query failed. The message is a sentence. ``incomplete``: some rows came before."""

    def __init__(self, message: str, *, incomplete: bool = False) -> None:
        super().__init__(message)
        self.incomplete = incomplete


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result."""

    name: str
    type: str = ""


@dataclass
class Result:
    """The rows of a result so far. ``cut``: a sentence on the limit that was reached, or empty."""

    columns: Sequence[ResultColumn] = ()
    rows: list[list[Any]] = field(default_factory=list)
    cut: str = ""
    size: int = 0

    def add(self, rows: Iterable[Sequence[Any]]) -> bool:
        """Add rows; return False once a limit is reached."""
        for row in rows:
            plain = [_plain(value) for value in row]
            self.size += len(json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace"))
            if len(self.rows) >= MOST_ROWS:
                self.cut = f"There are more than {MOST_ROWS:,} rows; these are the first."
                return False
            if self.size > MOST_BYTES:
                self.cut_by_size()
                return False
            self.rows.append(plain)
        return True

    def cut_by_size(self) -> None:
        """Set ``cut`` to a sentence on the limit of bytes."""
        first = (
            f"these are the first {len(self.rows):,} rows"
            if self.rows
            else "the first row alone has more"
        )
        self.cut = f"There is more than {MOST_BYTES // 1_000_000} MB; {first}."


def _plain(value: Any) -> Any:
    """Return a value for JSON, with every digit."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, (Decimal, UUID, timedelta)):
        return str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return str(value)
