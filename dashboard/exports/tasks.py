"""The task that writes the file of an export."""

from datetime import datetime

from dashboard.context import services
from dashboard.exports import jobs as export_jobs
from dashboard.exports import service as exports
from dashboard.tasks.queues import task


@task("export", queue="exports")
def write_export(export_id: int) -> None:
    """Write the file of an export, unless it is not due or is leased by another worker."""
    current = services()
    export = exports.lease(export_id, current.clock())
    if export is not None:
        data, stop = current.settings.dashboard_data, current.queues.stop
        export_jobs.continue_export(current.api, export, current.clock, data, stop)
        if not stop.is_set():
            write_export.enqueue_when_due(export)


def enqueue_due(at: datetime) -> None:
    """Expire old exports, and enqueue all exports that are due. Commits."""
    exports.expire(at)
    for export_id in exports.due(at):
        write_export.enqueue(export_id)
