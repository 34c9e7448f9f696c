"""How often to look: closely at what just moved or is watched, ever more gently at the rest."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from dashboard.actions.models import Action
from dashboard.deliveries.models import Delivery
from dashboard.webhooks import run_state as standings

# What is quiet waits for the next pass, which makes everything due.
WITH_THE_NEXT_PASS = datetime(9999, 1, 1, tzinfo=UTC)
SHORTEST = timedelta(seconds=60)
# So long after an event of a connection more are expected.
EVENTS_COME = timedelta(minutes=10)


def next_look(action: Action | Delivery, at: datetime, interval: float) -> datetime:
    """``interval`` seconds for the first four looks, twice that up to the tenth, then four times (15, 30, 60 s by default).

    While Peliqan sends events of the connection it is four times from the first: the end of a run is told, and then the action
    is due at once. What was told while somebody looked is looked at right after.
    """
    told_at = standings.event_at(action.account_id, action.connection_id)
    if told_at is not None and action.looked_at is not None and told_at > action.looked_at:
        return at + timedelta(seconds=min(interval, 1))
    told = told_at is not None and at - told_at < EVENTS_COME
    factor = 1 if action.looks < 4 else 2 if action.looks < 10 else 4
    return at + timedelta(seconds=interval * (4 if told else factor))


def soon(interval: float) -> timedelta:
    """How often what is watched is read: a fifth of the seconds between two passes, and no more than once a minute."""
    return max(SHORTEST, timedelta(seconds=interval / 5))


def next_reading(at: datetime, interval: float, not_well_since: Iterable[datetime], watched_until: datetime | None) -> datetime:
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
