"""Exports: tables as files that a worker writes."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT


class Export(Model):
    """An export of a table to a file, and its progress. For its states, see ``exports.service``.

    ``asked``: the arguments of the read (search, order_by, filters, include). ``columns``: name,
    type and decimal places of each. ``hidden``: names of the masked columns. ``disclosed``: the
    columns that a user must see unmasked to get the file, as ``peliqan.Column`` reads them; None:
    only administrators get it. ``page`` and ``offset``: the last page in the file, and the file's
    length in bytes after it. ``total``: rows as first counted; ``rate``: rows a second.
    ``counted``: counters for the remarks.
    """

    __tablename__ = "export"
    visibility = BY_ACCOUNT
    __table_args__ = (Index("ix_export_who", "who", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    table_id: Mapped[int] = mapped_column(BigId)
    table_name: Mapped[str] = mapped_column(Text)
    suffix: Mapped[str] = mapped_column(String(16))
    asked: Mapped[dict[str, Any]] = mapped_column(JSON)
    columns: Mapped[list[Any]] = mapped_column(JSON)
    hidden: Mapped[list[str]] = mapped_column(JSON)
    disclosed: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    in_words: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(Text)
    audit_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_entry.id"))
    state: Mapped[str] = mapped_column(String(16))
    asked_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    noted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    page: Mapped[int] = mapped_column(BigId, default=0)
    offset: Mapped[int] = mapped_column(BigId, default=0)
    rows: Mapped[int] = mapped_column(BigId, default=0)
    total: Mapped[int | None] = mapped_column(BigId)
    rate: Mapped[float | None]
    counted: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)
    tries: Mapped[int] = mapped_column(default=0)
    size: Mapped[int | None] = mapped_column(BigId)
    error: Mapped[str] = mapped_column(Text, default="")
    remarks: Mapped[list[str]] = mapped_column(JSON, default=list)

    @property
    def seconds_left(self) -> float | None:
        """The estimated time left at the current rate; None if it is not known yet."""
        if not self.rate or self.total is None:
            return None
        return max(0, self.total - self.rows) / self.rate

    @property
    def name(self) -> str:
        """The file's name in the exports folder."""
        return f"{self.id}.{self.suffix}"
