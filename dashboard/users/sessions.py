"""A person's open sessions: listed and ended, by themselves and by administrators. ``people`` begins them and looks them up."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from dashboard.core.database import change, db
from dashboard.users import service as users
from dashboard.users.models import User, UserSession


@dataclass(frozen=True)
class OpenSession:
    """One browser that is signed in. ``browser``: in a few words, empty where it was not told; ``is_here``: the one that asks.

    ``seen_at`` is up to a minute late: not every request is noted.
    """

    id: int
    browser: str
    started_at: datetime
    seen_at: datetime
    is_here: bool


def open_of(user: User, at: datetime, key: str = "") -> list[OpenSession]:
    """A person's sessions that have not ended, the one last seen first. ``key``: that of the session that asks."""
    here = users.hashed(key)
    mine = select(UserSession).where(UserSession.user_id == user.id, *users.LASTING)
    found = db.session.scalars(
        mine.order_by(UserSession.seen_at.desc(), UserSession.id.desc()), users.limits(at)
    )
    return [
        OpenSession(row.id, row.browser, row.started_at, row.seen_at, row.key_hash == here)
        for row in found
    ]


def end(user: User, session_id: int, at: datetime) -> bool:
    """End one of a person's sessions; False where they have no such. Commits."""
    mine = update(UserSession).where(
        UserSession.id == session_id, UserSession.user_id == user.id, UserSession.ended_at.is_(None)
    )
    ended = change(mine.values(ended_at=at))
    db.session.commit()
    return bool(ended)
