"""An answer to a question: columns and rows within limits, and which of its columns are masked."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from dashboard.data.masks import Masks
from dashboard.data.sql.personal import shape_of

MOST_ROWS: Final = 10_000
MOST_BYTES: Final = 8_000_000
SECONDS: Final = 60
COMPUTED: Final = "computed from what may be personal"


class Failed(Exception):
    """A sentence: why there is no answer. ``incomplete``: the rows so far came before it broke off."""

    def __init__(self, told: str, *, incomplete: bool = False) -> None:
        super().__init__(told)
        self.incomplete = incomplete


@dataclass(frozen=True)
class ResultColumn:
    """A column. ``origin``: the table's column that it is; empty where it is computed; None where that is not said."""

    name: str
    type: str = ""
    origin: str | None = None


@dataclass
class Result:
    """What was read. ``cut``: at which limit it was, if at one."""

    columns: Sequence[ResultColumn] = ()
    rows: list[list[Any]] = field(default_factory=list)
    cut: str = ""
    size: int = 0

    def take(self, rows: Iterable[Sequence[Any]]) -> bool:
        """More rows; False when there is no room for any more."""
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
        """Say that there is more than may be kept."""
        first = f"these are the first {len(self.rows):,} rows" if self.rows else "the first row alone has more"
        self.cut = f"There is more than {MOST_BYTES // 1_000_000} MB; {first}."

    def masked(self, masks: Masks, decided: dict[str, bool], check: Callable[[], None] = lambda: None) -> list[str | None]:
        """What each column is masked as for those who do not see everything; None where it is shown.

        ``decided``: an administrator's word by a column's name. A column that the database says is one of a table's goes by that
        name; a computed one is shown where it holds nothing but numbers and truth. Where nothing is said (Peliqan's route), it
        goes by its own name and by what its values look like. ``check`` is called every few hundredths of a second and may raise,
        to end the search through the values.
        """
        return [self._masked(place, column, masks, decided, check) for place, column in enumerate(self.columns)]

    def _masked(
        self, place: int, column: ResultColumn, masks: Masks, decided: dict[str, bool], check: Callable[[], None]
    ) -> str | None:
        check()
        values = [row[place] for row in self.rows if row[place] is not None]
        only_numbers = all(isinstance(value, (int, float)) for value in values)
        if column.origin == "":
            return None if only_numbers else COMPUTED
        name = (column.origin or column.name).rpartition(".")[2]
        kind = masks.kind_of(name)
        if name in decided:
            return (kind or "masked by an administrator") if decided[name] else None
        if kind is not None or only_numbers or column.origin is not None:
            return kind
        return shape_of(values, check)


def _plain(value: Any) -> Any:
    """As JSON has it, every digit kept."""
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
