"""Coverage of the fleet: how much of it a page's figures include, and how old they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import g

from dashboard.context import services
from dashboard.fleet.queries import accounts_by_reason
from dashboard.refresh import passes
from dashboard.refresh.limits import IDLE_AFTER
from dashboard.refresh.models import Refresh


@dataclass(frozen=True)
class Coverage:
    """How much of the fleet the snapshot holds, and its age; shown on every page.

    ``outage``: why the last refresh stopped. ``silent_since``: since when Peliqan's API does not
    answer; None while it does.
    """

    accounts: int
    readable: int
    reasons: Sequence[tuple[str, int]]
    last: Refresh | None
    as_of: datetime | None
    outage: str | None
    silent_since: datetime | None

    @property
    def unreadable(self) -> int:
        """Return the number of accounts whose last read failed."""
        return sum(count for _, count in self.reasons)

    @property
    def running(self) -> bool:
        """Return whether a refresh is in progress."""
        return self.last is not None and self.last.ended_at is None

    @property
    def idle(self) -> bool:
        """Return whether a refresh is in progress that no worker continues."""
        return (
            self.running
            and self.last is not None
            and services().clock() - self.last.alive_at > IDLE_AFTER
        )

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds until the refresh ends at its present rate; None if unknown."""
        last = self.last
        if last is None or not last.rate or not last.accounts or last.listed_at is None:
            return None
        return (last.accounts - last.done) / last.rate


def coverage() -> Coverage:
    """Return the coverage of the fleet; read once a request."""
    if "coverage" not in g:
        g.coverage = _coverage()
    found: Coverage = g.coverage
    return found


def _coverage() -> Coverage:
    by_reason = accounts_by_reason()
    last, complete_at, silent_since = passes.known(services().outages.host)
    read = sum(by_reason.values()) - sum(count for reason, count in by_reason.items() if reason)
    return Coverage(
        accounts=sum(by_reason.values()),
        readable=read,
        reasons=[(reason, count) for reason, count in by_reason.items() if reason],
        last=last,
        as_of=complete_at,
        outage=last.error if last is not None else None,
        silent_since=silent_since,
    )
