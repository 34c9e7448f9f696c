"""Leases: at most one worker at a time works on a row.

A row of work has ``due_at`` (when to work on it; None: never again) and ``leased_until``. A worker
leases a row that is due, extends the lease while it works, and ends it with the next ``due_at``.
If the worker dies, the lease expires and the row is free for the next worker.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, or_, select, update

from dashboard.core.database import Base, change, db

Work = TypeVar("Work", bound=Base)


def is_free(model: Any, at: datetime) -> ColumnElement[bool]:
    """Return the condition that no worker has a lease of a row, or that its lease has expired."""
    free: ColumnElement[bool] = or_(model.leased_until.is_(None), model.leased_until < at)
    return free


def is_ready(model: Any, at: datetime) -> ColumnElement[bool]:
    """Return the condition that a row is due and free."""
    ready: ColumnElement[bool] = (model.due_at <= at) & is_free(model, at)
    return ready


def ready_ids(model: Any, at: datetime, most: int, *conditions: ColumnElement[bool]) -> list[int]:
    """Return the ids of rows that are due and free, the longest due first; at most ``most``."""
    ready = select(model.id).where(is_ready(model, at), *conditions)
    return list(db.session.scalars(ready.order_by(model.due_at, model.id).limit(most)))


def lease(
    model: type[Work],
    row_id: int,
    at: datetime,
    length: timedelta,
    conditions: Sequence[ColumnElement[bool]] = (),
    **values: Any,
) -> Work | None:
    """Lease a row and return it as it is in the database; None where it is not due or not free.

    Commits. ``conditions``: what else must hold of the row. ``values``: columns that are written
    with the lease.
    """
    columns: Any = model
    free = update(model).where(columns.id == row_id, is_ready(model, at), *conditions)
    is_leased = change(free.values(leased_until=at + length, **values))
    db.session.commit()
    if not is_leased:
        return None
    fresh = select(model).where(columns.id == row_id).execution_options(populate_existing=True)
    return db.session.scalar(fresh)


def write_leased(row: Any, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Write columns of a row if the conditions still hold of it; False where they do not. Commits.

    The object is refreshed either way.
    """
    model: Any = type(row)
    is_written = change(update(model).where(model.id == row.id, *conditions).values(**values))
    db.session.commit()
    db.session.refresh(row)
    return bool(is_written)
