"""What was seen of tables, and which of them are counted each day; whether one lost rows.

A table is watched for a week from the last time that somebody looked at it, and counted once a day meanwhile. It has dropped when
it has less than seven tenths of what it had within the week before. That is over when the rows are back, or a week after it was
noticed: by then nobody takes it for news, and it is what the table has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update

from dashboard.core.database import change, db, is_free
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.findings import evaluate
from dashboard.fleet.models import MonitoredTable
from dashboard.tables.health.models import TableCheck

DAY, WEEK = timedelta(days=1), timedelta(days=7)
LEASE, LATER = timedelta(minutes=2), timedelta(hours=1)
# So long what was seen last is shown in place of a new look.
FRESH: Final = timedelta(minutes=1)
LEFT_AT_LEAST: Final = 0.7
# Of fewer rows a third may be a single customer's tidying up.
LEAST_ROWS: Final = 10


@dataclass(frozen=True)
class TableStats:
    """A look before it is written down; what the fields mean: ``TableCheck``."""

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
    """The latest looks at a table, the newest first."""
    mine = select(TableCheck).where(
        TableCheck.account_id == account_id, TableCheck.table_id == table_id
    )
    return list(
        db.session.scalars(mine.order_by(TableCheck.at.desc(), TableCheck.id.desc()).limit(most))
    )


def watched(account_id: int, table_id: int) -> MonitoredTable | None:
    """The table as it is watched; None where nobody looked yet."""
    return db.session.get(MonitoredTable, (account_id, table_id))


def write(account_id: int, seen: Sequence[TableStats], at: datetime) -> None:
    """Write down what somebody saw of an account's tables, and judge it: one commit. They are watched for a week from now."""
    lock_snapshot()
    for each in seen:
        table = watched(account_id, each.table_id)
        if table is None:
            table = MonitoredTable(
                account_id=account_id, table_id=each.table_id, rows=each.rows, rows_at=at
            )
            db.session.add(table)
        table.name, table.connection_id = each.name, each.connection_id
        table.watched_until, table.due_at = at + WEEK, at + DAY
        _note(table, each, at)
    evaluate.evaluate([account_id], at)
    db.session.commit()


def due(at: datetime, most: int = 100) -> list[tuple[int, int]]:
    """Account and table of those that should be counted now."""
    found = select(MonitoredTable.account_id, MonitoredTable.table_id).where(
        MonitoredTable.due_at <= at, is_free(MonitoredTable, at)
    )
    return [
        (row.account_id, row.table_id)
        for row in db.session.execute(found.order_by(MonitoredTable.due_at).limit(most))
    ]


def lease(account_id: int, table_id: int, at: datetime) -> MonitoredTable | None:
    """The table, if it is due and nobody else counts it. Commits."""
    mine = update(MonitoredTable).where(
        MonitoredTable.account_id == account_id, MonitoredTable.table_id == table_id
    )
    taken = change(
        mine.where(MonitoredTable.due_at <= at, is_free(MonitoredTable, at)).values(
            leased_until=at + LEASE
        )
    )
    db.session.commit()
    if not taken:
        return None
    table = db.session.get_one(MonitoredTable, (account_id, table_id))
    db.session.refresh(table)
    return table


def save_count(table: MonitoredTable, rows: int, at: datetime) -> None:
    """Write down how many rows a table has today, and judge it; due again tomorrow while it is watched. Commits."""
    lock_snapshot()
    table.due_at, table.leased_until = (at + DAY if at + DAY < table.watched_until else None), None
    _note(table, TableStats(table.table_id, table.name, table.connection_id, rows), at)
    evaluate.evaluate([table.account_id], at)
    db.session.commit()


def reschedule(table: MonitoredTable, at: datetime, *, for_good: bool = False) -> None:
    """It could not be counted: in an hour, or never again. Commits."""
    table.due_at, table.leased_until = None if for_good else at + LATER, None
    db.session.commit()


def _note(table: MonitoredTable, seen: TableStats, at: datetime) -> None:
    _judge(table, seen.rows, at)
    table.rows, table.rows_at = seen.rows, at
    db.session.add(
        TableCheck(
            account_id=table.account_id,
            table_id=seen.table_id,
            at=at,
            rows=seen.rows,
            newest_received_at=seen.newest_received_at,
            says_received=seen.says_received,
            page=seen.page,
            sampled=seen.sampled,
            key=seen.key,
            duplicates=seen.duplicates,
            empty_columns=list(seen.empty_columns),
        )
    )
    db.session.flush()


def _judge(table: MonitoredTable, rows: int, at: datetime) -> None:
    """Whether the table lost rows, or has them back."""
    if table.dropped_at is not None and table.rows_before is not None:
        if rows < LEFT_AT_LEAST * table.rows_before and at - table.dropped_at < evaluate.DROP_LASTS:
            return
        table.rows_before = table.before_at = table.dropped_at = None
    before, before_at = _most_before(table, at)
    if before >= LEAST_ROWS and rows < LEFT_AT_LEAST * before:
        table.rows_before, table.before_at, table.dropped_at = before, before_at, at


def _most_before(table: MonitoredTable, at: datetime) -> tuple[int, datetime]:
    """The most rows that it had within a week, and when it had them last; else what was seen last."""
    mine = select(TableCheck.rows, TableCheck.at).where(
        TableCheck.account_id == table.account_id,
        TableCheck.table_id == table.table_id,
        TableCheck.at >= at - WEEK,
        TableCheck.at < at,
    )
    found = db.session.execute(
        mine.order_by(TableCheck.rows.desc(), TableCheck.at.desc()).limit(1)
    ).first()
    return (found.rows, found.at) if found is not None else (table.rows, table.rows_at)
