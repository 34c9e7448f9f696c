"""The task that writes the file of an export."""

from datetime import datetime

from dashboard.context import services
from dashboard.exports import jobs as export_jobs
from dashboard.exports import service as exports
from dashboard.tasks.queue import task


@task("export", queue="exports")
def write_export(export_id: int) -> None:
    """Work on an export to its end, unless it is not due or another worker has it."""
    parts = services()
    export = exports.lease(export_id, parts.clock())
    if export is not None:
        export_jobs.work_on(
            parts.api, export, parts.clock, parts.settings.dashboard_data, parts.queues.stop
        )
        if not parts.queues.stop.is_set():
            write_export.enqueue_when_due(export)


def enqueue_due(at: datetime) -> None:
    """Expire old exports, and enqueue all that are due. Commits."""
    exports.expire(at)
    for export_id in exports.due(at):
        write_export.enqueue(export_id)
