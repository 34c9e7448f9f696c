"""Periodic tasks that one worker at a time takes."""

from datetime import datetime, timedelta

from sqlalchemy import String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import Model, UtcTime, change, db, upsert
from dashboard.core.row_access import EVERYONE


def claim_periodic(name: str, at: datetime, every: timedelta) -> bool:
    """Whether the caller is to do this job now; nobody else is, for as long as ``every``. Commits."""
    upsert(PeriodicTask, [{"name": name, "due_at": at}], keep=True)
    taken = change(
        update(PeriodicTask)
        .where(PeriodicTask.name == name, PeriodicTask.due_at <= at)
        .values(due_at=at + every)
    )
    db.session.commit()
    return bool(taken)


def last_claimed_at(name: str, every: timedelta) -> datetime | None:
    """When somebody last took this job that comes ``every`` so often; None before the first time."""
    due_at = db.session.scalar(select(PeriodicTask.due_at).where(PeriodicTask.name == name))
    return due_at - every if due_at is not None else None


class PeriodicTask(Model):
    """Something done again and again, once each time however many workers there are: ``due_at`` is taken by one of them."""

    __tablename__ = "job"
    visibility = EVERYONE

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(UtcTime)
