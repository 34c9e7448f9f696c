"""Kept texts: beside a text its ``comparable`` form, in a column of its own, by which lists search, filter and sort.

``folded("name")`` declares such a column. It is filled with every INSERT and with every change of a mapped object. An UPDATE
statement has to set it: ``with_folds`` adds it to the values. What was written by a version that knew no such column, or by
hand, is put right by ``refold``.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, Table, Text, bindparam, event, select, tuple_, update
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import MappedColumn, Mapper, mapped_column
from sqlalchemy.orm.attributes import instance_state as object_state
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE

from dashboard.core.database import change_many, db
from dashboard.core.text import comparable

AT_ONCE = 500
Fold = Callable[[str], str]


class FoldedText(Text):
    """The type of a kept text."""


# Code points in their order on both databases, whatever the locale of a PostgreSQL database: one order, and indexes that serve.
_FOLDED = FoldedText().with_variant(Text(collation="C"), "postgresql")


class _Kept(NamedTuple):
    """A column, the names of the columns that it is made of, and how their texts are folded."""

    column: Column[Any]
    sources: tuple[str, ...]
    fold: Fold

    def of(self, values: Iterable[str | None]) -> str:
        # No word that is searched for has a line break in it: a match is within one of the texts.
        return "\n".join(self.fold(value or "") for value in values)


def folded(*sources: str, fold: Fold = comparable) -> MappedColumn[str]:
    """Declare a column that keeps the folded texts of other columns of its row, a line each."""

    def of_row(context: DefaultExecutionContext) -> str:
        row = context.get_current_parameters()  # type: ignore[no-untyped-call]
        return "\n".join(fold(row.get(name) or "") for name in sources)

    return mapped_column(
        _FOLDED,
        default=of_row,
        server_default="",
        deferred=True,
        info={"sources": sources, "fold": fold},
    )


@cache
def _kept_of(table: Table) -> tuple[_Kept, ...]:
    return tuple(
        _Kept(column, column.info["sources"], column.info["fold"])
        for column in table.columns
        if "sources" in column.info
    )


def with_folds(model: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an UPDATE of ``model``, with the kept texts that change by them.

    Raises:
        ValueError: a kept text is made of one that changes and of others that are not given.
    """
    found = dict(values)
    for kept in _kept_of(model.__table__):
        given = [name for name in kept.sources if name in values]
        if given and len(given) < len(kept.sources):
            raise ValueError(
                f"{kept.column} is made of {', '.join(kept.sources)}, and only {', '.join(given)} is given"
            )
        if given:
            found[kept.column.name] = kept.of(values[name] for name in kept.sources)
    return found


@event.listens_for(Mapper, "before_update")
def _keep(mapper: Mapper[Any], _connection: object, row: Any) -> None:
    for kept in _kept_of(mapper.local_table):
        state = object_state(row)
        if any(
            state.get_history(name, PASSIVE_NO_INITIALIZE).has_changes() for name in kept.sources
        ):
            setattr(row, kept.column.name, kept.of(getattr(row, name) for name in kept.sources))


def refold() -> int:
    """Work out all kept texts anew and write those that differ; how many rows that was. Commits after every 500 rows."""
    tables = (table for table in db.metadata.sorted_tables if _kept_of(table))
    return sum(_refold(table) for table in tables)


def _refold(table: Table) -> int:
    kept, key = _kept_of(table), list(table.primary_key.columns)
    names = sorted({name for each in kept for name in each.sources})
    wanted = (
        select(*key, *(table.c[name] for name in names), *(each.column for each in kept))
        .order_by(*key)
        .limit(AT_ONCE)
    )
    # A text that somebody changes meanwhile is theirs to fold.
    same = [table.c[name].is_not_distinct_from(bindparam(f"was_{name}")) for name in names]
    here = [column == bindparam(f"key_{column.name}") for column in key]
    writing = (
        update(table)
        .where(*here, *same)
        .values({each.column.name: bindparam(f"to_{each.column.name}") for each in kept})
    )
    changed, rows = 0, db.session.execute(wanted).mappings().all()
    while rows:
        stale = []
        for row in rows:
            to = {each.column.name: each.of(row[name] for name in each.sources) for each in kept}
            if any(row[name] != value for name, value in to.items()):
                stale.append(
                    {f"to_{name}": value for name, value in to.items()}
                    | {f"was_{name}": row[name] for name in names}
                    | {f"key_{column.name}": row[column.name] for column in key}
                )
        change_many(writing, stale)
        db.session.commit()
        changed += len(stale)
        last = tuple_(*(rows[-1][column.name] for column in key))
        rows = db.session.execute(wanted.where(tuple_(*key) > last)).mappings().all()
    return changed
