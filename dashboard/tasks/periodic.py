"""Periodic tasks that one worker at a time takes."""

from datetime import datetime, timedelta

from sqlalchemy import String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import Model, UtcTime, change, db, upsert
from dashboard.core.row_access import EVERYONE


def take_job(name: str, at: datetime, every: timedelta) -> bool:
    """Whether the caller is to do this job now; nobody else is, for as long as ``every``. Commits."""
    upsert(Job, [{"name": name, "due_at": at}], keep=True)
    taken = change(update(Job).where(Job.name == name, Job.due_at <= at).values(due_at=at + every))
    db.session.commit()
    return bool(taken)


def last_taken(name: str, every: timedelta) -> datetime | None:
    """When somebody last took this job that comes ``every`` so often; None before the first time."""
    due_at = db.session.scalar(select(Job.due_at).where(Job.name == name))
    return due_at - every if due_at is not None else None


class Job(Model):
    """Something done again and again, once each time however many workers there are: ``due_at`` is taken by one of them."""

    __tablename__ = "job"
    visibility = EVERYONE

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(UtcTime)
