"""Task that sends alerts."""

from datetime import datetime

from dashboard.alerts import sending as alert_delivery
from dashboard.context import services
from dashboard.tasks.queues import task


@task("alerts")
def send_alerts() -> None:
    """Send the alerts that are due, and retry those that failed."""
    alert_delivery.send_due(services(), services().settings.dashboard_url)


def enqueue_due(_at: datetime) -> None:
    """Enqueue the task every minute, since due times depend on each rule."""
    send_alerts.enqueue()
