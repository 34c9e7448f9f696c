"""The task that runs a query at one account's warehouse."""

from datetime import datetime

from dashboard.context import services
from dashboard.sql import jobs
from dashboard.sql import service as query_runs
from dashboard.tasks.queue import task


@task("question", queue="questions")
def run_query(answer_id: int) -> None:
    """Run one account's query, unless another worker has it."""
    parts = services()
    answer = query_runs.lease(answer_id, parts.clock())
    if answer is not None:
        jobs.work_on(parts, answer, parts.queues.stop)


def enqueue_due(at: datetime) -> None:
    """Fail queries whose worker died, delete old results, and enqueue all queries that wait. Commits."""
    query_runs.fail_lost(at)
    query_runs.delete_old(at)
    for answer_id in query_runs.due(at):
        run_query.enqueue(answer_id)
