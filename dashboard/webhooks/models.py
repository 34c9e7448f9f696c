"""Events that were received."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT
from dashboard.core.search_text import folded


class WebhookEvent(Model):
    """One event of Peliqan's, as it came. ``key``: its id, or a hash of its body, so that it counts once however often it comes.

    ``state``: ``waiting``, ``done``, ``ignored`` (kept, but nothing to do with it) or ``failed``. ``times``: how often it came.
    ``applied_at``: what it says is in the snapshot since then; where it waits all the same, it is for its account to be read.
    ``due_at``: when to ask for that again, after so many ``tries``; None of all others.
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
