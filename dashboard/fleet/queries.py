"""Reads of accounts, connections and their history."""

from datetime import datetime

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.orm import aliased, contains_eager

from dashboard.core.cache import cached
from dashboard.core.database import db
from dashboard.fleet.counters import LISTED
from dashboard.fleet.models import Account, Connection, HealthChange

# Made once: every page of an account asks.
_BY_ID = select(Account).where(Account.id == bindparam("id"))


_BY_REASON = (
    select(Account.unreadable_reason, func.count())
    .where(Account.gone_at.is_(None))
    .group_by(Account.unreadable_reason)
)


def accounts_by_reason() -> dict[str | None, int]:
    """How many accounts could not be read, by the reason why; None for those that could."""
    return cached("accounts by reason", lambda: dict(db.session.execute(_BY_REASON).all()))


def account_or_none(account_id: int) -> Account | None:
    """The account as last seen, gone ones included."""
    return db.session.scalar(_BY_ID, {"id": account_id}) if account_id < 2**63 else None


def any_account_id() -> int | None:
    """An account that is not gone; None where there is none."""
    return db.session.scalar(
        select(Account.id).where(Account.gone_at.is_(None)).order_by(Account.id).limit(1)
    )


def gone_from(account_id: int) -> tuple[int, datetime | None]:
    """How many of an account's connections are no longer listed, and since when the last of them."""
    gone = (
        Connection.account_id == account_id,
        Connection.gone_at.is_not(None),
        Connection.is_warehouse.is_(False),
    )
    found = db.session.execute(
        select(func.count(), func.max(Connection.gone_at)).where(*gone)
    ).one()
    return found[0], found[1]


def connection_or_none(account_id: int, connection_id: int) -> Connection | None:
    """The connection as last seen, with its account."""
    if max(account_id, connection_id) >= 2**63:
        return None
    with_account = (
        select(Connection).join(Connection.account).options(contains_eager(Connection.account))
    )
    return db.session.scalar(
        with_account.where(Connection.account_id == account_id, Connection.id == connection_id)
    )


def connections_of(account_id: int) -> list[Connection]:
    """An account's connections, without those that are gone and the warehouse."""
    mine = select(Connection).where(
        Connection.account_id == account_id, Connection.gone_at.is_(None)
    )
    return list(
        db.session.scalars(mine.where(Connection.is_warehouse.is_(False)).order_by(Connection.id))
    )


def health_history(account_id: int, connection_id: int, since: datetime) -> list[HealthChange]:
    """The connection's status changes since a time, and the last one before it, oldest first."""
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
    """When Peliqan last sent an event of the connection."""
    here = (Connection.account_id == account_id, Connection.id == connection_id)
    return db.session.scalar(select(Connection.event_at).where(*here))


def health_of_account(
    account_id: int, since: datetime, most: int = 5_000
) -> dict[int, list[HealthChange]]:
    """Status changes since a time, and the last one before it, oldest first, of each connection that the lists show."""
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
