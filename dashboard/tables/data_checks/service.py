"""Stores what the warehouse counted of a connection's tables, and decides when it is counted again.

A connection is checked when somebody asks, and once a day for a week after; while it has a finding that rests on such a check
(``LASTING``), for as long as it has one. Figures older than a week are no evidence any more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select, update

from dashboard.core.database import change, db, is_free
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.findings import evaluate
from dashboard.findings.models import DataCheck, Finding
from dashboard.tables.health import service as table_checks

DAY, WEEK, LEASE = timedelta(days=1), evaluate.DATA_LASTS, timedelta(minutes=5)
# A table that gets no rows may be one that never changes: that is no reason to count it each day for good.
LASTING: Final = ("duplicate_keys", "mixed_versions", "parent_table_empty")


@dataclass(frozen=True)
class CountedTable:
    """A table as the warehouse counted it. ``key`` and the others name its columns, empty where it has none of that kind."""

    name: str
    key: str = ""
    version: str = ""
    deleted: str = ""
    received: str = ""
    rows: int = 0
    keys: int | None = None
    versions: int | None = None
    received_at: str | None = None


def of_connection(account_id: int, connection_id: int) -> DataCheck | None:
    """The latest check of a connection's data; None where there was none."""
    return db.session.get(DataCheck, (account_id, connection_id))


def is_fresh(account_id: int, connection_id: int, at: datetime) -> bool:
    """Whether the data was checked so short a time ago that it need not be checked again."""
    check = of_connection(account_id, connection_id)
    return check is not None and at - check.checked_at < table_checks.FRESH


def tables_of(check: DataCheck) -> list[CountedTable]:
    """The tables of a check."""
    return [CountedTable(**each) for each in check.tables]


def write(
    account_id: int,
    connection_id: int,
    tables: Sequence[CountedTable],
    at: datetime,
    *,
    asked: bool,
    **place: Any,
) -> None:
    """Store a check and evaluate the account's findings. Commits.

    ``asked``: by a person, so that the connection is checked daily for a week from now. ``place``: ``warehouse``,
    ``schema_name`` and ``more_tables``, see ``DataCheck``.
    """
    lock_snapshot()
    check = of_connection(account_id, connection_id)
    if check is None:
        check = DataCheck(account_id=account_id, connection_id=connection_id, watched_until=at)
        db.session.add(check)
    check.tables, check.checked_at, check.leased_until = [asdict(each) for each in tables], at, None
    for name, value in place.items():
        setattr(check, name, value)
    if asked:
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


def due(at: datetime, most: int = 100) -> list[tuple[int, int]]:
    """Account and connection of the checks that are due."""
    found = select(DataCheck.account_id, DataCheck.connection_id).where(
        DataCheck.due_at <= at, is_free(DataCheck, at)
    )
    return [
        (row.account_id, row.connection_id)
        for row in db.session.execute(found.order_by(DataCheck.due_at).limit(most))
    ]


def lease(account_id: int, connection_id: int, at: datetime) -> DataCheck | None:
    """The check, if it is due and no other worker has it. Commits."""
    mine = update(DataCheck).where(
        DataCheck.account_id == account_id, DataCheck.connection_id == connection_id
    )
    taken = change(
        mine.where(DataCheck.due_at <= at, is_free(DataCheck, at)).values(leased_until=at + LEASE)
    )
    db.session.commit()
    if not taken:
        return None
    check = db.session.get_one(DataCheck, (account_id, connection_id))
    db.session.refresh(check)
    return check


def reschedule(check: DataCheck, at: datetime) -> None:
    """It failed: again in a day, or not at all when its figures have become too old to be evidence. Commits."""
    is_of_use = check.checked_at is not None and at + DAY < check.checked_at + WEEK
    check.due_at, check.leased_until = (at + DAY if is_of_use else None), None
    db.session.commit()


def delete_checks_of(account_id: int, connection_id: int) -> None:
    """Delete the check of a connection that is gone. Commits."""
    change(
        delete(DataCheck).where(
            DataCheck.account_id == account_id, DataCheck.connection_id == connection_id
        )
    )
    db.session.commit()
