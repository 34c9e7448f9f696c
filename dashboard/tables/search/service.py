"""Searches for one value: who asked, where, how far each is. The value is kept encrypted, and for a day."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select, update

from dashboard.audit import service as audit
from dashboard.core.database import change, db, is_free
from dashboard.fleet.models import Connection
from dashboard.tables.search.models import ValueSearch

KEPT: Final = timedelta(days=1)
# Longer than a turn takes, unless Peliqan is very slow.
LEASE: Final = timedelta(seconds=60)


def begin(who: str, connection: Connection, value: bytes, at: datetime) -> ValueSearch:
    """Write down that somebody searches a connection's tables; the audit trail says so without the value. Commits."""
    place = {"account_id": connection.account_id, "connection_id": connection.id}
    audit.record(
        at,
        who,
        "search",
        audit.DONE,
        **place,
        detail="Searched for one value in the connection's tables.",
    )
    search = ValueSearch(who=who, value=value, asked_at=at, **place)
    db.session.add(search)
    db.session.commit()
    return search


def latest_of(who: str, connection: Connection, most: int = 10) -> list[ValueSearch]:
    """A person's searches in a connection, the latest first."""
    mine = select(ValueSearch).where(
        ValueSearch.who == who,
        ValueSearch.account_id == connection.account_id,
        ValueSearch.connection_id == connection.id,
    )
    return list(db.session.scalars(mine.order_by(ValueSearch.id.desc()).limit(most)))


def search_or_none(search_id: int) -> ValueSearch | None:
    """One search."""
    return db.session.get(ValueSearch, search_id)


def lease(search: ValueSearch, at: datetime) -> bool:
    """Whether it is ours to go on with: it has not ended, and nobody else is at it. Commits."""
    mine = update(ValueSearch).where(
        ValueSearch.id == search.id, ValueSearch.ended_at.is_(None), is_free(ValueSearch, at)
    )
    taken = change(mine.values(leased_until=at + LEASE))
    db.session.commit()
    db.session.refresh(search)
    return bool(taken)


def save_progress(
    search: ValueSearch,
    at: datetime,
    *,
    places: Sequence[Mapping[str, Any]],
    hits: Sequence[Any],
    **reached: Any,
) -> None:
    """How far it is; the lease is longer by that. Commits."""
    search.places, search.hits, search.leased_until = (
        [dict(each) for each in places],
        list(hits),
        at + LEASE,
    )
    for name, value in reached.items():
        setattr(search, name, value)
    db.session.commit()


def reschedule(search: ValueSearch, *, error: str = "", ended_at: datetime | None = None) -> None:
    """Leave it to the next turn, or end it. Commits."""
    search.leased_until, search.error, search.ended_at = None, error, ended_at
    db.session.commit()


def delete_old(at: datetime) -> int:
    """Delete searches of more than a day ago, values and all; how many. Commits."""
    forgotten = change(delete(ValueSearch).where(ValueSearch.asked_at < at - KEPT))
    db.session.commit()
    return forgotten
