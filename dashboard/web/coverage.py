"""How much of the fleet a page's figures cover, and how old they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import g

from dashboard.context import services
from dashboard.fleet.queries import accounts_by_reason
from dashboard.refresh import passes
from dashboard.refresh.models import Refresh


@dataclass(frozen=True)
class Coverage:
    """How much of the fleet the snapshot holds, and how old it is: on every page.

    ``outage``: why the last pass was stopped; ``silent_since``: since when Peliqan answers nobody.
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
        """Accounts whose last try failed."""
        return sum(count for _, count in self.reasons)

    @property
    def running(self) -> bool:
        """Whether a pass is under way."""
        return self.last is not None and self.last.ended_at is None

    @property
    def idle(self) -> bool:
        """Whether a pass is under way that no worker goes on with."""
        return (
            self.running
            and self.last is not None
            and services().clock() - self.last.alive_at > passes.IDLE_AFTER
        )

    @property
    def seconds_left(self) -> float | None:
        """How long the pass will take at its present rate; None before that can be told."""
        last = self.last
        if last is None or not last.rate or not last.accounts or last.listed_at is None:
            return None
        return (last.accounts - last.done) / last.rate


def coverage() -> Coverage:
    """How much of the fleet is known and how old that is; read once a request."""
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
