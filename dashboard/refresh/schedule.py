"""When to read an account next: soon after a change or while watched, otherwise rarely."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from dashboard.refresh.limits import SHORTEST_WAIT

# Accounts without changes wait for the next refresh, which makes everything due.
WITH_NEXT_REFRESH = datetime(9999, 1, 1, tzinfo=UTC)


def soon(interval: float) -> timedelta:
    """Return how often a watched account is read: ``interval`` / 5 seconds, at least 60 seconds."""
    return max(SHORTEST_WAIT, timedelta(seconds=interval / 5))


def next_reading(
    at: datetime,
    interval: float,
    not_well_since: Iterable[datetime],
    watched_until: datetime | None,
) -> datetime:
    """Return when to read an account again; usually with the next refresh.

    ``not_well_since``: for each connection in error, attention, unknown or busy, the start of that
    state. The account is read after a quarter of the time since the latest of these, but not before
    ``soon``. So a new failure is read often, about a dozen times until it is four refreshes old.
    ``interval``: seconds between two refreshes. The result is a full second, so that one statement
    can set it for many accounts.
    """
    waits = [(at - since) / 4 for since in not_well_since]
    if watched_until is not None and watched_until > at:
        waits.append(timedelta())
    wait = max(soon(interval), min(waits, default=timedelta.max))
    if wait >= timedelta(seconds=interval):
        return WITH_NEXT_REFRESH
    return (at + wait).replace(microsecond=0) + timedelta(seconds=1)
