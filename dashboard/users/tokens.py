"""Personal access tokens: create, list and revoke them, and find their owner."""

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from dashboard.core.database import db
from dashboard.users.errors import PeopleError
from dashboard.users.keys import Secret, hashed
from dashboard.users.limits import MOST_TOKENS, TOKEN_PAUSES_AFTER
from dashboard.users.models import AccessToken, User

TOKEN_PREFIX: Final = "pc_"


def new_token(user: User, name: str, at: datetime) -> Secret:
    """Create a personal access token, to be shown once. Commits.

    Raises:
        PeopleError: the name is empty, or the user has ``MOST_TOKENS`` tokens.
    """
    if not name.strip():
        raise PeopleError("Give the token a name that says what uses it.")
    if len(tokens_of(user)) >= MOST_TOKENS:
        raise PeopleError(f"You have {MOST_TOKENS} tokens. Revoke one that is not used any more.")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    db.session.add(
        AccessToken(
            user_id=user.id,
            name=name.strip()[:80],
            start=token[:9],
            token_hash=hashed(token),
            created_at=at,
        )
    )
    db.session.commit()
    return Secret(token)


def tokens_of(user: User) -> list[AccessToken]:
    """Return a user's tokens that are not revoked, newest first."""
    mine = select(AccessToken).where(
        AccessToken.user_id == user.id, AccessToken.revoked_at.is_(None)
    )
    return list(db.session.scalars(mine.order_by(AccessToken.id.desc())))


def revoke_token(user: User, token_id: int, at: datetime) -> bool:
    """Revoke one of a user's tokens; False if the user has no such token. Commits."""
    token = next((token for token in tokens_of(user) if token.id == token_id), None)
    if token is not None:
        token.revoked_at = at
        db.session.commit()
    return token is not None


def owner_of_token(value: str, at: datetime) -> User | None:
    """Return the owner of a valid token; None if it is revoked or its owner is disabled.

    Records the use once a minute, with a commit. A provider's user must have signed in within
    ``TOKEN_PAUSES_AFTER``; otherwise the token is invalid until the next sign-in.
    """
    found = db.session.scalar(
        select(AccessToken).where(
            AccessToken.token_hash == hashed(value), AccessToken.revoked_at.is_(None)
        )
    )
    if found is None or found.user.disabled_at is not None:
        return None
    if found.user.issuer is not None and (
        found.user.seen_at is None or at - found.user.seen_at > TOKEN_PAUSES_AFTER
    ):
        return None
    if found.used_at is None or at - found.used_at > timedelta(minutes=1):
        found.used_at = at
        db.session.commit()
    return found.user
