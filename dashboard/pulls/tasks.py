"""The task that copies the tables of a pull schedule."""

from datetime import datetime

from dashboard.context import services
from dashboard.pulls import jobs as pull_jobs
from dashboard.pulls import service as pulls
from dashboard.tasks.queue import task


@task("pull", queue="pulls")
def run_pull(schedule_id: int) -> None:
    """Copy the tables of a schedule, unless it is not due or another worker has it."""
    parts = services()
    schedule = pulls.lease(schedule_id, parts.clock())
    if schedule is not None:
        pull_jobs.work_on(parts, schedule, parts.queues.stop)


def enqueue_due(at: datetime) -> None:
    """Close the runs of dead processes, and enqueue all schedules that are due. Commits."""
    pulls.close_lost(at)
    for schedule_id in pulls.due(at):
        run_pull.enqueue(schedule_id)
