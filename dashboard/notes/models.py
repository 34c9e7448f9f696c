"""Notes on accounts, connections and causes."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import Visibility
from dashboard.findings.models import BEYOND_VISIBLE
from dashboard.fleet.models import Connection


class Note(Model):
    """A note on an account, one of its connections, or a cause.

    Exactly one of ``account_id`` and ``cause_id`` is set.
    """

    __tablename__ = "note"
    visibility = Visibility(
        "note WHERE note.account_id IN ({ids}) OR (note.cause_id IS NOT NULL"
        " AND (note.who IN ({my_address}) OR NOT EXISTS ("
        f"{BEYOND_VISIBLE.format(cause='note.cause_id')})))"
    )
    __table_args__ = (
        Index("ix_note_account", "account_id", "at"),
        Index("ix_note_cause", "cause_id", "at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int | None] = mapped_column(BigId)
    connection_id: Mapped[int | None] = mapped_column(BigId)
    cause_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("cause.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)
    who: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)

    connection: Mapped[Connection | None] = relationship(
        lazy="raise",
        viewonly=True,
        primaryjoin="and_(foreign(Note.account_id) == Connection.account_id,"
        " foreign(Note.connection_id) == Connection.id)",
        uselist=False,
    )
