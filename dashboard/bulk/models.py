"""Models of bulk jobs and their items."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT, Visibility
from dashboard.core.search_text import folded


class BulkJob(Model):
    """One kind of action for many connections. States: see ``bulk.service``.

    ``cause_id``: the cause that the job is for, if any. ``canary_id``: the item that was tried
    last before the rest. ``went_on_by``: user who started the rest. ``at_once``: most items in
    flight. ``due_at``: time of the next step; ``leased_until``: until then no other worker steps.
    """

    __tablename__ = "bulk_job"
    visibility = Visibility(
        "bulk_job WHERE NOT EXISTS (SELECT 1 FROM bulk_item"
        " WHERE bulk_item.job_id = bulk_job.id AND bulk_item.account_id NOT IN ({ids}))"
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16), index=True)
    who: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, default="")
    words: Mapped[str] = folded("who", "why")
    cause_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("cause.id"))
    canary_id: Mapped[int | None] = mapped_column(BigId)
    went_on_by: Mapped[str | None] = mapped_column(Text)
    at_once: Mapped[int]
    audit_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_entry.id"))
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_by: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)


class BulkItem(Model):
    """One connection of a bulk job, with at most one action.

    ``action_id`` is set in the transaction that stores the action, before the API is called.
    """

    __tablename__ = "bulk_item"
    visibility = BY_ACCOUNT
    __table_args__ = (
        UniqueConstraint("job_id", "account_id", "connection_id"),
        Index("ix_bulk_item_state", "job_id", "state", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(BigId, ForeignKey("bulk_job.id"))
    account_id: Mapped[int] = mapped_column(BigId)
    connection_id: Mapped[int] = mapped_column(BigId)
    state: Mapped[str] = mapped_column(String(16))
    action_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("action.id"))
    detail: Mapped[str] = mapped_column(Text, default="")
    detail_folded: Mapped[str] = folded("detail")
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)
