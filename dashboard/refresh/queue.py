"""Which accounts are due to be read, and their leases.

``lease_accounts`` moves ``due_at`` forward by the lease time. A worker that finishes sets the next
``due_at``; if it dies, the account becomes due again when the lease expires.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, select, update

from dashboard.core.database import change, db
from dashboard.fleet.models import Account, AccountRefreshState
from dashboard.refresh.limits import WATCHED_FOR
from dashboard.refresh.passes import LEASE


@dataclass(frozen=True)
class LeasedAccount:
    """An account that the caller has leased. ``token`` is encrypted."""

    account_id: int
    token: bytes | None
    watched_until: datetime | None
    was_readable: bool


def lease_accounts(at: datetime, most: int) -> list[LeasedAccount]:
    """Lease at most ``most`` due accounts, longest due first, and return them. Commits."""
    # PostgreSQL may run a plain subquery with a limit more than once, but not a CTE.
    ready = (
        select(AccountRefreshState.account_id)
        .where(AccountRefreshState.due_at <= at)
        .order_by(AccountRefreshState.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("ready")
    )
    leasing = (
        update(AccountRefreshState)
        .where(AccountRefreshState.account_id.in_(select(ready.c.account_id)))
        .values(due_at=at + LEASE)
    )
    leased = db.session.execute(
        leasing.returning(
            AccountRefreshState.account_id, AccountRefreshState.watched_until
        ).execution_options(synchronize_session=False)
    )
    watched: dict[int, datetime | None] = {row.account_id: row.watched_until for row in leased}
    db.session.commit()
    if not watched:
        return []
    more = select(Account.id, Account.token, Account.unreadable_reason).where(
        Account.id.in_(watched)
    )
    found = [
        LeasedAccount(id, token, watched[id], reason is None)
        for id, token, reason in db.session.execute(more)
    ]
    db.session.rollback()
    return found


def extend_leases(account_ids: Collection[int], at: datetime) -> None:
    """Extend the caller's leases of these accounts. Commits."""
    leased = update(AccountRefreshState).where(
        AccountRefreshState.account_id.in_(account_ids), AccountRefreshState.due_at.is_not(None)
    )
    change(leased.values(due_at=at + LEASE))
    db.session.commit()


def any_due(at: datetime, at_least: int = 1) -> bool:
    """Return whether at least this number of accounts is due."""
    ready = (
        select(AccountRefreshState.account_id)
        .where(AccountRefreshState.due_at <= at)
        .limit(at_least)
        .subquery()
    )
    return (db.session.scalar(select(func.count()).select_from(ready)) or 0) >= at_least


def count_listed() -> int:
    """Return the number of listed accounts."""
    return (
        db.session.scalar(select(func.count()).where(AccountRefreshState.due_at.is_not(None))) or 0
    )


def mark_watched(account_id: int, at: datetime, soon: timedelta) -> None:
    """Record that a user has a page of the account open. Commits.

    The account is then read at least every ``soon`` for 10 minutes. Writes at most once in 5
    minutes, however many users have the page open.
    """
    watched = (
        update(AccountRefreshState)
        .where(
            AccountRefreshState.account_id == account_id,
            AccountRefreshState.due_at.is_not(None),
            (AccountRefreshState.watched_until.is_(None))
            | (AccountRefreshState.watched_until < at + WATCHED_FOR / 2),
        )
        .values(
            watched_until=at + WATCHED_FOR,
            due_at=case(
                (AccountRefreshState.due_at > at + soon, at + soon),
                else_=AccountRefreshState.due_at,
            ),
        )
    )
    change(watched)
    db.session.commit()


def prioritise(account_ids: Collection[int], since: datetime) -> set[int]:
    """Make accounts due at ``since``; return those of them that are listed. Does not commit.

    Skips rows that another transaction has locked instead of waiting for it.
    """
    if not account_ids:
        return set()
    these = (
        AccountRefreshState.account_id.in_(account_ids),
        AccountRefreshState.due_at.is_not(None),
    )
    listed = set(db.session.scalars(select(AccountRefreshState.account_id).where(*these)))
    later = select(AccountRefreshState.account_id).where(*these, AccountRefreshState.due_at > since)
    free = later.with_for_update(skip_locked=True).cte("free")
    change(
        update(AccountRefreshState)
        .where(AccountRefreshState.account_id.in_(select(free.c.account_id)))
        .values(due_at=since)
    )
    return listed
