"""Periodic tasks, each executed by one worker at a time."""

from datetime import datetime, timedelta

from sqlalchemy import String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import Model, UtcTime, change, db, upsert
from dashboard.core.row_access import EVERYONE


def claim_periodic(name: str, at: datetime, every: timedelta) -> bool:
    """Return whether the caller is to run this task now. Commits.

    If so, no other caller runs it for the time ``every``.
    """
    upsert(PeriodicTask, [{"name": name, "due_at": at}], keep_existing=True)
    claimed = change(
        update(PeriodicTask)
        .where(PeriodicTask.name == name, PeriodicTask.due_at <= at)
        .values(due_at=at + every)
    )
    db.session.commit()
    return bool(claimed)


def last_claimed_at(name: str, every: timedelta) -> datetime | None:
    """Return when the task with this interval was last claimed; None before the first time."""
    due_at = db.session.scalar(select(PeriodicTask.due_at).where(PeriodicTask.name == name))
    return due_at - every if due_at is not None else None


class PeriodicTask(Model):
    """Periodic task. Of all workers, the one that moves ``due_at`` runs it."""

    __tablename__ = "job"
    visibility = EVERYONE

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(UtcTime)
