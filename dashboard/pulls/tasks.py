"""Task that copies the tables of a pull schedule."""

from datetime import datetime

from dashboard.context import services
from dashboard.pulls import jobs as pull_jobs
from dashboard.pulls import service as pulls
from dashboard.tasks.queues import task


@task("pull", queue="pulls")
def run_pull(schedule_id: int) -> None:
    """Run a schedule's pull, unless it is not due or another worker has it."""
    current = services()
    schedule = pulls.lease(schedule_id, current.clock())
    if schedule is not None:
        pull_jobs.work_on(current, schedule, current.queues.stop)


def enqueue_due(at: datetime) -> None:
    """Close the runs of dead processes, and enqueue all schedules that are due. Commits."""
    pulls.close_lost(at)
    for schedule_id in pulls.due(at):
        run_pull.enqueue(schedule_id)
