"""Refreshes of the fleet: one row each, started once, joined by every worker, then closed.

A refresh is complete when every account was tried. The accounts' own ``tried_at`` records this, so
any worker can continue an interrupted refresh, and nothing counts twice.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Integer, and_, bindparam, case, func, or_, select, update

from dashboard.core.database import add_if_new, change, db
from dashboard.fleet.models import Account, AccountRefreshState
from dashboard.refresh.models import ApiOutage, Refresh

# The lease of the worker that reads the list, and of leased accounts. Workers extend it earlier.
LEASE = timedelta(seconds=30)
# The weight of the latest measurement in the displayed rate.
# How much the latest second counts in the rate that is shown.
SMOOTHING = 0.3
_COMPLETE = select(func.max(Refresh.ended_at)).where(
    Refresh.ended_at.is_not(None), Refresh.error.is_(None)
)
_SILENT = select(ApiOutage.since).where(ApiOutage.host == bindparam("host")).scalar_subquery()
# Built once, since every page uses it.
_STATUS = select(Refresh, _COMPLETE.scalar_subquery(), _SILENT).order_by(Refresh.id.desc()).limit(1)


def latest() -> Refresh | None:
    """Return the current refresh, or else the last one; None if there was none."""
    return db.session.scalar(select(Refresh).order_by(Refresh.id.desc()).limit(1))


class RefreshStatus(NamedTuple):
    """The state of the refresh.

    ``last``: the current or last refresh. ``as_of``: the end of the last successful one.
    ``silent_since``: the start of the current outage of the API.
    """

    last: Refresh | None
    as_of: datetime | None
    silent_since: datetime | None


def known(host: str = "") -> RefreshStatus:
    """Return the state of the refresh, with the outage of the API at this host."""
    found = db.session.execute(_STATUS, {"host": host}).first()
    if found is None:
        # Only before the first refresh.
        return RefreshStatus(
            None, None, db.session.scalar(select(ApiOutage.since).where(ApiOutage.host == host))
        )
    return RefreshStatus(*found)


def current() -> Refresh | None:
    """Return the current refresh; None if none is running."""
    return db.session.scalar(select(Refresh).where(Refresh.active == 1))


def current_id() -> int | None:
    """Return the id of the current refresh; None if none is running."""
    return db.session.scalar(select(Refresh.id).where(Refresh.active == 1))


def get(refresh_id: int) -> Refresh:
    """Return a refresh, read again from the database."""
    return db.session.scalars(
        select(Refresh).where(Refresh.id == refresh_id).execution_options(populate_existing=True)
    ).one()


def is_due(at: datetime, interval: float, answers_since: datetime | None = None) -> bool:
    """Return whether a refresh is due: none runs, and the last started ``interval`` seconds ago.

    A refresh that an outage stopped is repeated as soon as the API answers: ``answers_since``.
    """
    last = latest()
    if last is None:
        return True
    if last.ended_at is None:
        return False
    again = last.error is not None and answers_since is not None and answers_since >= last.ended_at
    return again or last.started_at + timedelta(seconds=interval) <= at


def start_or_join(at: datetime) -> Refresh:
    """Return the current refresh, or start one, which makes every account due. Commits."""
    found = current()
    if found is not None:
        return found
    opened = add_if_new(Refresh(active=1, started_at=at, alive_at=at))
    if opened is None:
        db.session.rollback()
        # Another worker started it. If it has ended already, it serves the caller as well.
        found = latest()
        assert found is not None
        return found
    change(
        update(AccountRefreshState).where(AccountRefreshState.due_at.is_not(None)).values(due_at=at)
    )
    db.session.commit()
    return opened


def lease_listing(refresh_id: int, at: datetime) -> bool:
    """Lease the reading of the list of accounts; return whether the caller got it. Commits."""
    free = or_(Refresh.listing_until.is_(None), Refresh.listing_until < at)
    return _update(refresh_id, and_(Refresh.listed_at.is_(None), free), listing_until=at + LEASE)


def extend_listing_lease(refresh_id: int, at: datetime) -> None:
    """Extend the caller's lease of the list. Commits."""
    _update(refresh_id, Refresh.listed_at.is_(None), listing_until=at + LEASE)


def end_listing(refresh_id: int, at: datetime) -> None:
    """Record that the list is complete. Commits."""
    _update(refresh_id, Refresh.listed_at.is_(None), listed_at=at, listing_until=None)


def save_progress(refresh_id: int, at: datetime) -> bool:
    """Count and save the progress; return whether every account was tried. Commits."""
    found = db.session.scalar(select(Refresh).where(Refresh.id == refresh_id, Refresh.active == 1))
    if found is None:
        return True
    accounts, done, unreadable = _count(found.started_at)
    seconds = (at - found.alive_at).total_seconds()
    rate = found.rate
    if seconds >= 1 and done >= found.done:
        lately = (done - found.done) / seconds
        rate = lately if rate is None else (1 - SMOOTHING) * rate + SMOOTHING * lately
    values = {"accounts": accounts, "done": done, "unreadable": unreadable}
    # The rate has a clock of its own: of two workers that count within a second, each would measure
    # only a part.
    measured = {"alive_at": at, "rate": rate} if seconds >= 1 else {}
    complete = found.listed_at is not None and done >= accounts
    if not complete:
        _make_due(found.started_at, at)
    _update(refresh_id, None, **values, **measured)
    return complete


def close(refresh_id: int, at: datetime, error: str | None = None) -> bool:
    """Close the refresh with its final counts; return whether it was open. Commits.

    Counts again, since of two workers that save progress the earlier count may be saved last.
    """
    accounts, done, unreadable = _count(get(refresh_id).started_at)
    counted = {"accounts": accounts, "done": done, "unreadable": unreadable}
    return _update(
        refresh_id, None, active=None, ended_at=at, listing_until=None, error=error, **counted
    )


def unreadable_in(found: Refresh) -> dict[int, str]:
    """Return the accounts that could not be read in a refresh, with the reasons."""
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


def _make_due(since: datetime, at: datetime) -> None:
    """Make accounts due that were read before the refresh started but saved after that.

    Saving them has rescheduled them, while the refresh waits for them.
    """
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


def _update(refresh_id: int, condition: ColumnElement[bool] | None, **values: object) -> bool:
    where = [
        Refresh.id == refresh_id,
        Refresh.active == 1,
        *([] if condition is None else [condition]),
    ]
    rows = change(update(Refresh).where(*where).values(values))
    db.session.commit()
    return bool(rows)
