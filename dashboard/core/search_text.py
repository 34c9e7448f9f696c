"""Columns that hold the ``comparable`` form of texts; lists search, filter and sort by them.

``folded("name")`` declares such a column. Every INSERT and every change of a mapped object fills
it. An UPDATE statement has to set it: ``with_folds`` adds it to the values. ``refold`` corrects
rows that were written by hand or by a version without the column.
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
    """The type of a column of folded texts."""


# Sorts by code point on both databases, whatever the locale, so that indexes can serve.
_FOLDED = FoldedText().with_variant(Text(collation="C"), "postgresql")


class _FoldedColumn(NamedTuple):
    """A column, the names of the columns that it is made of, and the fold function."""

    column: Column[Any]
    sources: tuple[str, ...]
    fold: Fold

    def of(self, values: Iterable[str | None]) -> str:
        # A search word contains no line break, so a match is within one of the texts.
        return "\n".join(self.fold(value or "") for value in values)


def folded(*sources: str, fold: Fold = comparable) -> MappedColumn[str]:
    """Declare a column that holds the folded texts of other columns of its row, one a line."""

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
def _folded_columns(table: Table) -> tuple[_FoldedColumn, ...]:
    return tuple(
        _FoldedColumn(column, column.info["sources"], column.info["fold"])
        for column in table.columns
        if "sources" in column.info
    )


def with_folds(model: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an UPDATE of ``model``, with the folded texts that depend on them.

    Raises:
        ValueError: a folded text depends on a given value and on others that are not given.
    """
    found = dict(values)
    for each in _folded_columns(model.__table__):
        given = [name for name in each.sources if name in values]
        if given and len(given) < len(each.sources):
            raise ValueError(
                f"{each.column} is made of {', '.join(each.sources)}, and only {', '.join(given)}"
                " is given"
            )
        if given:
            found[each.column.name] = each.of(values[name] for name in each.sources)
    return found


@event.listens_for(Mapper, "before_update")
def _fold_changed(mapper: Mapper[Any], _connection: object, row: Any) -> None:
    for each in _folded_columns(mapper.local_table):
        state = object_state(row)
        if any(
            state.get_history(name, PASSIVE_NO_INITIALIZE).has_changes() for name in each.sources
        ):
            setattr(row, each.column.name, each.of(getattr(row, name) for name in each.sources))


def refold() -> int:
    """Recompute all folded texts, write those that differ, and return the number of rows.

    Commits after every 500 rows.
    """
    tables = (table for table in db.metadata.sorted_tables if _folded_columns(table))
    return sum(_refold(table) for table in tables)


def _refold(table: Table) -> int:
    folds, key = _folded_columns(table), list(table.primary_key.columns)
    names = sorted({name for each in folds for name in each.sources})
    wanted = (
        select(*key, *(table.c[name] for name in names), *(each.column for each in folds))
        .order_by(*key)
        .limit(AT_ONCE)
    )
    # Rows whose text changed since they were read are skipped: that change folded it.
    same = [table.c[name].is_not_distinct_from(bindparam(f"was_{name}")) for name in names]
    same_row = [column == bindparam(f"key_{column.name}") for column in key]
    writing = (
        update(table)
        .where(*same_row, *same)
        .values({each.column.name: bindparam(f"to_{each.column.name}") for each in folds})
    )
    changed, rows = 0, db.session.execute(wanted).mappings().all()
    while rows:
        stale = []
        for row in rows:
            to = {each.column.name: each.of(row[name] for name in each.sources) for each in folds}
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
