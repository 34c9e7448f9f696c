"""Searches for a value in a connection's tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT


class ValueSearch(Model):
    """A search for one value in all tables of a connection, and its progress.

    See ``tables.search.jobs``. ``value`` is encrypted. ``seconds``: working time so far.
    ``places``: the tables; None before they are listed. ``hits``: table, row and column of each,
    never a value.
    """

    __tablename__ = "value_search"
    visibility = BY_ACCOUNT
    __table_args__ = (Index("ix_value_search_mine", "who", "account_id", "connection_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    connection_id: Mapped[int] = mapped_column(BigId)
    who: Mapped[str] = mapped_column(Text)
    value: Mapped[bytes] = mapped_column(LargeBinary)
    asked_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    seconds: Mapped[float] = mapped_column(default=0.0)
    rows_read: Mapped[int] = mapped_column(BigId, default=0)
    places: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    hits: Mapped[list[Any]] = mapped_column(JSON, default=list)
    error: Mapped[str] = mapped_column(Text, default="")
