"""Checks of a table: its row count and newest row, and a page's duplicate keys.

A check costs at most five API calls: name, columns, the page, the count if the page is filtered,
and the newest row. The columns that are empty in the page are reported too. The daily count of a
monitored table costs one call.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Event
from typing import Any

from dashboard import peliqan
from dashboard.core.text import clean
from dashboard.core.times import CLOCK_SKEW
from dashboard.fleet import queries
from dashboard.tables.connection_tables import loaded_by
from dashboard.tables.health import service as table_checks
from dashboard.tables.health.freshness import read_time, received_at
from dashboard.tables.query import TableQuery
from dashboard.tables.reader import Row

# Errors that will be the same tomorrow: the table was removed or is not accessible.
TABLE_ERRORS = (peliqan.NotFound, peliqan.Forbidden, peliqan.Refused)


def check_table(
    api: peliqan.AccountApi,
    table: peliqan.Table,
    columns: Sequence[peliqan.Column],
    query: TableQuery,
    at: datetime,
) -> None:
    """Check a table with the page of a query, and store the result. Commits.

    All columns of the page are read.

    Raises:
        peliqan.PeliqanError: a part of it cannot be read; nothing is stored then.
    """
    wanted = peliqan.RowQuery(page=query.page, size=query.per_page, **query.upstream(columns))
    page = api.rows(table.id, wanted)
    count = api.rows(table.id, peliqan.RowQuery(size=1)).count if query.is_narrowed else page.count
    newest, column = None, received_at(columns)
    if column is not None:
        last = peliqan.RowQuery(size=1, order_by=f"-{column}", include=(column,))
        rows = api.rows(table.id, last).rows
        times = [read_time(row.get(column)) for row in rows]
        newest = max(
            (time for time in times if time is not None and time <= at + CLOCK_SKEW), default=None
        )
    key = next((each.name for each in columns if each.primary), "")
    seen = table_checks.TableStats(
        table_id=table.id,
        name=clean(table.name) or f"Table {table.id}",
        connection_id=loaded_by(table, queries.connections_of(api.account_id)),
        rows=count,
        newest_received_at=newest,
        says_received=column is not None,
        page=query.page,
        sampled=len(page.rows),
        key=clean(key),
        duplicates=duplicates(page.rows, key) if key else None,
        empty_columns=tuple(clean(name) for name in empty_columns(page.rows, columns)),
    )
    table_checks.write(api.account_id, [seen], at)


def count_due(api: peliqan.Peliqan, clock: Callable[[], datetime], stop: Event) -> None:
    """Count the tables that are due, one API call each, within the rate limit. Commits.

    Returns early if ``stop`` is set or the API is not available.
    """
    for account_id, table_id in table_checks.due(clock()):
        if stop.is_set():
            return
        table = table_checks.lease(account_id, table_id, clock())
        if table is None:
            continue
        try:
            rows = api.for_account(account_id).rows(table_id, peliqan.RowQuery(size=1)).count
        except TABLE_ERRORS:
            table_checks.reschedule(table, clock(), for_good=True)
        except peliqan.ApiUnavailable:
            # This table is due again when its lease expires; the others stay due.
            return
        except peliqan.PeliqanError:
            table_checks.reschedule(table, clock())
        else:
            table_checks.save_count(table, rows, clock())


def duplicates(rows: Sequence[Row], key: str) -> int:
    """Return how many rows have a key that another row has too; empty keys are not counted."""
    counts = Counter(repr(row.get(key)) for row in rows if not _is_empty(row, key))
    return sum(count for count in counts.values() if count > 1)


def empty_columns(rows: Sequence[Row], columns: Sequence[peliqan.Column]) -> list[str]:
    """Return the names of the columns that are empty in all rows; none if there are no rows."""
    return [
        column.name
        for column in columns
        if rows and all(_is_empty(row, column.name) for row in rows)
    ]


def _is_empty(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) in (None, "", [])
