"""The task that runs a query at one account's warehouse."""

from datetime import datetime

from dashboard.context import services
from dashboard.sql import jobs
from dashboard.sql import service as query_runs
from dashboard.tasks.queues import task


@task("question", queue="questions")
def run_query(answer_id: int) -> None:
    """Run a query at one account's warehouse, unless another worker has leased it."""
    current = services()
    stored = query_runs.lease(answer_id, current.clock())
    if stored is not None:
        jobs.run_stored_query(current, stored, current.queues.stop)


def enqueue_due(at: datetime) -> None:
    """Fail queries of dead workers, delete old results, and enqueue waiting queries. Commits."""
    query_runs.fail_lost(at)
    query_runs.delete_old(at)
    for result_id in query_runs.due(at):
        run_query.enqueue(result_id)
