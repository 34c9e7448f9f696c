"""Reads of accounts, connections and their history."""

from datetime import datetime

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.orm import aliased, contains_eager

from dashboard.core.cache import cached
from dashboard.core.database import db
from dashboard.fleet.counters import LISTED
from dashboard.fleet.models import Account, Connection, HealthChange

# Built once, since every page of an account uses it.
_BY_ID = select(Account).where(Account.id == bindparam("id"))


_BY_REASON = (
    select(Account.unreadable_reason, func.count())
    .where(Account.gone_at.is_(None))
    .group_by(Account.unreadable_reason)
)


def accounts_by_reason() -> dict[str | None, int]:
    """Return the number of accounts by the reason why they are unreadable; None: readable."""
    return cached("accounts by reason", lambda: dict(db.session.execute(_BY_REASON).all()))


def account_or_none(account_id: int) -> Account | None:
    """Return the account as last read, also a removed one; None if there is none."""
    return db.session.scalar(_BY_ID, {"id": account_id}) if account_id < 2**63 else None


def any_account_id() -> int | None:
    """Return the id of an account that is not removed; None if there is none."""
    return db.session.scalar(
        select(Account.id).where(Account.gone_at.is_(None)).order_by(Account.id).limit(1)
    )


def removed_connections(account_id: int) -> tuple[int, datetime | None]:
    """Return how many of an account's connections are removed, and when the last one was."""
    removed = (
        Connection.account_id == account_id,
        Connection.gone_at.is_not(None),
        Connection.is_warehouse.is_(False),
    )
    found = db.session.execute(
        select(func.count(), func.max(Connection.gone_at)).where(*removed)
    ).one()
    return found[0], found[1]


def connection_or_none(account_id: int, connection_id: int) -> Connection | None:
    """Return the connection as last read, with its account; None if there is none."""
    if max(account_id, connection_id) >= 2**63:
        return None
    with_account = (
        select(Connection).join(Connection.account).options(contains_eager(Connection.account))
    )
    return db.session.scalar(
        with_account.where(Connection.account_id == account_id, Connection.id == connection_id)
    )


def connections_of(account_id: int) -> list[Connection]:
    """Return an account's connections without the warehouse and removed ones."""
    mine = select(Connection).where(
        Connection.account_id == account_id, Connection.gone_at.is_(None)
    )
    return list(
        db.session.scalars(mine.where(Connection.is_warehouse.is_(False)).order_by(Connection.id))
    )


def health_history(account_id: int, connection_id: int, since: datetime) -> list[HealthChange]:
    """Return a connection's status changes since a time, oldest first.

    The last change before that time comes first.
    """
    mine = select(HealthChange).where(
        HealthChange.account_id == account_id, HealthChange.connection_id == connection_id
    )
    before = db.session.scalar(
        mine.where(HealthChange.at < since).order_by(HealthChange.at.desc()).limit(1)
    )
    after = db.session.scalars(
        mine.where(HealthChange.at >= since).order_by(HealthChange.at, HealthChange.id).limit(500)
    )
    return [*([before] if before else []), *after]


def event_at(account_id: int, connection_id: int) -> datetime | None:
    """Return when Peliqan last sent an event about the connection; None if it never did."""
    same_connection = (Connection.account_id == account_id, Connection.id == connection_id)
    return db.session.scalar(select(Connection.event_at).where(*same_connection))


def health_of_account(
    account_id: int, since: datetime, most: int = 5_000
) -> dict[int, list[HealthChange]]:
    """Return the status changes since a time of each listed connection, oldest first.

    Each list begins with the last change before that time.
    """
    earlier = aliased(HealthChange)
    last_before = (
        select(func.max(earlier.id))
        .where(earlier.account_id == account_id, earlier.at < since)
        .group_by(earlier.connection_id)
    )
    mine = (
        select(HealthChange)
        .join(
            Connection,
            and_(
                Connection.account_id == HealthChange.account_id,
                Connection.id == HealthChange.connection_id,
            ),
        )
        .where(HealthChange.account_id == account_id, *LISTED)
        .where(or_(HealthChange.at >= since, HealthChange.id.in_(last_before)))
        .order_by(HealthChange.at.desc(), HealthChange.id.desc())
        .limit(most)
    )
    found: dict[int, list[HealthChange]] = {}
    for change in reversed(list(db.session.scalars(mine))):
        found.setdefault(change.connection_id, []).append(change)
    return found
