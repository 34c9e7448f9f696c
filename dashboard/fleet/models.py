"""The fleet as last read.

Health has two columns: ``status`` is Peliqan's word, ``severity`` is what the console sorts and
counts by.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.row_access import BY_ACCOUNT, NOBODY, Visibility
from dashboard.core.search_text import folded
from dashboard.peliqan import statuses

# Account id and connection id: the key of a connection.
ConnectionKey = tuple[int, int]
# Severities from worst to best, as lists sort them; ``severity_rank`` is the index in this tuple.
SEVERITIES = tuple(severity.value for severity in statuses.Severity)
NO_RANK = len(SEVERITIES)
# What lists show. A partial index is smaller, and can count without reading the rows.
SHOWN_SQLITE, SHOWN_POSTGRESQL = (
    text("gone_at IS NULL AND is_warehouse IS 0"),
    text("gone_at IS NULL AND is_warehouse IS false"),
)


def _list_index(name: str, *columns: Any) -> Index:
    return Index(
        f"ix_connection_{name}",
        *columns,
        "account_id",
        "id",
        sqlite_where=SHOWN_SQLITE,
        postgresql_where=SHOWN_POSTGRESQL,
    )


class Account(Model):
    """A sub-account: one customer of the partner, as last read.

    ``unreadable_reason``: why the last try to read its connections failed; None if it succeeded.
    ``missing_at``: set when one complete listing omits the account. ``gone_at``: set when a second
    listing in a row omits it. ``owner``: the assigned user, since ``owned_at``.
    ``by_severity``, ``connections_count``, ``severity`` (the worst) and ``search`` are computed
    from its connections.
    """

    __tablename__ = "account"
    visibility = Visibility("account WHERE account.id IN ({ids})")
    __table_args__ = (
        Index("ix_account_severity", "severity_rank", "name_folded", "id"),
        Index("ix_account_name", "name_folded", "id"),
        Index("ix_account_connections", "connections_count", "name_folded", "id"),
        Index("ix_account_external_id_folded", "external_id_folded", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, default="")
    external_id: Mapped[str | None] = mapped_column(Text, index=True)
    name_folded: Mapped[str] = folded("name")
    external_id_folded: Mapped[str] = folded("external_id")
    token: Mapped[bytes | None] = mapped_column(deferred=True)
    first_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    unreadable_reason: Mapped[str | None] = mapped_column(Text)
    missing_at: Mapped[datetime | None] = mapped_column(UtcTime)
    gone_at: Mapped[datetime | None] = mapped_column(UtcTime)
    by_severity: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)
    connections_count: Mapped[int] = mapped_column(default=0)
    severity: Mapped[str | None] = mapped_column(String(16))
    severity_rank: Mapped[int] = mapped_column(SmallInteger, default=NO_RANK)
    search: Mapped[str] = mapped_column(Text, default="", deferred=True)
    owner: Mapped[str | None] = mapped_column(Text)
    owned_at: Mapped[datetime | None] = mapped_column(UtcTime)

    connections: Mapped[list["Connection"]] = relationship(back_populates="account", lazy="raise")
    check: Mapped["AccountRefreshState"] = relationship(
        back_populates="account", lazy="joined", innerjoin=True
    )

    @property
    def checked_at(self) -> datetime | None:
        """When its connections were last read."""
        return self.check.checked_at

    @property
    def readable(self) -> bool:
        """Whether the last try to read its connections succeeded."""
        return self.unreadable_reason is None

    @property
    def title(self) -> str:
        """Its name, or else its external id or id."""
        return self.name or self.external_id or f"Account {self.id}"


class AccountRefreshState(Model):
    """When an account's connections were read, and when to read them next.

    A table of its own, since it changes at each read. ``tried_at``: the last try; ``checked_at``:
    the last successful one. ``due_at``: None while the account is not listed. A worker that leases
    an account moves ``due_at`` 30 seconds forward, so the lease of a dead worker expires.
    ``watched_until``: until then the account is read more often, since a user opened its page.
    """

    __tablename__ = "account_check"
    visibility = BY_ACCOUNT
    __table_args__ = (Index("ix_account_check_checked_at", "checked_at", "account_id"),)

    account_id: Mapped[int] = mapped_column(BigId, ForeignKey("account.id"), primary_key=True)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    tried_at: Mapped[datetime | None] = mapped_column(UtcTime)
    checked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    watched_until: Mapped[datetime | None] = mapped_column(UtcTime)

    account: Mapped[Account] = relationship(back_populates="check")


class Connection(Model):
    """A connection of an account, as last read. ``run_interval`` in seconds.

    ``schema_name``: the warehouse's schema that it loads into; empty if unknown.
    ``looking_until``: the lease of a process that reads its live state; others show stored data.
    ``last_success_at``: of the latest run that wrote data, all or a part.
    ``last_records`` (None unless it succeeded) and ``last_exit_code``: of the latest completed run.
    ``always_loaded``: the runs before that one, three or more, all loaded records.
    ``last_run_seconds``: duration of the latest successful run. ``newest_row_at``: time of the
    newest row in its tables, as read at ``rows_read_at``. ``event_at``: when Peliqan last sent an
    event about it.
    """

    __tablename__ = "connection"
    visibility = BY_ACCOUNT
    # One for each sort order and filter; an order and its reverse share one.
    __table_args__ = (
        _list_index("severity", "severity_rank", text("status_since DESC")),
        _list_index("status_severity", "status", "severity_rank", text("status_since DESC")),
        _list_index("connector_severity", "connector", "severity_rank", text("status_since DESC")),
        _list_index("name", "name_folded"),
        _list_index("connector", "connector_folded"),
        # In PostgreSQL with the collation C, as the list sorts.
        _list_index("status", "status"),
        _list_index("last_success", "last_success_at"),
        _list_index("since", "status_since"),
    )

    account_id: Mapped[int] = mapped_column(BigId, ForeignKey("account.id"), primary_key=True)
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, default="")
    connector: Mapped[str] = mapped_column(Text, default="")
    name_folded: Mapped[str] = folded("name")
    connector_folded: Mapped[str] = folded("connector")
    status: Mapped[str] = mapped_column(Text, default="")
    severity: Mapped[str] = mapped_column(String(16))
    severity_rank: Mapped[int] = mapped_column(SmallInteger)
    status_since: Mapped[datetime] = mapped_column(UtcTime)
    is_warehouse: Mapped[bool] = mapped_column(default=False)
    is_target: Mapped[bool] = mapped_column(default=False)
    target_id: Mapped[int | None] = mapped_column(BigId)
    schema_name: Mapped[str] = mapped_column(Text, default="")
    run_interval: Mapped[int | None]
    scheduler_off: Mapped[bool] = mapped_column(default=False)
    auth_type: Mapped[str | None] = mapped_column(String(64))
    running: Mapped[bool] = mapped_column(default=False)
    last_run_status: Mapped[str | None] = mapped_column(String(64))
    last_run_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_success_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_error: Mapped[str | None] = mapped_column(Text)
    first_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    looked_at: Mapped[datetime] = mapped_column(UtcTime)
    looking_until: Mapped[datetime | None] = mapped_column(UtcTime)
    runs_read_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_records: Mapped[int | None] = mapped_column(BigInteger)
    last_exit_code: Mapped[int | None]
    last_run_seconds: Mapped[int | None]
    always_loaded: Mapped[bool] = mapped_column(default=False)
    consent_expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    newest_row_at: Mapped[datetime | None] = mapped_column(UtcTime)
    rows_read_at: Mapped[datetime | None] = mapped_column(UtcTime)
    event_at: Mapped[datetime | None] = mapped_column(UtcTime)
    missing_at: Mapped[datetime | None] = mapped_column(UtcTime)
    gone_at: Mapped[datetime | None] = mapped_column(UtcTime)

    account: Mapped[Account] = relationship(back_populates="connections", lazy="raise")

    @validates("severity")
    def _rank(self, _key: str, severity: str) -> str:
        self.severity_rank = SEVERITIES.index(severity)
        return severity

    @property
    def title(self) -> str:
        """Its name, or else its connector or id."""
        return self.name or self.connector or f"Connection {self.id}"

    @property
    def checked_at(self) -> datetime:
        """When its state was last read: alone, or with its account.

        A read with the account writes nothing to the connection if nothing changed.
        """
        return max(self.looked_at, self.account.checked_at or self.looked_at)

    @property
    def interval(self) -> int:
        """Seconds between two runs; an assumed value if the API has none."""
        return self.run_interval or statuses.ASSUMED_INTERVAL

    @property
    def is_saltedge(self) -> bool:
        """Whether its bank can be refreshed."""
        return statuses.is_saltedge(self.connector)

    @property
    def may_sync(self) -> bool:
        """Whether it can be synced: sources can, their warehouse cannot."""
        return not self.is_warehouse and self.gone_at is None

    @property
    def may_reauthorise(self) -> bool:
        """Whether to offer reauthorisation: OAuth, and sources of unknown type (assumption)."""
        if self.is_warehouse or self.is_target or self.gone_at is not None or self.is_saltedge:
            return False
        return statuses.is_oauth(self.auth_type)


class Run(Model):
    """One run of a connection, as last read. ``tables``: ``[{"name", "records"}]``."""

    __tablename__ = "run"
    visibility = BY_ACCOUNT
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "connection_id"], ["connection.account_id", "connection.id"]
        ),
    )

    account_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    connection_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(String(64), default="")
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    records: Mapped[int | None] = mapped_column(BigInteger)
    tables: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    error: Mapped[str] = mapped_column(Text, default="")
    source_exit_code: Mapped[int | None]

    @property
    def severity(self) -> str:
        """The severity of its status, on the scale of connections."""
        return statuses.severity_of_run(self.status)

    @property
    def meaning(self) -> str:
        """What its status means, for example which side failed; empty if the status is clear."""
        return statuses.meaning_of_run(self.status)

    @property
    def seconds(self) -> float | None:
        """Its duration; None while it runs or if a time is missing."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class HealthChange(Model):
    """A change of a connection's status, noticed at ``at``; ``was`` is None at first."""

    __tablename__ = "health_change"
    visibility = BY_ACCOUNT
    __table_args__ = (
        Index("ix_health_change_connection", "account_id", "connection_id", "at"),
        # New connections are not changes, and there are as many of them as connections.
        Index(
            "ix_health_change_news",
            "at",
            sqlite_where=text("was IS NOT NULL"),
            postgresql_where=text("was IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    connection_id: Mapped[int] = mapped_column(BigId)
    at: Mapped[datetime] = mapped_column(UtcTime)
    was: Mapped[str | None] = mapped_column(Text)
    was_severity: Mapped[str | None] = mapped_column(String(16))
    became: Mapped[str] = mapped_column(Text)
    became_severity: Mapped[str] = mapped_column(String(16))


class ConnectionCount(Model):
    """The number of listed connections by each combination of filters (``fleet.counters``)."""

    __tablename__ = "connection_count"
    visibility = Visibility(
        "connection WHERE connection.gone_at IS NULL AND NOT connection.is_warehouse"
        " AND connection.account_id IN ({ids})"
        " GROUP BY connection.severity, connection.status, connection.connector",
        {
            "severity": "connection.severity",
            "status": "connection.status",
            "connector": "connection.connector",
            "connections": "count(*)",
        },
    )

    severity: Mapped[str] = mapped_column(String(16), primary_key=True)
    status: Mapped[str] = mapped_column(Text, primary_key=True)
    connector: Mapped[str] = mapped_column(Text, primary_key=True)
    connections: Mapped[int] = mapped_column(BigInteger)


class HourlyConnectionCount(Model):
    """The last count of connections of a severity in an hour, which ``hour`` starts (UTC)."""

    __tablename__ = "fleet_hour"
    visibility = NOBODY

    hour: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    severity: Mapped[str] = mapped_column(String(16), primary_key=True)
    connections: Mapped[int] = mapped_column(BigInteger)


class MonitoredTable(Model):
    """A table whose rows are counted each day, since a user opened it in the last week.

    ``tables.health.service`` has the order and the states. ``connection_id``: the connection that
    loads it, guessed from its name. While rows are missing, ``rows_before`` is the number at
    ``before_at``, and ``dropped_at`` is when the drop was noticed.
    """

    __tablename__ = "watched_table"
    visibility = BY_ACCOUNT

    account_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    table_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    connection_id: Mapped[int | None] = mapped_column(BigId)
    name: Mapped[str] = mapped_column(Text)
    watched_until: Mapped[datetime] = mapped_column(UtcTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    rows: Mapped[int] = mapped_column(BigId)
    rows_at: Mapped[datetime] = mapped_column(UtcTime)
    rows_before: Mapped[int | None] = mapped_column(BigId)
    before_at: Mapped[datetime | None] = mapped_column(UtcTime)
    dropped_at: Mapped[datetime | None] = mapped_column(UtcTime)
