"""The task that carries out a bulk job, one step at a time."""

from datetime import datetime

from dashboard.actions.tasks import poll_action
from dashboard.bulk import jobs as bulk_jobs
from dashboard.bulk import service as bulk
from dashboard.context import services
from dashboard.tasks.queues import task


@task("bulk")
def step_bulk_job(job_id: int) -> None:
    """Take one step of a bulk job if it can be leased, then enqueue the next step."""
    job = bulk.lease(job_id, services().clock())
    if job is not None:
        current = services()
        bulk_jobs.step(
            current.api,
            job,
            current.clock,
            current.settings.dashboard_watch_interval,
            poll_action.enqueue_when_due,
        )
        step_bulk_job.enqueue_when_due(job)


def on_action_completed(_sender: object, action_id: int) -> None:
    """Enqueue the jobs that wait for this action. Commits."""
    for job_id in bulk.make_due_after(action_id, services().clock()):
        step_bulk_job.enqueue(job_id)


def enqueue_due(at: datetime) -> None:
    """Enqueue all bulk jobs that are due."""
    for job_id in bulk.due(at):
        step_bulk_job.enqueue(job_id)
