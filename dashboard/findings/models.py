"""Models of findings, causes and what their evaluation needs."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, Float, ForeignKey, Index, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT, EVERYONE, Visibility
from dashboard.core.search_text import folded
from dashboard.findings.rules.definitions import BY_NAME, FINDING_SEVERITIES
from dashboard.fleet.models import Account, Connection

NEW, OPEN, UNCHECKED, SUPPRESSED, RECOVERED = "new", "open", "unchecked", "suppressed", "recovered"
# The order in which lists sort: what needs attention first.
STATES = (NEW, OPEN, UNCHECKED, SUPPRESSED, RECOVERED)
CAUSE_STATES = (NEW, OPEN, SUPPRESSED, RECOVERED)
# At most one finding of a rule and a connection has not recovered.
_NOT_RECOVERED = text("recovered_at IS NULL")
_CONTRADICTS = text("contradicts = 1"), text("contradicts")
_DARK = text("rule = 'dark' AND recovered_at IS NULL")


class SeverityStateMixin(Model):
    """Columns that findings and causes share: severity, state and suppression."""

    __abstract__ = True

    rule: Mapped[str] = mapped_column(String(32))
    connector: Mapped[str] = mapped_column(Text, default="")
    connector_folded: Mapped[str] = folded("connector")
    severity: Mapped[str] = mapped_column(String(16))
    severity_rank: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(String(16))
    state_rank: Mapped[int] = mapped_column(SmallInteger)
    recovered_at: Mapped[datetime | None] = mapped_column(UtcTime)
    suppressed_until: Mapped[datetime | None] = mapped_column(UtcTime)
    suppressed_by: Mapped[str | None] = mapped_column(Text)
    suppressed_reason: Mapped[str | None] = mapped_column(Text)

    @validates("state")
    def _rank_state(self, _key: str, state: str) -> str:
        self.state_rank = STATES.index(state)
        return state

    @validates("severity")
    def _rank_severity(self, _key: str, severity: str) -> str:
        self.severity_rank = FINDING_SEVERITIES.index(severity)
        return severity

    @property
    def title(self) -> str:
        """The rule's title."""
        return BY_NAME[self.rule].title if self.rule in BY_NAME else self.rule.replace("_", " ")


# SQL: a finding of the cause in an account that the user may not see.
BEYOND_VISIBLE: Final = (
    "SELECT 1 FROM finding WHERE finding.cause_id = {cause} AND finding.account_id NOT IN ({{ids}})"
)
_IF_NONE: Final = "CASE WHEN mine.accounts = 0 THEN {then} ELSE {otherwise} END"
# SQL: a cause as if only visible accounts existed. Free text is hidden if it may name others.
_OF_VISIBLE: Final = Visibility(
    "cause JOIN (SELECT finding.cause_id, max(finding.id) AS newest,"
    " count(CASE WHEN finding.recovered_at IS NULL THEN finding.connection_id END)"
    " AS connections,"
    " count(DISTINCT CASE WHEN finding.recovered_at IS NULL THEN finding.account_id END)"
    " AS accounts,"
    " min(CASE WHEN finding.recovered_at IS NULL THEN finding.first_seen_at END) AS since,"
    " max(finding.recovered_at) AS recovered_at"
    " FROM finding WHERE finding.account_id IN ({ids}) GROUP BY finding.cause_id)"
    " AS mine ON mine.cause_id = cause.id",
    {
        "connections": "mine.connections",
        "accounts": "mine.accounts",
        "most": "mine.connections",
        "since": "coalesce(mine.since, cause.since)",
        "state": _IF_NONE.format(then=f"'{RECOVERED}'", otherwise="cause.state"),
        "state_rank": _IF_NONE.format(then=STATES.index(RECOVERED), otherwise="cause.state_rank"),
        "recovered_at": _IF_NONE.format(
            then="coalesce(cause.recovered_at, mine.recovered_at)", otherwise="cause.recovered_at"
        ),
        "example": "(SELECT finding.evidence FROM finding WHERE finding.id = mine.newest)",
        "example_folded": (
            "(SELECT finding.evidence_folded FROM finding WHERE finding.id = mine.newest)"
        ),
        "suppressed_reason": (
            f"CASE WHEN EXISTS ({BEYOND_VISIBLE.format(cause='cause.id')})"
            " THEN '' ELSE cause.suppressed_reason END"
        ),
    },
)


class Cause(SeverityStateMixin):
    """A group of similar findings: one rule, one connector, one error text.

    ``key``: hash of these three. ``text``: the normalised error; ``example``: an original one.
    ``connections`` and ``accounts``: open now; ``most``: the most connections of this episode.
    ``since``: start of this episode; ``times``: number of episodes. ``platform``: many
    connections went dark in the same hour, so the fault is on Peliqan's side.
    """

    __tablename__ = "cause"
    visibility = _OF_VISIBLE
    __table_args__ = (
        Index("ix_cause_worst", "state_rank", "severity_rank", "accounts", "id"),
        Index("ix_cause_kind", "rule", "connector"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    text: Mapped[str] = mapped_column(Text, default="")
    since: Mapped[datetime] = mapped_column(UtcTime)
    platform: Mapped[bool] = mapped_column(default=False)
    connections: Mapped[int] = mapped_column(default=0)
    accounts: Mapped[int] = mapped_column(default=0)
    most: Mapped[int] = mapped_column(default=0)
    times: Mapped[int] = mapped_column(default=1)
    example: Mapped[str] = mapped_column(Text, default="")
    text_folded: Mapped[str] = folded("text")
    example_folded: Mapped[str] = folded("example")
    owner: Mapped[str | None] = mapped_column(Text)
    owned_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Finding(SeverityStateMixin):
    """What a rule found in a connection, from first seen to recovered.

    ``connection_id``: None for a finding of the account itself. ``evidence``: a sentence with
    figures, true at ``confirmed_at``. ``missing_since``: hour of the first run that was due and
    brought no data. ``contradicts``: Peliqan's own status says that the connection is healthy.
    """

    __tablename__ = "finding"
    visibility = BY_ACCOUNT
    __table_args__ = (
        Index(
            "ix_finding_unsettled",
            "account_id",
            "connection_id",
            sqlite_where=_NOT_RECOVERED,
            postgresql_where=_NOT_RECOVERED,
        ),
        Index("ix_finding_connection", "account_id", "connection_id", "first_seen_at"),
        Index("ix_finding_cause", "cause_id", "recovered_at", "first_seen_at"),
        Index("ix_finding_worst", "state_rank", "severity_rank", "first_seen_at", "id"),
        Index("ix_finding_recovered", "recovered_at"),
        Index(
            "ix_finding_contradicts",
            "recovered_at",
            "severity_rank",
            "first_seen_at",
            "id",
            sqlite_where=_CONTRADICTS[0],
            postgresql_where=_CONTRADICTS[1],
        ),
        Index(
            "ix_finding_dark",
            "connector",
            "missing_since",
            sqlite_where=_DARK,
            postgresql_where=_DARK,
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId, ForeignKey("account.id"))
    connection_id: Mapped[int | None] = mapped_column(BigId)
    cause_id: Mapped[int] = mapped_column(BigId, ForeignKey("cause.id"))
    evidence: Mapped[str] = mapped_column(Text)
    evidence_folded: Mapped[str] = folded("evidence")
    contradicts: Mapped[bool] = mapped_column(default=False)
    missing_since: Mapped[datetime | None] = mapped_column(UtcTime)
    first_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    confirmed_at: Mapped[datetime] = mapped_column(UtcTime)

    cause: Mapped[Cause] = relationship(lazy="raise")
    account: Mapped[Account] = relationship(lazy="raise")
    connection: Mapped[Connection | None] = relationship(
        lazy="raise",
        viewonly=True,
        primaryjoin="and_(foreign(Finding.account_id) == Connection.account_id,"
        " foreign(Finding.connection_id) == Connection.id)",
        uselist=False,
    )


class ConnectorMedian(Model):
    """Median seconds of a connector's runs: the latest successful run of each connection."""

    __tablename__ = "connector_median"
    visibility = EVERYONE

    connector: Mapped[str] = mapped_column(Text, primary_key=True)
    seconds: Mapped[float] = mapped_column(Float)


class DataCheck(Model):
    """The latest check of a connection's data. Scheduling: ``tables.data_checks.service``.

    ``warehouse``: its name at Peliqan; ``schema_name``: the counted schema. ``tables``: one
    ``CountedTable`` each, as objects; ``more_tables``: number of tables that were left out.
    """

    __tablename__ = "data_check"
    visibility = BY_ACCOUNT

    account_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    connection_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    warehouse: Mapped[str] = mapped_column(Text)
    schema_name: Mapped[str] = mapped_column(Text)
    tables: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    more_tables: Mapped[int] = mapped_column(default=0)
    checked_at: Mapped[datetime] = mapped_column(UtcTime)
    watched_until: Mapped[datetime] = mapped_column(UtcTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
