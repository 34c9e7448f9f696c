"""Tables of users, their sessions, recovery codes and access tokens."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.email_addresses import canonical
from dashboard.core.row_access import EVERYONE
from dashboard.core.search_text import folded


class User(Model):
    """A user of the console.

    ``role``: viewer, operator or admin. ``disabled_at``: a disabled user cannot sign in.
    ``left_at``: when the visit before the current one ended. ``limited``: the user sees only the
    customers of their ``AccountAccessRule`` rows.

    ``issuer``: the identity provider that authenticates the user, None for local users.
    ``subject``: the provider's identifier of the user. ``password_hash`` is empty for these users.
    ``handed_to``: the provider that an administrator assigned the user to; local sign-in works
    until the user first signs in there (``users.oidc_users``).

    ``totp_secret``: encrypted, None without a second factor. ``totp_step``: time step of the
    latest accepted code. ``password_given``: an administrator chose the password, so the user must
    choose another.
    """

    __tablename__ = "user"
    visibility = EVERYONE
    __table_args__ = (
        Index("ix_user_provider", "issuer", "subject", unique=True),
        Index("ix_user_address", "address"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    # The lookup key. Not unique: earlier versions compared addresses letter by letter, so two
    # users may have one canonical form.
    address: Mapped[str] = folded("email", fold=canonical)
    email_folded: Mapped[str] = folded("email")
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(Text, deferred=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcTime)
    left_at: Mapped[datetime | None] = mapped_column(UtcTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    issuer: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    handed_to: Mapped[str | None] = mapped_column(Text)
    limited: Mapped[bool] = mapped_column(default=False)
    totp_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_step: Mapped[int | None] = mapped_column(BigInteger)
    password_given: Mapped[bool] = mapped_column(default=False)

    @property
    def sees_some(self) -> bool:
        """Return whether only some customers are visible. Administrators see all customers."""
        return self.limited and self.role != "admin"


class RecoveryCode(Model):
    """A single-use replacement for a second-factor code. Shown once; only its hash is stored."""

    __tablename__ = "recovery_code"
    visibility = EVERYONE

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("user.id"), index=True)
    code_hash: Mapped[str] = mapped_column(String(64))
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)


class UserSession(Model):
    """A session of a user in one browser.

    ``key_hash``: SHA-256 of the random key in the session cookie. ``browser``: a short name,
    empty if unknown.
    """

    __tablename__ = "sign_in"
    visibility = EVERYONE

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("user.id"), index=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    browser: Mapped[str] = mapped_column(String(80), default="")

    user: Mapped[User] = relationship(lazy="joined")


class AccessToken(Model):
    """A personal access token for scripts. Shown once; only its hash is stored.

    ``start``: its first characters, by which the owner recognises it.
    """

    __tablename__ = "access_token"
    visibility = EVERYONE

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("user.id"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    start: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)

    user: Mapped[User] = relationship(lazy="joined")
