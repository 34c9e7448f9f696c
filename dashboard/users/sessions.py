"""Sessions: sign in and out, the time without use after which they end, and their list."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update

from dashboard.core.database import change, db
from dashboard.users.keys import Secret, hashed
from dashboard.users.limits import IDLE_TIMEOUT, LONGEST_SESSION
from dashboard.users.models import User, UserSession

# Conditions of an open session: not ended, and not timed out (parameters: ``session_limits``).
# Built once, since every request uses them.
IS_OPEN = (
    UserSession.ended_at.is_(None),
    UserSession.seen_at >= bindparam("used_since"),
    UserSession.started_at >= bindparam("begun_since"),
)
_BY_KEY = select(UserSession).where(UserSession.key_hash == bindparam("key_hash"), *IS_OPEN)


@dataclass(frozen=True)
class OpenSession:
    """A session that has not ended.

    ``browser``: a short name, empty if unknown. ``is_here``: it sent the current request.
    ``seen_at`` is up to one minute old, since not every request is recorded.
    """

    id: int
    browser: str
    started_at: datetime
    seen_at: datetime
    is_here: bool


def open_of(user: User, at: datetime, key: str = "") -> list[OpenSession]:
    """Return a user's open sessions, the last used first.

    ``key``: the key of the session that sent the request.
    """
    key_hash = hashed(key)
    mine = select(UserSession).where(UserSession.user_id == user.id, *IS_OPEN)
    found = db.session.scalars(
        mine.order_by(UserSession.seen_at.desc(), UserSession.id.desc()),
        session_limits(at),
    )
    return [
        OpenSession(row.id, row.browser, row.started_at, row.seen_at, row.key_hash == key_hash)
        for row in found
    ]


def end(user: User, session_id: int, at: datetime) -> bool:
    """End one of a user's sessions; False if the user has no such open session. Commits."""
    mine = update(UserSession).where(
        UserSession.id == session_id, UserSession.user_id == user.id, UserSession.ended_at.is_(None)
    )
    ended = change(mine.values(ended_at=at))
    db.session.commit()
    return bool(ended)


def sign_in(user: User, at: datetime, browser: str = "") -> Secret:
    """Start a session and return the key for the session cookie. Commits.

    ``browser``: a short name, shown to the user.
    """
    key = secrets.token_urlsafe(32)
    _record_use(user, at)
    db.session.add(
        UserSession(
            user_id=user.id, key_hash=hashed(key), started_at=at, seen_at=at, browser=browser[:80]
        )
    )
    db.session.commit()
    return Secret(key)


def signed_in(key: str, at: datetime, *, counts_as_use: bool) -> UserSession | None:
    """Return the open session of this key; None if it ended or its user is disabled.

    A session ends ``IDLE_TIMEOUT`` after its last use and ``LONGEST_SESSION`` after its start.
    Polls must pass ``counts_as_use=False``, since an open tab must not keep a session alive.
    Commits when it records the use, at most once a minute.
    """
    found = db.session.scalar(_BY_KEY, {"key_hash": hashed(key), **session_limits(at)})
    if found is None or found.user.disabled_at is not None:
        return None
    if counts_as_use and at - found.seen_at > timedelta(minutes=1):
        found.seen_at = at
        _record_use(found.user, at)
        db.session.commit()
    return found


def session_limits(at: datetime) -> dict[str, datetime]:
    """Return the parameters of ``IS_OPEN`` at this time."""
    return {"used_since": at - IDLE_TIMEOUT, "begun_since": at - LONGEST_SESSION}


def _record_use(user: User, at: datetime) -> None:
    """Record a use; after a pause of more than ``IDLE_TIMEOUT``, also when the last visit ended."""
    if user.seen_at is not None and at - user.seen_at > IDLE_TIMEOUT:
        user.left_at = user.seen_at
    user.seen_at = at


def sign_out(key: str, at: datetime) -> None:
    """End a session on the server, so that copies of its cookie are invalid. Commits."""
    db.session.execute(
        update(UserSession).where(UserSession.key_hash == hashed(key)).values(ended_at=at)
    )
    db.session.commit()


def end_all(user: User, at: datetime, *, except_key: str = "") -> None:
    """End a user's sessions, except the one of ``except_key``. Commits."""
    mine = update(UserSession).where(
        UserSession.user_id == user.id,
        UserSession.key_hash != hashed(except_key),
        UserSession.ended_at.is_(None),
    )
    db.session.execute(mine.values(ended_at=at))
    db.session.commit()
