"""The table of the audit log."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import Visibility
from dashboard.core.search_text import folded


class AuditEntry(Model):
    """What a user did, when, on which connection, with which result.

    ``what`` and ``result``: codes of ``audit.service``. ``settled_at``: when the result was known.
    ``times``: how often it happened from ``at`` to ``settled_at``; rows with a ``group_key`` count
    repetitions.
    """

    __tablename__ = "audit_entry"
    visibility = Visibility(
        "audit_entry WHERE audit_entry.account_id IN ({ids})"
        " OR (audit_entry.account_id IS NULL AND audit_entry.who IN ({my_address}))"
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    who: Mapped[str] = mapped_column(Text, index=True)
    what: Mapped[str] = mapped_column(String(64), index=True)
    result: Mapped[str] = mapped_column(String(32), index=True)
    account_id: Mapped[int | None] = mapped_column(BigId, index=True)
    connection_id: Mapped[int | None] = mapped_column(BigId)
    detail: Mapped[str] = mapped_column(Text, default="")
    words: Mapped[str] = folded("who", "what", "detail")
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    times: Mapped[int] = mapped_column(default=1, server_default="1")
    group_key: Mapped[str | None] = mapped_column(String(80), index=True, unique=True)
