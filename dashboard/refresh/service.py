"""A refresh of the fleet, by one or more workers: list the accounts, read the due ones.

``reader`` does one worker's share.
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
from dashboard.refresh import cpu_affinity, passes, writer
from dashboard.refresh.fetch import AccountToRead, read_account
from dashboard.refresh.reader import POLL_SECONDS, Reader

# Seconds until a computing thread lets another one run; Python's default is 25 times as long.
SWITCH = 0.0002


@dataclass(frozen=True)
class Result:
    """The result of a refresh.

    ``unreadable`` maps account ids to reasons. ``error``: why it was stopped; None if it was not.
    """

    accounts: int
    unreadable: dict[int, str]
    error: str | None


def tune_interpreter() -> None:
    """Tune Python for a process that only reads. Call it once.

    With 64 calls in flight a refresh takes two thirds of the time, without more CPU. A short switch
    interval lets answers be processed soon. The garbage collector took 1/16 of the CPU time: it
    now skips objects from the start, and little else is in reference cycles.
    """
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def refresh_fleet(
    services: Services, *, progress: Callable[[int, int], None] = lambda done, accounts: None
) -> Result:
    """Run a refresh in the foreground, or the rest of the current one. Commits.

    A user waits for it, so it sends a probe even during a known outage. ``progress(done,
    accounts)`` is called as it proceeds.
    """
    if services.api.breaker.outage is not None:
        services.api.answers_again()
    found = passes.start_or_join(services.clock())
    refresh_id, again = found.id, Event()
    while passes.current_id() == refresh_id:
        read_due(services, progress=progress)
        if passes.current_id() == refresh_id:
            # Other workers have leased the rest: wait until they finish or the leases expire.
            again.wait(POLL_SECONDS)
    db.session.expire_all()
    found = passes.get(refresh_id)
    return Result(found.accounts or 0, passes.unreadable_in(found), found.error)


def refresh_account(services: Services, account_id: int) -> Result:
    """Read one account now. Commits. During an outage, when nothing is sent, it writes nothing."""
    known = writer.known_of([account_id])
    state = db.session.get(AccountRefreshState, account_id)
    watched_until = state.watched_until if state is not None else None
    reading = read_account(
        services.api,
        AccountToRead(account_id, known[account_id], watched_until, was_readable=False),
        services.clock,
        services.settings.dashboard_refresh_interval,
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
    """Read accounts until none is due. Commits.

    If a refresh runs and nobody reads the list of accounts, reads that as well. Returns early when
    ``stop`` is set, after saving what was read. An outage ends the refresh. Waits for a database
    that is unavailable.
    """
    with cpu_affinity.run_on_one_core():
        Reader(services, stop or Event(), progress).run()
