"""The tasks of the fleet refresh: start one, read due accounts, probe an API that is down."""

from datetime import datetime, timedelta
from typing import Final

from dashboard.context import services
from dashboard.refresh import passes
from dashboard.refresh import queue as refresh_queue
from dashboard.refresh import service as refresh
from dashboard.tasks.queues import task

# Seconds until a worker checks again on a refresh whose rest other workers have leased.
COME_BACK_AFTER: Final = 5


@task("open_pass")
def start_refresh() -> None:
    """Start a refresh if one is due, and enqueue its reads. During an outage, probe instead."""
    current = services()
    if current.api.breaker.outage is not None:
        probe_api.enqueue()
        return
    at = current.clock()
    interval = current.settings.dashboard_refresh_interval
    if passes.is_due(at, interval, current.outages.ended_at()):
        passes.start_or_join(at)
    if passes.current_id() is not None:
        read_due.enqueue()


@task("ask_again")
def probe_api() -> None:
    """During an outage, send a probe if this process claims it; after an answer, refresh."""
    breaker = services().api.breaker
    if breaker.claim_probe():
        services().api.answers_again()
    outage = breaker.outage
    if outage is None:
        start_refresh()
    else:
        services().queues.enqueue_once_at(probe_api, outage.turn_at)


@task("read", queue="readings")
def read_due() -> None:
    """Read due accounts; enqueue help if there are many, and continue until the refresh is done."""
    current = services()
    if (
        refresh_queue.any_due(current.clock(), 3 * current.settings.dashboard_api_concurrency)
        and not _is_enqueued()
    ):
        read_due.enqueue()
    refresh.read_due(current, stop=current.queues.stop)
    if current.api.breaker.outage is not None:
        probe_api.enqueue()
    if passes.current_id() is not None:
        # All accounts are due if it started meanwhile. Otherwise other workers have the rest.
        if refresh_queue.any_due(current.clock()):
            read_due.enqueue()
        else:
            read_due.enqueue(delay=COME_BACK_AFTER)
    elif (last := passes.latest()) is not None:
        until = (
            last.started_at
            + timedelta(seconds=current.settings.dashboard_refresh_interval)
            - current.clock()
        )
        start_refresh.enqueue(delay=max(0.0, until.total_seconds()))


def enqueue_due(at: datetime) -> None:
    """Start a refresh if one is due; else enqueue the read of due accounts. Commits."""
    start_refresh()
    if passes.current_id() is None and refresh_queue.any_due(at):
        read_due.enqueue()


def _is_enqueued() -> bool:
    return bool(services().queues["readings"].pending_count())
