"""What is under way: passes over the fleet, outages, jobs that come again and again, and what agents started."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT
from dashboard.core.search_text import folded
from dashboard.findings.rules.registry import BY_NAME
from dashboard.fleet.models import Account, Connection
from dashboard.peliqan.statuses import RunOutcome, meaning_of_run, outcome_of_run


class Action(Model):
    """Something an agent started at Peliqan, from the moment before it was tried to its end.

    ``in_flight`` is "account/connection/kind" until it is settled, then None: being unique, it lets one run at a time.
    ``due_at`` is when to look next; ``leased_until`` keeps two workers from looking at once.

    ``why``: a line of the person's. ``rule``, ``severity_before``, ``cause_id``: the worst that was wrong when it was started.
    ``status_after`` and ``verdict`` (words of ``actions.outcomes``): how it stood when it had settled. ``sent_at``, ``sent_by``,
    ``language``: its link went to the customer; ``reminded_at``: the customer was reminded; ``followed_at``: the customer was
    seen to follow it. An invite is for a connection that does not exist yet: its ``connection_id`` is 0.
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
        """Whether its run ended with a part of the data loaded."""
        return outcome_of_run(self.run_status) is RunOutcome.PARTIAL

    @property
    def run_meaning(self) -> str:
        """What the status of its run means, where that does not say it by itself."""
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
        primaryjoin="and_(foreign(Action.account_id) == Connection.account_id, foreign(Action.connection_id) == Connection.id)",
        uselist=False,
    )

    @property
    def rule_title(self) -> str:
        """What was wrong when it was started, in words; empty where nothing was."""
        if not self.rule:
            return ""
        return BY_NAME[self.rule].title if self.rule in BY_NAME else self.rule.replace("_", " ")
