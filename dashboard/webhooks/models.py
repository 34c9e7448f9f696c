"""Table of received webhook events."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT
from dashboard.core.search_text import folded


class WebhookEvent(Model):
    """Event of Peliqan, as received.

    ``key``: the event's id, or a hash of its body, so that a repeated event is stored once;
    ``times`` counts its receipts. ``state``: ``waiting``, ``done``, ``ignored`` (stored, nothing to
    do) or ``failed``. ``applied_at``: when its content was written to the snapshot; a waiting
    event that has it waits for its account to be read. ``due_at``: when to request that read again,
    after ``tries`` requests; None for all other events.
    """

    __tablename__ = "webhook_event"
    visibility = BY_ACCOUNT
    __table_args__ = (
        Index("ix_webhook_event_state", "state", "applied_at", "id"),
        Index("ix_webhook_event_connection", "account_id", "connection_id", "received_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    received_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    sent_at: Mapped[datetime | None] = mapped_column(UtcTime)
    event: Mapped[str] = mapped_column(String(64), default="")
    words: Mapped[str] = folded("event", "key", "status")
    account_id: Mapped[int | None] = mapped_column(BigId)
    connection_id: Mapped[int | None] = mapped_column(BigId)
    run_id: Mapped[int | None] = mapped_column(BigId)
    status: Mapped[str] = mapped_column(String(64), default="")
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    applied_at: Mapped[datetime | None] = mapped_column(UtcTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    tries: Mapped[int] = mapped_column(default=0)
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    detail: Mapped[str] = mapped_column(Text, default="")
    detail_folded: Mapped[str] = folded("detail")
    times: Mapped[int] = mapped_column(default=1)
