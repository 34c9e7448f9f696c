"""Manifest of a copied table, committed together with its rows, and the result of a pull."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Self

from dashboard import peliqan
from dashboard.core.text import name_for
from dashboard.pulls.column_types import ROW_ID, declared, wider

FULL: Final = "full"
INCREMENTAL: Final = "incremental"


@dataclass(frozen=True)
class CopiedColumn:
    """Column at the destination: ``name`` at Peliqan, ``stored`` there. ``lost``: now removed."""

    name: str
    stored: str
    kind: str
    lost: bool = False


@dataclass(frozen=True)
class Copied:
    """Copied table. ``target``: its location, a file in the folder or the name of a table.

    ``watermark``: the cursor value, as Peliqan wrote it, at which the next incremental read starts;
    None if only full copies are possible. ``since_full``: incremental reads since the last full
    copy. ``keyed``: every row has an id of its own.
    """

    account_id: int
    table_id: int
    connection_id: int | None
    database: str
    name: str
    target: str
    columns: tuple[CopiedColumn, ...]
    mode: str
    at: str
    rows: int = 0
    read: int = 0
    change_column: str | None = None
    watermark: str | None = None
    since_full: int = 0
    keyed: bool = True
    remarks: tuple[str, ...] = ()
    schema_changes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the table as JSON fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Return the table from the fields of ``as_json``."""
        columns = tuple(CopiedColumn(**each) for each in stored["columns"])
        texts = {name: tuple(stored[name]) for name in ("remarks", "schema_changes")}
        return cls(**{**stored, "columns": columns, **texts})


@dataclass(frozen=True)
class NameRules:
    """Rules for a destination's column names, see ``name_for``. ``reserved``: system columns."""

    fold: bool
    most_bytes: int | None
    reserved: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Failure:
    """Table that could not be copied; ``table`` is empty if a whole account could not be read."""

    account_id: int
    table_id: int | None
    table: str
    reason: str


@dataclass
class PullResult:
    """Result of a pull. ``stopped``: a sentence why it ended early, else None."""

    began: datetime
    ended: datetime | None = None
    copied: list[Copied] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    stopped: str | None = None

    @property
    def exit_code(self) -> int:
        """Return 0 if all was copied, 1 if some failed, 2 if nothing could be copied."""
        if not self.failures and self.stopped is None:
            return 0
        return 1 if self.copied else 2

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON fields, for scripts and for the manifest."""
        tables = [each.as_json() for each in self.copied]
        return {
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat() if self.ended else None,
            "tables": tables,
            "failures": [asdict(each) for each in self.failures],
            "stopped": self.stopped,
        }


def columns_now(
    before: Sequence[CopiedColumn], found: Sequence[peliqan.Column], rules: NameRules
) -> tuple[tuple[CopiedColumn, ...], list[str]]:
    """Return the columns of a copy, and sentences on what changed since the last one.

    ``before``: columns of the last copy; ``found``: columns of Peliqan's table.
    A column keeps its stored name and never becomes narrower. A removed column stays, empty.
    """
    known = {each.name: each for each in before}
    now: dict[str, CopiedColumn] = {}
    changes = []
    used = [ROW_ID, *rules.reserved, *(each.stored for each in before)]
    for column in found:
        old = known.get(column.name)
        if old is None:
            stored = name_for(column.name, used, fold=rules.fold, most_bytes=rules.most_bytes)
            used.append(stored)
            now[column.name] = CopiedColumn(column.name, stored, declared(column))
            if before:
                changes.append(f"Column “{column.name}” is new.")
            if stored != column.name:
                changes.append(f"Column “{column.name}” is called “{stored}” at the destination.")
            continue
        if old.lost:
            changes.append(f"Column “{column.name}” is back.")
        # A declared date is only a start: the values may be times.
        kind = wider(old.kind, declared(column))
        if kind != old.kind:
            changes.append(f"Column “{column.name}” was {old.kind} and is {kind} now.")
        now[column.name] = replace(old, kind=kind, lost=False)
    for old in before:
        if old.name not in now:
            if not old.lost:
                changes.append(
                    f"Column “{old.name}” is gone at Peliqan; it stays here, empty from now on."
                )
            now[old.name] = replace(old, lost=True)
    return tuple(now.values()), changes
