"""A pass over the fleet, alone or beside other workers: list the accounts, read those that are due, until all were tried.

``reader`` does a worker's share.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from dashboard import peliqan
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.fleet.models import AccountRefreshState
from dashboard.refresh import cpu_core, passes, writer
from dashboard.refresh.fetch import read_account
from dashboard.refresh.reader import LOOK_AGAIN, Reader

# Seconds until a thread that computes lets another go on; Python's own is twenty-five times this.
SWITCH = 0.0002


@dataclass(frozen=True)
class Result:
    """How a pass ended. ``unreadable`` maps account ids to the reason; ``error`` is set when the pass was stopped."""

    accounts: int
    unreadable: dict[int, str]
    error: str | None


def tune_interpreter() -> None:
    """For a process that does nothing but read, once: with dozens of calls out, answers wait for whichever thread computes.

    A pass with 64 calls in flight takes two thirds of the time with it, and no more of the processor. Of that, the search for
    garbage was a sixteenth: what was loaded at the start stays, without the garbage of its loading, and next to nothing else is
    held in circles.
    """
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def refresh_fleet(
    services: Services, *, progress: Callable[[int, int], None] = lambda done, accounts: None
) -> Result:
    """One whole pass in the foreground, or what is left of the one under way. ``progress(done, accounts)``: as it goes.

    Somebody wants it now: where Peliqan is known not to answer, it is asked all the same whether it does again.
    """
    if services.api.breaker.outage is not None:
        services.api.answers_again()
    found = passes.start_or_join(services.clock())
    pass_id, again = found.id, Event()
    while passes.current_id() == pass_id:
        read_due(services, progress=progress)
        if passes.current_id() == pass_id:
            # What is left is in another's hands: until that is done, or its lease is over.
            again.wait(LOOK_AGAIN)
    db.session.expire_all()
    found = passes.get(pass_id)
    return Result(found.accounts or 0, passes.unreadable_in(found), found.error)


def refresh_account(services: Services, account_id: int) -> Result:
    """One account, now. Where Peliqan does not answer, and so was not asked, nothing is noted of the account."""
    known = writer.known_of([account_id])
    kept = db.session.get(AccountRefreshState, account_id)
    watched_until = kept.watched_until if kept is not None else None
    reading = read_account(
        services.api,
        account_id,
        known[account_id],
        services.clock,
        services.settings.dashboard_refresh_interval,
        watched_until=watched_until,
        was_readable=False,
    )
    if not isinstance(reading.error, peliqan.NOT_SENT):
        writer.save_readings([reading], {})
    return Result(1, {account_id: reading.error.explained} if reading.error else {}, None)


def read_due(
    services: Services,
    *,
    stop: Event | None = None,
    progress: Callable[[int, int], None] = lambda done, accounts: None,
) -> None:
    """Read accounts that are due until none is; list them first, where a pass is under way that nobody has listed for.

    Returns early when ``stop`` is set, with what was in hand written down. Outages end the pass; a database that is away is
    waited for.
    """
    with cpu_core.run_on_one_core():
        Reader(services, stop or Event(), progress).run()
