"""What is known of a copied table, kept with its rows and committed together with them, and what a pull says of each table."""

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
    """A column at the destination: ``name`` as Peliqan says it, ``stored`` as it is called there. ``lost``: gone at Peliqan."""

    name: str
    stored: str
    kind: str
    lost: bool = False


@dataclass(frozen=True)
class Copied:
    """One table as it stands at the destination. ``target`` is its place there: a file below the folder, or a table's name.

    ``watermark``: the change value, as Peliqan wrote it, from which on the next incremental read begins; None where only full
    copies are possible. ``since_full``: incremental reads since the last full copy. ``keyed``: every row has its own id.
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
        """As it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """From what ``as_json`` gave."""
        columns = tuple(CopiedColumn(**each) for each in kept["columns"])
        texts = {name: tuple(kept[name]) for name in ("remarks", "schema_changes")}
        return cls(**{**kept, "columns": columns, **texts})


@dataclass(frozen=True)
class NameRules:
    """What names a destination takes; see ``kinds.name_for``. ``reserved``: names of columns that it keeps for itself."""

    fold: bool
    most_bytes: int | None
    reserved: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Failure:
    """Something that could not be copied. ``table`` is empty where a whole account could not be read."""

    account_id: int
    table_id: int | None
    table: str
    reason: str


@dataclass
class PullResult:
    """What a pull did. ``stopped``: why it ended before its end, in a sentence."""

    began: datetime
    ended: datetime | None = None
    copied: list[Copied] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    stopped: str | None = None

    @property
    def exit_code(self) -> int:
        """0 all copied, 1 some failed, 2 nothing could be copied."""
        if not self.failures and self.stopped is None:
            return 0
        return 1 if self.copied else 2

    def as_json(self) -> dict[str, Any]:
        """For scripts, and for the manifest."""
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
    """The columns of a copy, given those of the copy before it and the table's now; and sentences on what changed.

    A column keeps its stored name, and never becomes narrower; one that is lost stays, and is empty from then on.
    """
    known = {each.name: each for each in before}
    now: dict[str, CopiedColumn] = {}
    told = []
    taken = [ROW_ID, *rules.reserved, *(each.stored for each in before)]
    for column in found:
        old = known.get(column.name)
        if old is None:
            stored = name_for(column.name, taken, fold=rules.fold, most_bytes=rules.most_bytes)
            taken.append(stored)
            now[column.name] = CopiedColumn(column.name, stored, declared(column))
            if before:
                told.append(f"Column “{column.name}” is new.")
            if stored != column.name:
                told.append(f"Column “{column.name}” is called “{stored}” at the destination.")
            continue
        if old.lost:
            told.append(f"Column “{column.name}” is back.")
        # Days are a beginning only: a column of times says so by its values.
        kind = wider(old.kind, declared(column))
        if kind != old.kind:
            told.append(f"Column “{column.name}” was {old.kind} and is {kind} now.")
        now[column.name] = replace(old, kind=kind, lost=False)
    for old in before:
        if old.name not in now:
            if not old.lost:
                told.append(
                    f"Column “{old.name}” is gone at Peliqan; it stays here, empty from now on."
                )
            now[old.name] = replace(old, lost=True)
    return tuple(now.values()), told
