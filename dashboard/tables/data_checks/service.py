"""Results of data checks: the figures of a connection's tables, and their next check.

A connection is checked when a user requests it, and once a day for a week after that. While it has
a finding of a rule in ``LASTING``, the daily checks continue. Figures older than a week are not
used as evidence.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select

from dashboard.core import leases
from dashboard.core.database import change, db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.findings import evaluate
from dashboard.findings.limits import DATA_LASTS
from dashboard.findings.models import DataCheck, Finding
from dashboard.tables.limits import CHECK_FRESH_FOR

DAY, WEEK, LEASE = timedelta(days=1), DATA_LASTS, timedelta(minutes=5)
# Without "no new rows": a table may never change, which is no reason to count it daily forever.
LASTING: Final = ("duplicate_keys", "mixed_versions", "parent_table_empty")


@dataclass(frozen=True)
class CountedTable:
    """A table as the warehouse counted it.

    ``key``, ``version``, ``deleted`` and ``received``: names of its columns, empty if it has none.
    ``versions``: number of different table versions among its live rows.
    """

    name: str
    key: str = ""
    version: str = ""
    deleted: str = ""
    received: str = ""
    rows: int = 0
    keys: int | None = None
    versions: int | None = None
    received_at: str | None = None


@dataclass(frozen=True)
class CheckedSchema:
    """What was counted: a schema of a warehouse, without ``more_tables`` of its tables."""

    warehouse: str
    schema_name: str
    more_tables: int


def of_connection(account_id: int, connection_id: int) -> DataCheck | None:
    """Return the latest check of a connection's data; None if there is none."""
    return db.session.get(DataCheck, (account_id, connection_id))


def is_fresh(account_id: int, connection_id: int, at: datetime) -> bool:
    """Return whether the latest check is so recent that a new one is not needed."""
    check = of_connection(account_id, connection_id)
    return check is not None and at - check.checked_at < CHECK_FRESH_FOR


def tables_of(check: DataCheck) -> list[CountedTable]:
    """Return the tables of a check."""
    return [CountedTable(**each) for each in check.tables]


def write(
    account_id: int,
    connection_id: int,
    tables: Sequence[CountedTable],
    at: datetime,
    *,
    by_user: bool,
    source: CheckedSchema | None = None,
) -> None:
    """Store a check and evaluate the account's findings. Commits.

    ``by_user``: requested by a user; the connection is then checked daily for a week from ``at``.
    ``source``: None if it is the same as at the last check.
    """
    lock_snapshot()
    check = of_connection(account_id, connection_id)
    if check is None:
        check = DataCheck(account_id=account_id, connection_id=connection_id, watched_until=at)
        db.session.add(check)
    check.tables, check.checked_at, check.leased_until = [asdict(each) for each in tables], at, None
    if source is not None:
        check.warehouse, check.schema_name = source.warehouse, source.schema_name
        check.more_tables = source.more_tables
    if by_user:
        check.watched_until = at + WEEK
    db.session.flush()
    evaluate.evaluate([account_id], at)
    lasting = select(Finding.id).where(
        Finding.account_id == account_id,
        Finding.connection_id == connection_id,
        Finding.rule.in_(LASTING),
        Finding.recovered_at.is_(None),
    )
    is_watched = at + DAY < check.watched_until or db.session.scalar(lasting.limit(1)) is not None
    check.due_at = at + DAY if is_watched else None
    db.session.commit()


def due(at: datetime, most: int = 100) -> list[tuple[int, ...]]:
    """Return account id and connection id of the checks that are due, the oldest first."""
    return leases.ready_keys(DataCheck, at, most)


def lease(account_id: int, connection_id: int, at: datetime) -> DataCheck | None:
    """Return the check, leased for ``LEASE``; None if not due or already leased. Commits."""
    return leases.lease(DataCheck, (account_id, connection_id), at, LEASE)


def reschedule(check: DataCheck, at: datetime) -> None:
    """Set a failed check due again in a day, unless its figures are then too old. Commits."""
    is_recent = check.checked_at is not None and at + DAY < check.checked_at + WEEK
    check.due_at, check.leased_until = (at + DAY if is_recent else None), None
    db.session.commit()


def delete_checks_of(account_id: int, connection_id: int) -> None:
    """Delete the check of a removed connection. Commits."""
    change(
        delete(DataCheck).where(
            DataCheck.account_id == account_id, DataCheck.connection_id == connection_id
        )
    )
    db.session.commit()
