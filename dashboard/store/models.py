"""The tables. Peliqan's ids are kept as they are; times are UTC; ``*_at`` says when, ``*_by`` says who.

Health is kept twice, on purpose: ``status`` as Peliqan says it, ``severity`` as the console sorts and counts it.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, ForeignKeyConstraint, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.peliqan import vocabulary
from dashboard.store.database import Model, UtcTime

BigId = BigInteger().with_variant(Integer, "sqlite")


class Account(Model):
    """A sub-account: one customer of the partner, as last seen.

    ``checked_at`` is the last time its connections were read; ``unreadable_reason`` why the last try failed, if it did.
    ``missing_at``: one complete listing came without it; a second one in a row sets ``gone_at``.
    """

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, default="")
    external_id: Mapped[str | None] = mapped_column(Text, index=True)
    token: Mapped[bytes | None] = mapped_column(deferred=True)
    first_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    checked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    tried_at: Mapped[datetime | None] = mapped_column(UtcTime)
    unreadable_reason: Mapped[str | None] = mapped_column(Text)
    missing_at: Mapped[datetime | None] = mapped_column(UtcTime)
    gone_at: Mapped[datetime | None] = mapped_column(UtcTime)

    connections: Mapped[list["Connection"]] = relationship(back_populates="account", lazy="raise")

    @property
    def readable(self) -> bool:
        """Whether the last try to read its connections went well."""
        return self.unreadable_reason is None

    @property
    def title(self) -> str:
        """Its name, or the best there is."""
        return self.name or self.external_id or f"Account {self.id}"


class Connection(Model):
    """A connection of an account, as last seen. ``run_interval`` in seconds."""

    __tablename__ = "connection"
    __table_args__ = (Index("ix_connection_severity_connector", "severity", "connector"),)

    account_id: Mapped[int] = mapped_column(BigId, ForeignKey("account.id"), primary_key=True)
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, default="")
    connector: Mapped[str] = mapped_column(Text, default="", index=True)
    status: Mapped[str] = mapped_column(Text, default="", index=True)
    severity: Mapped[str] = mapped_column(String(16), index=True)
    status_since: Mapped[datetime] = mapped_column(UtcTime)
    is_warehouse: Mapped[bool] = mapped_column(default=False)
    is_target: Mapped[bool] = mapped_column(default=False)
    target_id: Mapped[int | None] = mapped_column(BigId)
    run_interval: Mapped[int | None]
    scheduler_off: Mapped[bool] = mapped_column(default=False)
    auth_type: Mapped[str | None] = mapped_column(String(64))
    running: Mapped[bool] = mapped_column(default=False)
    last_run_status: Mapped[str | None] = mapped_column(String(64))
    last_run_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_success_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    last_error: Mapped[str | None] = mapped_column(Text)
    first_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    looked_at: Mapped[datetime] = mapped_column(UtcTime)
    runs_read_at: Mapped[datetime | None] = mapped_column(UtcTime)
    missing_at: Mapped[datetime | None] = mapped_column(UtcTime)
    gone_at: Mapped[datetime | None] = mapped_column(UtcTime)

    account: Mapped[Account] = relationship(back_populates="connections", lazy="raise")

    @property
    def title(self) -> str:
        """Its name, or the best there is."""
        return self.name or self.connector or f"Connection {self.id}"

    @property
    def checked_at(self) -> datetime:
        """When its state was last read: by itself or with its account (which writes nothing where nothing changed)."""
        return max(self.looked_at, self.account.checked_at or self.looked_at)

    @property
    def is_saltedge(self) -> bool:
        """Whether its bank can be asked to refresh."""
        return vocabulary.is_saltedge(self.connector)

    @property
    def may_sync(self) -> bool:
        """Whether a sync can be asked for: sources run pipelines, the warehouse that they load into does not."""
        return not self.is_warehouse and self.gone_at is None

    @property
    def may_reauthorise(self) -> bool:
        """OAuth where the API names the kind of authorisation, every source where it does not (assumption)."""
        if self.is_warehouse or self.is_target or self.gone_at is not None or self.is_saltedge:
            return False
        return self.auth_type is None or "oauth" in self.auth_type.lower()


class Run(Model):
    """One run of a connection, as last read. ``tables``: ``[{"name", "records"}]``."""

    __tablename__ = "run"
    __table_args__ = (ForeignKeyConstraint(["account_id", "connection_id"], ["connection.account_id", "connection.id"]),)

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
        """On the scale of a connection's severity."""
        return vocabulary.severity_of_run(self.status)

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs or where a time is missing."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class HealthChange(Model):
    """A connection's status became another one, as the console noticed at ``at``; ``was`` is None at first sight."""

    __tablename__ = "health_change"
    __table_args__ = (Index("ix_health_change_connection", "account_id", "connection_id", "at"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId)
    connection_id: Mapped[int] = mapped_column(BigId)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    was: Mapped[str | None] = mapped_column(Text)
    was_severity: Mapped[str | None] = mapped_column(String(16))
    became: Mapped[str] = mapped_column(Text)
    became_severity: Mapped[str] = mapped_column(String(16))


class Refresh(Model):
    """One pass over the fleet: how far it is, what could not be read. Open while ``ended_at`` is None.

    ``active`` is 1 while it runs and None afterwards: the unique column lets only one run at a time.
    """

    __tablename__ = "refresh"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    active: Mapped[int | None] = mapped_column(unique=True)
    started_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    alive_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    accounts: Mapped[int | None]
    done: Mapped[int] = mapped_column(default=0)
    unreadable: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)


class Action(Model):
    """Something an agent started at Peliqan, from the moment before it was tried to its end.

    ``in_flight`` is "account/connection/kind" until it is settled, then None: being unique, it lets one run at a time.
    ``due_at`` is when to look next; ``leased_until`` keeps two workers from looking at once.
    """

    __tablename__ = "action"
    __table_args__ = (Index("ix_action_connection", "account_id", "connection_id", "id"),)

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


class AuditEntry(Model):
    """Who did what, when, on which connection, with which result. ``what`` and ``result`` are words of ``store.audit``."""

    __tablename__ = "audit_entry"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    who: Mapped[str] = mapped_column(Text, index=True)
    what: Mapped[str] = mapped_column(String(64), index=True)
    result: Mapped[str] = mapped_column(String(32), index=True)
    account_id: Mapped[int | None] = mapped_column(BigId, index=True)
    connection_id: Mapped[int | None] = mapped_column(BigId)
    detail: Mapped[str] = mapped_column(Text, default="")
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)


class User(Model):
    """A person. ``role`` is viewer, operator or admin; a disabled one cannot sign in."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(Text, deferred=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcTime)


class SignIn(Model):
    """One browser signed in. ``key_hash`` is of the random key in the session cookie."""

    __tablename__ = "sign_in"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("user.id"), index=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)

    user: Mapped[User] = relationship(lazy="joined")


class AccessToken(Model):
    """A personal access token for scripts. Shown once; only its hash is kept. ``start`` are its first characters."""

    __tablename__ = "access_token"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("user.id"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    start: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)

    user: Mapped[User] = relationship(lazy="joined")
