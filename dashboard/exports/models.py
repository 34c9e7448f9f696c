"""Exports: files that workers make."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT


class Export(Model):
    """A whole table to be made a file of, and how far that is; states and their order: ``exports.service``.

    ``asked``: what the reading is given (search, order_by, filters, include); ``columns``: name, type and decimal places of
    each; ``hidden``: names of those that are masked; ``disclosed``: those that only a person who sees them may be given the file
    of, as ``peliqan.Column`` reads them. ``page`` and ``offset``: the last page that is in the file, and where the
    file ends after it; ``total``: rows as counted first; ``rate``: rows a second; ``counted``: what remarks will be made of.
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
        """How long it will take at its present rate; None before that can be told."""
        if not self.rate or self.total is None:
            return None
        return max(0, self.total - self.rows) / self.rate

    @property
    def name(self) -> str:
        """The file's name in the exports' folder."""
        return f"{self.id}.{self.suffix}"
