"""People, and what they did."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.store.database import BigId, Model, UtcTime


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
    """A person. ``role`` is viewer, operator or admin; a disabled one cannot sign in.

    ``left_at``: when their visit before this one ended.
    """

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(Text, deferred=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcTime)
    left_at: Mapped[datetime | None] = mapped_column(UtcTime)
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
