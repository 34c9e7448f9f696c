"""Results of table checks; they never contain a row's values."""

from datetime import datetime

from sqlalchemy import JSON, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT


class TableCheck(Model):
    """The result of a check of a table: its row count, and figures of one of its pages.

    ``says_received``: whether a column says when rows were received; None if only the rows were
    counted. ``page``: number of the page that was read; ``sampled``: its number of rows; ``key``:
    the primary column; ``duplicates``: how many of these rows have a key that another one has;
    ``empty_columns``: the columns that were empty in all of them.
    """

    __tablename__ = "table_look"
    visibility = BY_ACCOUNT
    __table_args__ = (Index("ix_table_look_table", "account_id", "table_id", "at"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    table_id: Mapped[int] = mapped_column(BigId)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    rows: Mapped[int] = mapped_column(BigId)
    newest_received_at: Mapped[datetime | None] = mapped_column(UtcTime)
    says_received: Mapped[bool | None]
    page: Mapped[int | None] = mapped_column(BigId)
    sampled: Mapped[int | None]
    key: Mapped[str] = mapped_column(Text, default="")
    duplicates: Mapped[int | None]
    empty_columns: Mapped[list[str]] = mapped_column(JSON, default=list)
