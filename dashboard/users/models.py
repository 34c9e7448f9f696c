"""People, and what they did."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.core.database import BigId, Model, UtcTime
from dashboard.core.email_addresses import canonical
from dashboard.core.row_access import EVERYONE
from dashboard.core.search_text import folded


class User(Model):
    """A person. ``role`` is viewer, operator or admin; a disabled one cannot sign in.

    ``left_at``: when their visit before this one ended. ``issuer``: the provider that vouches for them, None for local users;
    ``subject`` is its name for them. Such a person has no password: ``password_hash`` is empty. ``handed_to``: the provider that
    an administrator handed them over to; until they first sign in there, everything else stays as it was (``users.oidc_users``).
    ``limited``: they see no more than the customers that their ``Scope`` names. ``totp_secret``: encrypted, of who has a second
    factor; ``totp_step``: the latest step of time of which a code was taken. ``password_given``: somebody else chose their
    password, so that they must choose another.
    """

    __tablename__ = "user"
    visibility = EVERYONE
    __table_args__ = (
        Index("ix_user_provider", "issuer", "subject", unique=True),
        Index("ix_user_address", "address"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    # By which they are found. Not unique: addresses that are now one were two to versions that compared them letter by letter.
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
        """Whether they see some customers only. Administrators see all: they say who sees what."""
        return self.limited and self.role != "admin"


class RecoveryCode(Model):
    """What lets somebody in once in place of a code of their second factor. Shown once; only its hash is kept."""

    __tablename__ = "recovery_code"
    visibility = EVERYONE

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("user.id"), index=True)
    code_hash: Mapped[str] = mapped_column(String(64))
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)


class UserSession(Model):
    """One browser signed in. ``key_hash`` is of the random key in the session cookie; ``browser``: in a few words, where told."""

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
    """A personal access token for scripts. Shown once; only its hash is kept. ``start`` are its first characters."""

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
