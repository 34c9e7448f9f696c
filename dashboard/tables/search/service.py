"""Searches for one value: their users, connections and progress; the value is encrypted."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select

from dashboard.audit import service as audit
from dashboard.core import leases
from dashboard.core.database import change, db
from dashboard.fleet.models import Connection
from dashboard.tables.limits import SEARCH_KEPT_FOR
from dashboard.tables.search.models import ValueSearch

# Longer than a turn, unless Peliqan is very slow.
LEASE: Final = timedelta(seconds=60)


def start(user_email: str, connection: Connection, value: bytes, at: datetime) -> ValueSearch:
    """Store a new search of a connection's tables, and audit it without the value. Commits.

    ``value``: encrypted.
    """
    ids = {"account_id": connection.account_id, "connection_id": connection.id}
    detail = "Searched for one value in the connection's tables."
    audit.record(at, user_email, "search", audit.DONE, **ids, detail=detail)
    search = ValueSearch(who=user_email, value=value, asked_at=at, **ids)
    db.session.add(search)
    db.session.commit()
    return search


def latest_of(user_email: str, connection: Connection, most: int = 10) -> list[ValueSearch]:
    """Return a user's searches of a connection, the latest first."""
    mine = select(ValueSearch).where(
        ValueSearch.who == user_email,
        ValueSearch.account_id == connection.account_id,
        ValueSearch.connection_id == connection.id,
    )
    return list(db.session.scalars(mine.order_by(ValueSearch.id.desc()).limit(most)))


def search_or_none(search_id: int) -> ValueSearch | None:
    """Return a search; None if there is none with this id."""
    return db.session.get(ValueSearch, search_id)


def lease(search: ValueSearch, at: datetime) -> bool:
    """Lease a search for one turn; return whether it was free and not finished. Commits."""
    is_free = ValueSearch.ended_at.is_(None), leases.is_free(ValueSearch, at)
    return leases.write(search, *is_free, leased_until=at + LEASE)


def save_progress(
    search: ValueSearch,
    at: datetime,
    *,
    places: Sequence[Mapping[str, Any]],
    hits: Sequence[Any],
    **counters: Any,
) -> None:
    """Store the progress of a search and extend its lease. Commits.

    ``counters``: ``rows_read`` and ``seconds``.
    """
    search.places, search.hits, search.leased_until = (
        [dict(each) for each in places],
        list(hits),
        at + LEASE,
    )
    for name, value in counters.items():
        setattr(search, name, value)
    db.session.commit()


def reschedule(search: ValueSearch, *, error: str = "", ended_at: datetime | None = None) -> None:
    """Release a search for its next turn, or finish it if ``ended_at`` is set. Commits."""
    search.leased_until, search.error, search.ended_at = None, error, ended_at
    db.session.commit()


def delete_old(at: datetime) -> int:
    """Delete searches older than ``SEARCH_KEPT_FOR``, with their values. Commits.

    Returns their number.
    """
    deleted = change(delete(ValueSearch).where(ValueSearch.asked_at < at - SEARCH_KEPT_FOR))
    db.session.commit()
    return deleted
