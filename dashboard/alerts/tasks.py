"""The task that sends alerts."""

from datetime import datetime

from dashboard.alerts import delivery as alert_delivery
from dashboard.context import services
from dashboard.tasks.queue import task


@task("alerts")
def send_alerts() -> None:
    """Send the alerts that are due, and try again what could not be sent."""
    alert_delivery.send_due(services(), services().settings.dashboard_url)


def enqueue_due(_at: datetime) -> None:
    """Enqueue it: what is due depends on each rule's times."""
    send_alerts.enqueue()
