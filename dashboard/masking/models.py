"""Models of masking: decisions on columns, and reveals."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT


class ColumnMask(Model):
    """An administrator's decision on a column (by name), which overrides the rules."""

    __tablename__ = "column_mask"
    visibility = BY_ACCOUNT

    table_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    column: Mapped[str] = mapped_column(String(300), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId, index=True)
    masked: Mapped[bool]
    who: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class Reveal(Model):
    """A user's access to a table's masked columns until a time, with the reason."""

    __tablename__ = "reveal"
    visibility = BY_ACCOUNT
    __table_args__ = (Index("ix_reveal_who", "user_id", "account_id", "table_id", "until"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId)
    account_id: Mapped[int] = mapped_column(BigId)
    table_id: Mapped[int] = mapped_column(BigId)
    why: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)
    until: Mapped[datetime] = mapped_column(UtcTime)
