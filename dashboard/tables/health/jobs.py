"""Looks at a table: how many rows it has, when the newest came, and of one page which keys are there twice and what is empty.

A look costs five calls at most (name, columns, the page, the count where the page is narrowed, the newest row). The daily
count of a table that somebody looked at within a week costs one.
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
from dashboard.tables.health import service as table_checks
from dashboard.tables.health.freshness import read_time, received_at
from dashboard.tables.of_connection import loaded_by
from dashboard.tables.query import TableQuery
from dashboard.tables.reader import Row

# Of a table that is gone, or never was ours, nothing will be known tomorrow either.
GONE = (peliqan.NotFound, peliqan.Forbidden, peliqan.Refused)


def check_table(
    api: peliqan.AccountApi,
    table: peliqan.Table,
    columns: Sequence[peliqan.Column],
    query: TableQuery,
    at: datetime,
) -> None:
    """Look at a table, with the page that a query shows, and write it down. All columns are read.

    Raises:
        peliqan.PeliqanError: something of it cannot be had; nothing is written down then.
    """
    page = api.rows(table.id, page=query.page, size=query.per_page, **query.upstream(columns))
    count = api.rows(table.id, size=1).count if query.is_narrowed else page.count
    newest, column = None, received_at(columns)
    if column is not None:
        rows = api.rows(table.id, size=1, order_by=f"-{column}", include=(column,)).rows
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
    """Count the tables that are due, one call each, as fast as the pace of all calls allows."""
    for account_id, table_id in table_checks.due(clock()):
        if stop.is_set():
            return
        table = table_checks.lease(account_id, table_id, clock())
        if table is None:
            continue
        try:
            rows = api.for_account(account_id).rows(table_id, size=1).count
        except GONE:
            table_checks.reschedule(table, clock(), for_good=True)
        except peliqan.ApiUnavailable:
            # Due again when our lease on it is over; the others with it.
            return
        except peliqan.PeliqanError:
            table_checks.reschedule(table, clock())
        else:
            table_checks.save_count(table, rows, clock())


def duplicates(rows: Sequence[Row], key: str) -> int:
    """How many rows have a key that another of them has too. A key that is empty is none."""
    counts = Counter(repr(row.get(key)) for row in rows if not _is_empty(row, key))
    return sum(count for count in counts.values() if count > 1)


def empty_columns(rows: Sequence[Row], columns: Sequence[peliqan.Column]) -> list[str]:
    """The columns that are empty in all of these rows; none where there are no rows."""
    return [
        column.name
        for column in columns
        if rows and all(_is_empty(row, column.name) for row in rows)
    ]


def _is_empty(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) in (None, "", [])
