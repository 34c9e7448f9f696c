"""What is kept about customers' tables; never a row of theirs."""

from datetime import datetime

from sqlalchemy import JSON, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT


class TableCheck(Model):
    """What somebody, or the worker, saw of a table: how many rows, and of a page of them what else can be told.

    ``says_received``: whether a column says when rows were received, None where only the rows were counted. ``page``: the page
    that was read, ``sampled`` how many rows that was, ``key`` the primary column, ``duplicates`` how many of the rows have a key
    that another has; ``empty_columns`` were so in all of them.
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
