"""Open sessions of a user: list them, and end one. ``users.service`` starts and finds them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from dashboard.core.database import change, db
from dashboard.users import service as users
from dashboard.users.models import User, UserSession


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
    here = users.hashed(key)
    mine = select(UserSession).where(UserSession.user_id == user.id, *users.IS_OPEN)
    found = db.session.scalars(
        mine.order_by(UserSession.seen_at.desc(), UserSession.id.desc()), users.session_limits(at)
    )
    return [
        OpenSession(row.id, row.browser, row.started_at, row.seen_at, row.key_hash == here)
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
