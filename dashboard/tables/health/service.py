"""Results of table checks, daily counts of monitored tables, and drops in their rows.

A table is monitored for a week after a user last checked it, and counted once a day in that time.
It has dropped if it has less than 70 % of the most rows that it had within the week before. The
drop ends when the rows are back, or a week after it was noticed: the lower count is then normal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from dashboard.core import leases
from dashboard.core.database import db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.findings import evaluate
from dashboard.findings.limits import DROP_LASTS
from dashboard.fleet.models import MonitoredTable
from dashboard.tables.health.models import TableCheck
from dashboard.tables.limits import LEAST_ROWS, LEFT_AT_LEAST, WATCHED_FOR

DAY = timedelta(days=1)
LEASE, LATER = timedelta(minutes=2), timedelta(hours=1)


@dataclass(frozen=True)
class TableStats:
    """The result of a check before it is stored. Fields: see ``TableCheck``."""

    table_id: int
    name: str
    connection_id: int | None
    rows: int
    newest_received_at: datetime | None = None
    says_received: bool | None = None
    page: int | None = None
    sampled: int | None = None
    key: str = ""
    duplicates: int | None = None
    empty_columns: tuple[str, ...] = ()


def latest(account_id: int, table_id: int, most: int = 30) -> list[TableCheck]:
    """Return the latest checks of a table, the newest first."""
    mine = select(TableCheck).where(
        TableCheck.account_id == account_id, TableCheck.table_id == table_id
    )
    return list(
        db.session.scalars(mine.order_by(TableCheck.at.desc(), TableCheck.id.desc()).limit(most))
    )


def watched(account_id: int, table_id: int) -> MonitoredTable | None:
    """Return a monitored table; None if it was never checked."""
    return db.session.get(MonitoredTable, (account_id, table_id))


def write(account_id: int, stats: Sequence[TableStats], at: datetime) -> None:
    """Store a user's checks of an account's tables, and evaluate its findings. Commits once.

    The tables are monitored for a week from ``at``.
    """
    lock_snapshot()
    for each in stats:
        table = watched(account_id, each.table_id)
        if table is None:
            table = MonitoredTable(
                account_id=account_id, table_id=each.table_id, rows=each.rows, rows_at=at
            )
            db.session.add(table)
        table.name, table.connection_id = each.name, each.connection_id
        table.watched_until, table.due_at = at + WATCHED_FOR, at + DAY
        _record(table, each, at)
    evaluate.evaluate([account_id], at)
    db.session.commit()


def due(at: datetime, most: int = 100) -> list[tuple[int, ...]]:
    """Return account id and table id of the tables that are due to be counted, the oldest first."""
    return leases.ready_keys(MonitoredTable, at, most)


def lease(account_id: int, table_id: int, at: datetime) -> MonitoredTable | None:
    """Return the table, leased for ``LEASE``; None if not due or already leased. Commits."""
    return leases.lease(MonitoredTable, (account_id, table_id), at, LEASE)


def save_count(table: MonitoredTable, rows: int, at: datetime) -> None:
    """Store a table's daily row count, and evaluate the findings. Commits.

    The table is due again in a day, if it is still monitored then.
    """
    lock_snapshot()
    table.due_at, table.leased_until = (at + DAY if at + DAY < table.watched_until else None), None
    _record(table, TableStats(table.table_id, table.name, table.connection_id, rows), at)
    evaluate.evaluate([table.account_id], at)
    db.session.commit()


def reschedule(table: MonitoredTable, at: datetime, *, for_good: bool = False) -> None:
    """Set a failed count due again in an hour, or never if ``for_good``. Commits."""
    table.due_at, table.leased_until = None if for_good else at + LATER, None
    db.session.commit()


def _record(table: MonitoredTable, stats: TableStats, at: datetime) -> None:
    _update_drop(table, stats.rows, at)
    table.rows, table.rows_at = stats.rows, at
    db.session.add(
        TableCheck(
            account_id=table.account_id,
            table_id=stats.table_id,
            at=at,
            rows=stats.rows,
            newest_received_at=stats.newest_received_at,
            says_received=stats.says_received,
            page=stats.page,
            sampled=stats.sampled,
            key=stats.key,
            duplicates=stats.duplicates,
            empty_columns=list(stats.empty_columns),
        )
    )
    db.session.flush()


def _update_drop(table: MonitoredTable, rows: int, at: datetime) -> None:
    """Record that the table lost rows, or that the drop is over."""
    if table.dropped_at is not None and table.rows_before is not None:
        if rows < LEFT_AT_LEAST * table.rows_before and at - table.dropped_at < DROP_LASTS:
            return
        table.rows_before = table.before_at = table.dropped_at = None
    before, before_at = _most_before(table, at)
    if before >= LEAST_ROWS and rows < LEFT_AT_LEAST * before:
        table.rows_before, table.before_at, table.dropped_at = before, before_at, at


def _most_before(table: MonitoredTable, at: datetime) -> tuple[int, datetime]:
    """Return the most rows of the table within a week, and when it last had them.

    Without a check in that week: the last known count and its time.
    """
    mine = select(TableCheck.rows, TableCheck.at).where(
        TableCheck.account_id == table.account_id,
        TableCheck.table_id == table.table_id,
        TableCheck.at >= at - WATCHED_FOR,
        TableCheck.at < at,
    )
    found = db.session.execute(
        mine.order_by(TableCheck.rows.desc(), TableCheck.at.desc()).limit(1)
    ).first()
    return (found.rows, found.at) if found is not None else (table.rows, table.rows_at)
