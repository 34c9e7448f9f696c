"""Tables of pull schedules and their runs; they never contain a row of the copied tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import NOBODY
from dashboard.core.search_text import folded


class PullSchedule(Model):
    """Schedule by which tables are copied to a destination.

    ``address``: encrypted, since it may contain a password; ``place``: the part that may be shown.
    ``chosen``: lists ``accounts``, ``connections``, ``tables`` and texts ``database``, ``grows``;
    empty means all. ``every``: minutes between the starts of two pulls; for days or weeks, they may
    start at minute ``at_minute`` of the day in ``zone``. ``leased_until`` keeps two workers from
    running it at the same time.
    """

    __tablename__ = "pull_schedule"
    visibility = NOBODY

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    name_folded: Mapped[str] = folded("name")
    address: Mapped[bytes] = mapped_column(deferred=True)
    place: Mapped[str] = mapped_column(Text)
    chosen: Mapped[dict[str, Any]] = mapped_column(JSON)
    every: Mapped[int]
    at_minute: Mapped[int | None]
    zone: Mapped[str] = mapped_column(String(60), default="UTC", server_default="UTC")
    full_every: Mapped[int]
    on: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = folded("place", "created_by")
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    # User who pressed "run now"; empty for a scheduled run.
    asked_by: Mapped[str] = mapped_column(Text, default="")


class PullRun(Model):
    """Run of a pull, committed before it starts. ``schedule_id``: None for the command line.

    ``state``: see ``pulls.service``. ``failures``: ``account_id``, ``table``, ``reason`` of each;
    ``remarks``: sentences on schema changes and on rows that may be missing. ``leased_until``: if
    it has expired on an open run, the process was killed.
    """

    __tablename__ = "pull_run"
    visibility = NOBODY
    __table_args__ = (
        Index("ix_pull_run_schedule", "schedule_id", "id"),
        Index("ix_pull_run_open", "ended_at", "leased_until"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    schedule_id: Mapped[int | None] = mapped_column(BigId)
    name: Mapped[str] = mapped_column(Text)
    name_folded: Mapped[str] = folded("name")
    place: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = folded("place", "who")
    audit_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_entry.id"))
    state: Mapped[str] = mapped_column(String(16))
    began_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    now: Mapped[str] = mapped_column(Text, default="")
    tables: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(BigId, default=0)
    failed: Mapped[int] = mapped_column(default=0)
    failures: Mapped[list[Any]] = mapped_column(JSON, default=list)
    remarks: Mapped[list[str]] = mapped_column(JSON, default=list)
    error: Mapped[str] = mapped_column(Text, default="")
    error_folded: Mapped[str] = folded("error")
