"""List of all tasks, and of the features that enqueue due work every minute."""

from datetime import datetime, timedelta

from dashboard.actions import tasks as actions
from dashboard.alerts import tasks as alerts
from dashboard.bulk import tasks as bulk
from dashboard.context import services
from dashboard.deliveries import tasks as deliveries
from dashboard.exports import jobs as export_jobs
from dashboard.exports import tasks as exports
from dashboard.findings import tasks as findings
from dashboard.fleet import counters
from dashboard.pulls import tasks as pulls
from dashboard.refresh import tasks as refresh
from dashboard.sql import tasks as sql
from dashboard.tables import tasks as tables
from dashboard.tasks import periodic
from dashboard.tasks.queues import DAY, MINUTE, task
from dashboard.webhooks import retention as event_retention
from dashboard.webhooks import tasks as webhooks
from dashboard.worker import retention

TASKS = (
    actions.poll_action,
    bulk.step_bulk_job,
    exports.write_export,
    tables.check_tables,
    sql.run_query,
    pulls.run_pull,
    deliveries.deliver,
    refresh.start_refresh,
    refresh.probe_api,
    refresh.read_due,
    alerts.send_alerts,
    webhooks.process_events,
    webhooks.read_reported,
)
# Each has a function ``enqueue_due``; they are called in this order.
FEATURES = (
    actions,
    bulk,
    exports,
    tables,
    pulls,
    sql,
    deliveries,
    webhooks,
    refresh,
    findings,
    alerts,
)


@task("tick")
def every_minute() -> None:
    """Enqueue due work, in one worker a minute, and delete files of expired exports."""
    # Each machine has its own folder of files, so every worker deletes.
    export_jobs.sweep(services().settings.dashboard_data)
    if periodic.claim_periodic("tick", services().clock(), MINUTE):
        enqueue_due()


def start() -> None:
    """Enqueue due work at a worker's start, even if another worker did so within the minute."""
    periodic.claim_periodic("tick", services().clock(), MINUTE)
    enqueue_due()


def enqueue_due() -> None:
    """Enqueue due work of all features, since messages may be lost. Commits.

    Once a day, delete old data too.
    """
    at = services().clock()
    for feature in FEATURES:
        feature.enqueue_due(at)
    if periodic.claim_periodic("retention", at, DAY):
        _delete_old(at)


def _delete_old(at: datetime) -> None:
    retention.delete_old(at - timedelta(days=services().settings.dashboard_keep_history_days))
    event_retention.delete_old_events(at)
    counters.repair_texts()
