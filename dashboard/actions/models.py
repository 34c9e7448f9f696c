"""The model of actions that users start."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT
from dashboard.core.search_text import folded
from dashboard.findings.rules.definitions import BY_NAME
from dashboard.fleet.models import Account, Connection
from dashboard.peliqan.statuses import RunOutcome, meaning_of_run, outcome_of_run


class Action(Model):
    """Something a user started at Peliqan. The row exists before the API is called.

    ``in_flight``: "account/connection/kind" until the action ends, then None. It is unique, so one
    action of a kind runs at a time. ``due_at``: time of the next poll; ``leased_until``: until then
    no other worker polls. ``looks`` and ``looked_at``: number of polls and time of the last.

    ``why``: a line of the user's. ``rule``, ``severity_before``, ``cause_id``: the worst finding at
    the start. ``status_after`` and ``verdict`` (see ``actions.outcomes``): state after the end.
    ``sent_at``, ``sent_by``, ``language``: the link went to the customer. ``reminded_at``: a
    reminder went out. ``followed_at``: the customer was seen to follow the link. An invite is for a
    connection that does not exist yet: its ``connection_id`` is 0.
    """

    __tablename__ = "action"
    visibility = BY_ACCOUNT
    __table_args__ = (
        Index("ix_action_connection", "account_id", "connection_id", "id"),
        Index("ix_action_learnt", "rule", "connector", "kind", "verdict"),
        Index("ix_action_settled_at", "settled_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    in_flight: Mapped[str | None] = mapped_column(String(128), unique=True)
    account_id: Mapped[int] = mapped_column(BigId)
    connection_id: Mapped[int] = mapped_column(BigId)
    audit_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_entry.id"))
    started_by: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    looked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    looks: Mapped[int] = mapped_column(default=0)
    contradictions: Mapped[int] = mapped_column(default=0)
    task_id: Mapped[str | None] = mapped_column(String(255))
    run_id: Mapped[int | None] = mapped_column(BigId)
    status_before: Mapped[str] = mapped_column(Text, default="")
    last_run_before: Mapped[int | None] = mapped_column(BigId)
    run_status: Mapped[str | None] = mapped_column(String(64))
    records: Mapped[int | None] = mapped_column(BigInteger)
    url: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text, default="")
    why: Mapped[str] = mapped_column(Text, default="")
    rule: Mapped[str | None] = mapped_column(String(32))
    connector: Mapped[str] = mapped_column(Text, default="")
    words: Mapped[str] = folded("connector", "started_by")
    reasons: Mapped[str] = folded("why", "detail")
    severity_before: Mapped[str | None] = mapped_column(String(16))
    cause_id: Mapped[int | None] = mapped_column(BigId)
    status_after: Mapped[str | None] = mapped_column(Text)
    verdict: Mapped[str | None] = mapped_column(String(16))
    sent_at: Mapped[datetime | None] = mapped_column(UtcTime)
    sent_by: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(String(8))
    reminded_at: Mapped[datetime | None] = mapped_column(UtcTime)
    followed_at: Mapped[datetime | None] = mapped_column(UtcTime)

    @property
    def is_partial(self) -> bool:
        """Whether its run loaded a part of the data."""
        return outcome_of_run(self.run_status) is RunOutcome.PARTIAL

    @property
    def run_meaning(self) -> str:
        """The meaning of its run's status; empty if the status is clear."""
        return meaning_of_run(self.run_status)

    account: Mapped[Account] = relationship(
        lazy="raise",
        viewonly=True,
        primaryjoin="foreign(Action.account_id) == Account.id",
        uselist=False,
    )
    connection: Mapped[Connection | None] = relationship(
        lazy="raise",
        viewonly=True,
        primaryjoin="and_(foreign(Action.account_id) == Connection.account_id,"
        " foreign(Action.connection_id) == Connection.id)",
        uselist=False,
    )

    @property
    def rule_title(self) -> str:
        """The title of the worst finding at the start; empty if there was none."""
        if not self.rule:
            return ""
        return BY_NAME[self.rule].title if self.rule in BY_NAME else self.rule.replace("_", " ")
