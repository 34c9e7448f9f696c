"""The tasks of the fleet refresh: start one, read what is due, probe an API that does not answer."""

from datetime import datetime, timedelta
from typing import Final

from dashboard.context import services
from dashboard.refresh import passes
from dashboard.refresh import queue as refresh_queue
from dashboard.refresh import service as refresh
from dashboard.tasks.queue import task

# Seconds until a worker comes back to a refresh whose rest other workers have.
COME_BACK_AFTER: Final = 5


@task("open_pass")
def start_refresh() -> None:
    """Start a refresh if one is due, and have the fleet read. While the API is away, probe it instead."""
    parts = services()
    if parts.api.breaker.outage is not None:
        probe_api.enqueue()
        return
    at = parts.clock()
    if passes.is_due(at, parts.settings.dashboard_refresh_interval, parts.outages.ended_at()):
        passes.start_or_join(at)
    if passes.current_id() is not None:
        read_due.enqueue()


@task("ask_again")
def probe_api() -> None:
    """While the API is away: send one cheap read when it is this process's turn. If it is answered, start a refresh."""
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
    """Read what is due; have another worker help where that is much, and come back while a refresh is not complete."""
    parts = services()
    if (
        refresh_queue.any_due(parts.clock(), 3 * parts.settings.dashboard_api_concurrency)
        and not _is_enqueued()
    ):
        read_due.enqueue()
    refresh.read_due(parts, stop=parts.queues.stop)
    if parts.api.breaker.outage is not None:
        probe_api.enqueue()
    if passes.current_id() is not None:
        # A refresh that started while nothing was due has everything left to do; the rest of one that ends is with other workers.
        if refresh_queue.any_due(parts.clock()):
            read_due.enqueue()
        else:
            read_due.enqueue(delay=COME_BACK_AFTER)
    elif (last := passes.latest()) is not None:
        until = (
            last.started_at
            + timedelta(seconds=parts.settings.dashboard_refresh_interval)
            - parts.clock()
        )
        start_refresh.enqueue(delay=max(0.0, until.total_seconds()))


def enqueue_due(at: datetime) -> None:
    """Start a refresh if one is due; else enqueue the read of accounts that are due. Commits."""
    start_refresh()
    if passes.current_id() is None and refresh_queue.any_due(at):
        read_due.enqueue()


def _is_enqueued() -> bool:
    return bool(services().queues["readings"].pending_count())
