"""How often to look: closely at what just moved or is watched, ever more gently at the rest."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

# What is quiet waits for the next pass, which makes everything due.
WITH_THE_NEXT_PASS = datetime(9999, 1, 1, tzinfo=UTC)
SHORTEST = timedelta(seconds=60)


def soon(interval: float) -> timedelta:
    """How often what is watched is read: a fifth of the seconds between two passes, and no more than once a minute."""
    return max(SHORTEST, timedelta(seconds=interval / 5))


def next_reading(
    at: datetime,
    interval: float,
    not_well_since: Iterable[datetime],
    watched_until: datetime | None,
) -> datetime:
    """When to read an account again before the next pass does.

    ``not_well_since``: since when each of its connections is in error, wants attention or is busy. The account is read again
    after a quarter of the time since the youngest of these, but not before ``soon``: a fresh break is followed closely, and
    costs about a dozen readings in all until it is as old as four passes. ``interval``: seconds between two passes. On a full
    second, so that one write notes it for many accounts.
    """
    waits = [(at - since) / 4 for since in not_well_since]
    if watched_until is not None and watched_until > at:
        waits.append(timedelta())
    wait = max(soon(interval), min(waits, default=timedelta.max))
    if wait >= timedelta(seconds=interval):
        return WITH_THE_NEXT_PASS
    return (at + wait).replace(microsecond=0) + timedelta(seconds=1)
