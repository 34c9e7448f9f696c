"""Passes over the fleet: a row each, opened once, joined by every worker, closed when every account was tried.

Who is done with is told by the accounts' own ``tried_at``. So a pass that was interrupted goes on where it was, whoever goes
on with it, and nothing is counted twice.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Integer, and_, bindparam, case, func, or_, select, update

from dashboard.core.database import add_if_new, change, db
from dashboard.fleet.models import Account, AccountRefreshState
from dashboard.refresh.models import ApiOutage, Refresh

# Whoever asks for the list of accounts, or has accounts in hand, says so anew at least this often.
LEASE = timedelta(seconds=30)
# A pass that nobody has touched for so long has no worker.
IDLE_AFTER = timedelta(seconds=90)
# How much the latest second counts in the rate that is shown.
SMOOTHING = 0.3
_COMPLETE = select(func.max(Refresh.ended_at)).where(
    Refresh.ended_at.is_not(None), Refresh.error.is_(None)
)
_SILENT = select(ApiOutage.since).where(ApiOutage.host == bindparam("host")).scalar_subquery()
# Made once: every page asks.
_STANDING = (
    select(Refresh, _COMPLETE.scalar_subquery(), _SILENT).order_by(Refresh.id.desc()).limit(1)
)


def latest() -> Refresh | None:
    """The pass under way, or the last one."""
    return db.session.scalar(select(Refresh).order_by(Refresh.id.desc()).limit(1))


class RefreshStatus(NamedTuple):
    """``last``: the pass under way, or the last one. ``as_of``: when the last one ended that went well. ``silent_since``: since
    when the API does not answer."""

    last: Refresh | None
    as_of: datetime | None
    silent_since: datetime | None


def known(host: str = "") -> RefreshStatus:
    """How it stands, with the API at this host."""
    found = db.session.execute(_STANDING, {"host": host}).first()
    if found is None:
        # Only before the first pass of all.
        return RefreshStatus(
            None, None, db.session.scalar(select(ApiOutage.since).where(ApiOutage.host == host))
        )
    return RefreshStatus(*found)


def current() -> Refresh | None:
    """The pass under way."""
    return db.session.scalar(select(Refresh).where(Refresh.active == 1))


def current_id() -> int | None:
    """The id of the pass under way."""
    return db.session.scalar(select(Refresh.id).where(Refresh.active == 1))


def get(pass_id: int) -> Refresh:
    """A pass, as it is now."""
    return db.session.scalars(
        select(Refresh).where(Refresh.id == pass_id).execution_options(populate_existing=True)
    ).one()


def is_due(at: datetime, interval: float, answers_since: datetime | None = None) -> bool:
    """Whether ``interval`` seconds have gone by since the last pass began, and none is under way.

    One that was stopped is not waited for if the API answers again since it ended.
    """
    last = latest()
    if last is None:
        return True
    if last.ended_at is None:
        return False
    again = last.error is not None and answers_since is not None and answers_since >= last.ended_at
    return again or last.started_at + timedelta(seconds=interval) <= at


def start_or_join(at: datetime) -> Refresh:
    """The pass under way, or a new one, in which every account is due. Commits."""
    found = current()
    if found is not None:
        return found
    opened = add_if_new(Refresh(active=1, started_at=at, alive_at=at))
    if opened is None:
        db.session.rollback()
        # Another opened it; should it be closed again already, it will do for the asker as well.
        found = latest()
        assert found is not None
        return found
    change(
        update(AccountRefreshState).where(AccountRefreshState.due_at.is_not(None)).values(due_at=at)
    )
    db.session.commit()
    return opened


def lease_listing(pass_id: int, at: datetime) -> bool:
    """Whether the caller is to ask for the list of accounts: nobody else does. Commits."""
    free = or_(Refresh.listing_until.is_(None), Refresh.listing_until < at)
    return _update(pass_id, and_(Refresh.listed_at.is_(None), free), listing_until=at + LEASE)


def extend_listing_lease(pass_id: int, at: datetime) -> None:
    """The caller still asks for the list. Commits."""
    _update(pass_id, Refresh.listed_at.is_(None), listing_until=at + LEASE)


def end_listing(pass_id: int, at: datetime) -> None:
    """The list is complete. Commits."""
    _update(pass_id, Refresh.listed_at.is_(None), listed_at=at, listing_until=None)


def save_progress(pass_id: int, at: datetime) -> bool:
    """Count what the pass has done and write it down; whether every account was tried. Commits."""
    found = db.session.scalar(select(Refresh).where(Refresh.id == pass_id, Refresh.active == 1))
    if found is None:
        return True
    accounts, done, unreadable = _count(found.started_at)
    seconds = (at - found.alive_at).total_seconds()
    rate = found.rate
    if seconds >= 1 and done >= found.done:
        lately = (done - found.done) / seconds
        rate = lately if rate is None else (1 - SMOOTHING) * rate + SMOOTHING * lately
    values = {"accounts": accounts, "done": done, "unreadable": unreadable}
    # Its own clock for the rate: two workers that count within a second would each see half of what was done.
    moved = {"alive_at": at, "rate": rate} if seconds >= 1 else {}
    complete = found.listed_at is not None and done >= accounts
    if not complete:
        _due_again(found.started_at, at)
    _update(pass_id, None, **values, **moved)
    return complete


def close(pass_id: int, at: datetime, error: str | None = None) -> bool:
    """Close the pass with what it has done by now; whether it was open. Commits.

    Counted once more: of two workers that note its progress, the one that counted first may write last.
    """
    accounts, done, unreadable = _count(get(pass_id).started_at)
    counted = {"accounts": accounts, "done": done, "unreadable": unreadable}
    return _update(
        pass_id, None, active=None, ended_at=at, listing_until=None, error=error, **counted
    )


def unreadable_in(found: Refresh) -> dict[int, str]:
    """The accounts that could not be read in a pass, with the reasons."""
    failed = (
        select(Account.id, Account.unreadable_reason)
        .join(AccountRefreshState, AccountRefreshState.account_id == Account.id)
        .where(
            Account.unreadable_reason.is_not(None), AccountRefreshState.tried_at >= found.started_at
        )
    )
    return {
        account_id: reason or ""
        for account_id, reason in db.session.execute(failed.order_by(Account.id))
    }


def _due_again(since: datetime, at: datetime) -> None:
    """Accounts that were read before the pass began, but written down after: put off, though the pass waits for them."""
    untried = (AccountRefreshState.due_at > at + 2 * LEASE) & (AccountRefreshState.tried_at < since)
    change(update(AccountRefreshState).where(untried).values(due_at=at))


def _count(since: datetime) -> tuple[int, int, int]:
    tried = AccountRefreshState.tried_at >= since
    counts = select(func.count(), func.sum(case((tried, 1), else_=0)).cast(Integer)).where(
        AccountRefreshState.due_at.is_not(None)
    )
    accounts, done = db.session.execute(counts).one()
    failed = (
        select(func.count())
        .select_from(Account)
        .join(AccountRefreshState, AccountRefreshState.account_id == Account.id)
        .where(
            Account.unreadable_reason.is_not(None), AccountRefreshState.due_at.is_not(None), tried
        )
    )
    return accounts, done or 0, db.session.scalar(failed) or 0


def _update(pass_id: int, condition: ColumnElement[bool] | None, **values: object) -> bool:
    where = [
        Refresh.id == pass_id,
        Refresh.active == 1,
        *([] if condition is None else [condition]),
    ]
    rows = change(update(Refresh).where(*where).values(values))
    db.session.commit()
    return bool(rows)
