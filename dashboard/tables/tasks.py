"""The periodic task of tables: row counts of monitored tables, and data checks."""

from datetime import datetime

from dashboard.context import services
from dashboard.tables import saved_views
from dashboard.tables.data_checks import jobs as data_check_jobs
from dashboard.tables.data_checks import service as data_check_rows
from dashboard.tables.health import jobs as table_check_jobs
from dashboard.tables.health import service as table_checks
from dashboard.tables.search import service as searches
from dashboard.tasks.queues import task


@task("count")
def check_tables() -> None:
    """Count the rows of the tables that are due, and check the data of the connections due."""
    current = services()
    table_check_jobs.count_due(current.api, current.clock, current.queues.stop)
    data_check_jobs.check_due(current.api, current.clock, current.queues.stop)


def enqueue_due(at: datetime) -> None:
    """Delete old searches and views of tables, and enqueue the checks if any is due. Commits."""
    searches.delete_old(at)
    saved_views.delete_old(at)
    if table_checks.due(at, 1) or data_check_rows.due(at, 1):
        check_tables.enqueue()
