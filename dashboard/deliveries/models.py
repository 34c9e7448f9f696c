"""Table of deliveries to the data hook; it never contains a row of the delivered tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT
from dashboard.core.search_text import folded
from dashboard.fleet.models import Account, Connection


class Delivery(Model):
    """Delivery of a connection's tables, with its progress. States: see ``deliveries.service``.

    ``key``: "account/connection", so that repeated events start one delivery; a delivery requested
    by a user has a number after it. ``waits_since``: since when it waits for a completed run;
    ``looks``, ``looked_at``: number and time of the polls; ``run_id``: the completed run.
    ``tables``: None until listed. Each has ``id``, ``name``, the ``rows`` and ``parts`` that the
    hook accepted, ``count`` and ``repeated`` of ``tables.reader``, and ``whole`` once it is done.
    ``tries``: failed attempts in a row.
    """

    __tablename__ = "delivery"
    visibility = BY_ACCOUNT
    __table_args__ = (Index("ix_delivery_connection", "account_id", "connection_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    account_id: Mapped[int] = mapped_column(BigId)
    connection_id: Mapped[int] = mapped_column(BigId)
    who: Mapped[str] = mapped_column(Text)
    who_folded: Mapped[str] = folded("who")
    audit_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_entry.id"))
    state: Mapped[str] = mapped_column(String(16))
    asked_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    waits_since: Mapped[datetime] = mapped_column(UtcTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    looked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    looks: Mapped[int] = mapped_column(default=0)
    run_id: Mapped[int | None] = mapped_column(BigId)
    tables: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    rows: Mapped[int] = mapped_column(BigId, default=0)
    tries: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(Text, default="")
    error_folded: Mapped[str] = folded("error")
    remarks: Mapped[list[str]] = mapped_column(JSON, default=list)

    account: Mapped[Account | None] = relationship(
        lazy="raise",
        viewonly=True,
        primaryjoin="foreign(Delivery.account_id) == Account.id",
        uselist=False,
    )
    connection: Mapped[Connection | None] = relationship(
        lazy="raise",
        viewonly=True,
        primaryjoin="and_(foreign(Delivery.account_id) == Connection.account_id,"
        " foreign(Delivery.connection_id) == Connection.id)",
        uselist=False,
    )

    @property
    def may_be_sent(self) -> bool:
        """Return whether it ended without success, so that a user can resume it."""
        return self.state in ("dead", "cancelled")

    @property
    def is_open(self) -> bool:
        """Return whether it has not ended."""
        return self.settled_at is None

    @property
    def parts(self) -> int:
        """Return how many parts the hook has accepted."""
        return sum(each["parts"] for each in self.tables or ())
