"""Task that delivers a new connection's tables to the partner's data hook."""

from datetime import datetime

from dashboard.context import services
from dashboard.core.database import db
from dashboard.deliveries import jobs
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.models import Delivery
from dashboard.tasks.queues import task


@task("deliver", queue="deliveries")
def deliver(delivery_id: int) -> None:
    """Work on a due delivery for one turn, then enqueue the next turn.

    Does nothing if the delivery is not due or another worker has it.
    """
    current = services()
    delivery = deliveries.lease(delivery_id, current.clock())
    if delivery is None:
        return
    target = jobs.Target(current.hook, current.settings.hook_tables)
    interval = current.settings.dashboard_watch_interval
    jobs.work_on(current, target, delivery, interval, current.queues.stop)
    if not current.queues.stop.is_set():
        deliver.enqueue_when_due(delivery)


def deliver_new_connection(account_id: int, connection_id: int, user_email: str) -> Delivery | None:
    """Start the delivery of a new connection; later calls start no second one. Commits.

    Returns:
        The connection's latest delivery; None where no data hook is set up.
    """
    if services().hook is None:
        return None
    started = deliveries.start([(account_id, connection_id)], user_email, services().clock())
    db.session.commit()
    delivery = deliveries.latest_of((account_id, connection_id))
    if started and delivery is not None:
        deliver.enqueue_when_due(delivery)
    return delivery


def enqueue_due(at: datetime) -> None:
    """Enqueue all deliveries that are due."""
    for delivery_id in deliveries.due(at):
        deliver.enqueue(delivery_id)
