"""Leases: at most one worker at a time works on a row.

A row of work has ``due_at`` (when to work on it; None: never again) and ``leased_until``. A worker
leases a row that is due, extends the lease while it works, and ends it with the next ``due_at``.
If the worker dies, the lease expires and the row is free for the next worker.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, inspect, or_, select, update

from dashboard.core.database import Base, change, db

Work = TypeVar("Work", bound=Base)


def is_free(model: Any, at: datetime) -> ColumnElement[bool]:
    """Return the condition that no worker has a lease of a row, or that its lease has expired."""
    free: ColumnElement[bool] = or_(model.leased_until.is_(None), model.leased_until < at)
    return free


def is_ready(model: Any, at: datetime) -> ColumnElement[bool]:
    """Return the condition that a row is due and free."""
    return and_(model.due_at <= at, is_free(model, at))


def ready_keys(
    model: Any, at: datetime, most: int, *conditions: ColumnElement[bool]
) -> list[tuple[int, ...]]:
    """Return the primary keys of rows that are due and free, the longest due first."""
    keys = inspect(model).primary_key
    ready = select(*keys).where(is_ready(model, at), *conditions)
    return [
        tuple(row) for row in db.session.execute(ready.order_by(model.due_at, *keys).limit(most))
    ]


def ready_ids(model: Any, at: datetime, most: int, *conditions: ColumnElement[bool]) -> list[int]:
    """Return the ids of rows that are due and free, the longest due first."""
    return [row_id for (row_id,) in ready_keys(model, at, most, *conditions)]


def lease(
    model: type[Work],
    key: int | tuple[int, ...],
    at: datetime,
    length: timedelta,
    conditions: Sequence[ColumnElement[bool]] = (),
    **values: Any,
) -> Work | None:
    """Lease a row and return it as it is in the database; None where it is not due or not free.

    Commits. ``key``: its primary key. ``conditions``: what else must hold of the row. ``values``:
    columns that are written with the lease.
    """
    is_row = _is_row(model, key)
    free = update(model).where(is_row, is_ready(model, at), *conditions)
    is_leased = change(free.values(**{"leased_until": at + length, **values}))
    db.session.commit()
    if not is_leased:
        return None
    return db.session.scalar(select(model).where(is_row).execution_options(populate_existing=True))


def write(row: Base, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Write columns of a row if the conditions still hold of it; return whether they did. Commits.

    The object has the values of the database afterwards, either way.
    """
    is_row = _is_row(type(row), inspect(row).identity)
    is_written = change(update(type(row)).where(is_row, *conditions).values(**values))
    db.session.commit()
    db.session.refresh(row)
    return bool(is_written)


def _is_row(model: type[Base], key: Any) -> ColumnElement[bool]:
    values = key if isinstance(key, tuple) else (key,)
    columns = inspect(model).primary_key
    return and_(*(column == value for column, value in zip(columns, values, strict=True)))
