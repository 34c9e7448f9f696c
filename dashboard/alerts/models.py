"""Tables of alert rules and of the messages that they send."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import NOBODY
from dashboard.core.search_text import folded
from dashboard.fleet.models import Account


class AlertRule(Model):
    """Rule that selects causes, with the address that messages go to.

    ``address``: Apprise's, encrypted, since most contain a secret; ``place``: the part of it that
    may be shown. ``sends``: keys of ``alerts.rules.SENDS``, separated by spaces. ``severity``: the
    lowest severity that is sent. ``connector``, ``account_id``: restrict the rule to these, where
    set. ``quiet_from``, ``quiet_to`` and ``digest_at``: minutes after midnight in ``zone``.
    """

    __tablename__ = "alert_rule"
    # Restricted users have no page of alert rules.
    visibility = NOBODY

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    name_folded: Mapped[str] = folded("name")
    address: Mapped[bytes] = mapped_column(deferred=True)
    place: Mapped[str] = mapped_column(Text)
    sends: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(String(16))
    connector: Mapped[str | None] = mapped_column(Text)
    account_id: Mapped[int | None] = mapped_column(BigId)
    quiet_from: Mapped[int | None]
    quiet_to: Mapped[int | None]
    digest_at: Mapped[int | None]
    zone: Mapped[str] = mapped_column(String(64), default="UTC")
    on: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = folded("place", "created_by")

    account: Mapped[Account | None] = relationship(
        lazy="raise",
        viewonly=True,
        primaryjoin="foreign(AlertRule.account_id) == Account.id",
        uselist=False,
    )


class AlertMessage(Model):
    """Message of a rule; the row is committed before the message is sent.

    ``key`` identifies the event: one rule sends one message an event. ``state``: ``waiting``,
    ``sent``, ``failed`` (given up), ``dropped`` (obsolete before it was sent; ``error`` gives the
    reason) or ``known`` (the event is older than the rule: nothing is sent). ``leased_until`` keeps
    two workers from sending it at the same time.
    """

    __tablename__ = "alert_message"
    visibility = NOBODY
    __table_args__ = (
        UniqueConstraint("rule_id", "key"),
        Index("ix_alert_message_due", "state", "due_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rule_id: Mapped[int] = mapped_column(BigId, ForeignKey("alert_rule.id"))
    key: Mapped[str] = mapped_column(String(128))
    cause_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("cause.id"))
    subject: Mapped[str] = mapped_column(Text)
    subject_folded: Mapped[str] = folded("subject")
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    tries: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcTime)
    error: Mapped[str] = mapped_column(Text, default="")
    error_folded: Mapped[str] = folded("error")

    rule: Mapped[AlertRule] = relationship(lazy="raise")
