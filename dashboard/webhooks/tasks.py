"""Tasks that process Peliqan's events."""

from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Final

from dashboard.actions.tasks import poll_action
from dashboard.context import services
from dashboard.deliveries.tasks import deliver
from dashboard.refresh import service as refresh
from dashboard.tasks.queues import task
from dashboard.webhooks import jobs as webhook_jobs
from dashboard.webhooks import service as webhook_events

RECHECK_AFTER: Final = timedelta(seconds=5)
# One thread of a process processes events at a time; ``_more``: another message came meanwhile.
_processing, _more = Lock(), Event()


@task("take_events")
def process_events() -> None:
    """Process new events, in one thread at a time; repeat if another message came meanwhile."""
    _more.set()
    while _more.is_set() and _processing.acquire(blocking=False):
        try:
            _more.clear()
            _process_events()
        finally:
            _processing.release()


@task("read_told", queue="readings")
def read_reported() -> None:
    """Read the accounts that events made due."""
    refresh.read_due(services(), stop=services().queues.stop)


def _process_events() -> None:
    current = services()
    processed = webhook_jobs.process_all(
        current.clock,
        current.settings.dashboard_refresh_interval,
        delivers=current.hook is not None,
    )
    for action_id in processed.actions:
        poll_action.enqueue(action_id)
    for delivery_id in processed.deliveries:
        deliver.enqueue(delivery_id)
    if processed.accounts and not current.queues["readings"].pending_count():
        read_reported.enqueue()
    due_at = webhook_events.next_due()
    if due_at is not None:
        # One message for all waiting events: the task processes all of them.
        recheck_at = max(due_at, current.clock() + RECHECK_AFTER)
        current.queues.enqueue_once_at(process_events, recheck_at)


def enqueue_due(_at: datetime) -> None:
    """Enqueue the processing if an event is new or waits."""
    if webhook_events.has_new_events() or webhook_events.next_due() is not None:
        process_events.enqueue()
