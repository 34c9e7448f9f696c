"""The tasks that process what Peliqan sends."""

from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Final

from dashboard.actions.tasks import poll_action
from dashboard.context import services
from dashboard.deliveries.tasks import deliver
from dashboard.refresh import service as refresh
from dashboard.tasks.queue import task
from dashboard.webhooks import jobs as webhook_jobs
from dashboard.webhooks import service as webhook_events

LOOK_AGAIN_AFTER: Final = timedelta(seconds=5)
# One thread of a process at a time processes events; ``_more`` says that another message came meanwhile.
_processing, _more = Lock(), Event()


@task("take_events")
def process_events() -> None:
    """Process the events that wait: one thread at a time, again where another message came meanwhile."""
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
    parts = services()
    taken = webhook_jobs.process_all(
        parts.clock, parts.settings.dashboard_refresh_interval, delivers=parts.hook is not None
    )
    for action_id in taken.actions:
        poll_action.enqueue(action_id)
    for delivery_id in taken.deliveries:
        deliver.enqueue(delivery_id)
    if taken.accounts and not parts.queues["readings"].pending_count():
        read_reported.enqueue()
    due_at = webhook_events.next_due()
    if due_at is not None:
        # One message, however many events wait: it processes all of them.
        parts.queues.enqueue_once_at(process_events, max(due_at, parts.clock() + LOOK_AGAIN_AFTER))


def enqueue_due(_at: datetime) -> None:
    """Enqueue the processing if any event waits."""
    if webhook_events.has_new_events() or webhook_events.next_due() is not None:
        process_events.enqueue()
