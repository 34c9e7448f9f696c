"""What comes from Peliqan unasked, and what goes out to people."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import NOBODY
from dashboard.core.search_text import folded
from dashboard.fleet.models import Account


class AlertRule(Model):
    """Where to send what. ``address`` is Apprise's, encrypted, since most hold a secret; ``place`` is what may be shown of it.

    ``sends``: words of ``alerts.rules`` with spaces between. ``severity``: causes this grave or graver. ``connector``,
    ``account_id``: only these, where set. ``quiet_from``, ``quiet_to`` and ``digest_at``: minutes after midnight in ``zone``.
    """

    __tablename__ = "alert_rule"
    # No restricted user has a page of these.
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
    """One message, written down before it is sent. ``key`` says what it tells: one rule never tells the same twice.

    ``state``: ``waiting``, ``sent``, ``failed`` (given up), ``dropped`` (over before it could be told; ``error`` says why) or
    ``known`` (it was so already when the rule was made: nothing is sent). ``leased_until`` keeps two workers from sending it at
    once.
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
