"""Which accounts are due to be read, and who has them in hand. A job that comes again and again is due in the same way.

To take something is to put it off for as long as a lease lasts. Whoever finishes it says when it is due next; what a killed
worker had in hand is due again by itself.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, select, update

from dashboard.core.database import change, db
from dashboard.fleet.models import Account, AccountRefreshState
from dashboard.refresh.passes import LEASE

WATCHED_FOR = timedelta(minutes=10)


@dataclass(frozen=True)
class LeasedAccount:
    """An account in hand. ``token`` is encrypted."""

    account_id: int
    token: bytes | None
    watched_until: datetime | None
    was_readable: bool


def lease_accounts(at: datetime, most: int) -> list[LeasedAccount]:
    """At most ``most`` accounts that are due, longest due first: the caller's for now. Commits."""
    # A common table expression, since PostgreSQL may run a plain subquery with a limit more than once.
    ready = (
        select(AccountRefreshState.account_id)
        .where(AccountRefreshState.due_at <= at)
        .order_by(AccountRefreshState.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("ready")
    )
    taking = (
        update(AccountRefreshState)
        .where(AccountRefreshState.account_id.in_(select(ready.c.account_id)))
        .values(due_at=at + LEASE)
    )
    taken = db.session.execute(
        taking.returning(
            AccountRefreshState.account_id, AccountRefreshState.watched_until
        ).execution_options(synchronize_session=False)
    )
    watched: dict[int, datetime | None] = {row.account_id: row.watched_until for row in taken}
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
    """The caller still has them in hand. Commits."""
    held = update(AccountRefreshState).where(
        AccountRefreshState.account_id.in_(account_ids), AccountRefreshState.due_at.is_not(None)
    )
    change(held.values(due_at=at + LEASE))
    db.session.commit()


def any_due(at: datetime, at_least: int = 1) -> bool:
    """Whether at least so many accounts are due."""
    ready = (
        select(AccountRefreshState.account_id)
        .where(AccountRefreshState.due_at <= at)
        .limit(at_least)
        .subquery()
    )
    return (db.session.scalar(select(func.count()).select_from(ready)) or 0) >= at_least


def count_listed() -> int:
    """How many accounts there are to read."""
    return (
        db.session.scalar(select(func.count()).where(AccountRefreshState.due_at.is_not(None))) or 0
    )


def mark_watched(account_id: int, at: datetime, soon: timedelta) -> None:
    """Somebody looks at a page of this account: it is read at least every ``soon`` for the next minutes. Commits.

    Written at most every few minutes, however many look.
    """
    noted = (
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
    change(noted)
    db.session.commit()


def prioritise(account_ids: Collection[int], since: datetime) -> set[int]:
    """Have these read before all that became due after ``since``; those of them that are listed at all. Does not commit.

    What somebody writes at this moment stays as it is: nobody is waited for here.
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
