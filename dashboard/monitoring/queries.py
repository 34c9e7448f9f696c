"""The service status, read from the database: worker, API, snapshot, backup."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from dashboard.core.database import db, upsert
from dashboard.findings.models import Finding
from dashboard.findings.rules.definitions import FINDING_SEVERITIES
from dashboard.fleet.models import SEVERITIES, Account, AccountRefreshState, ConnectionCount
from dashboard.refresh import passes
from dashboard.tasks.periodic import PeriodicTask
from dashboard.tasks.queues import WRITTEN, WRITTEN_EVERY

# Name of the task row that holds when a backup was last made. The row ``WRITTEN`` is written to
# every ``WRITTEN_EVERY`` by any process: it shows a database that can be read but not written to,
# because its disk is full or it is a replica.
BACKUP: Final = "backup"


@dataclass(frozen=True)
class ServiceStatus:
    """Times of the latest events; each None if it has not happened yet.

    ``ticked_at``: when the worker's minute task is due next. ``snapshot_at``: end of the last
    complete refresh. ``pass_alive_at``: last sign of life of the latest refresh. ``answered_at``:
    last successful read of an account. ``backup_at``: when ``dashboard backup`` last wrote a file.
    """

    ticked_at: datetime | None
    snapshot_at: datetime | None
    pass_alive_at: datetime | None
    answered_at: datetime | None
    backup_at: datetime | None


@dataclass(frozen=True)
class Counts:
    """Numbers of objects. The dicts have every severity, also those with none."""

    findings: dict[str, int]
    connections: dict[str, int]
    accounts: int
    unreadable: int


def read() -> ServiceStatus:
    """Read the service status."""
    latest, complete, _ = passes.known()
    jobs = dict(
        db.session.execute(
            select(PeriodicTask.name, PeriodicTask.due_at).where(
                PeriodicTask.name.in_(("tick", BACKUP))
            )
        ).all()
    )
    answered = db.session.scalar(select(func.max(AccountRefreshState.checked_at)))
    return ServiceStatus(
        jobs.get("tick"),
        complete,
        latest.alive_at if latest is not None else None,
        answered,
        jobs.get(BACKUP),
    )


def backup_made(at: datetime) -> None:
    """Record that a backup was made. Does not commit."""
    upsert(PeriodicTask, [{"name": BACKUP, "due_at": at}])


def ensure_writable(at: datetime) -> None:
    """Return if the database accepts a row, written at most once every ten seconds. Commits.

    Raises:
        SQLAlchemyError: it does not.
    """
    last = db.session.scalar(select(PeriodicTask.due_at).where(PeriodicTask.name == WRITTEN))
    if last is not None and timedelta() <= at - last < WRITTEN_EVERY:
        return
    try:
        upsert(PeriodicTask, [{"name": WRITTEN, "due_at": at}])
        db.session.commit()
    except SQLAlchemyError:
        db.session.rollback()
        raise


def count() -> Counts:
    """Count active findings, listed connections and accounts."""
    gravities = Counter(dict.fromkeys(FINDING_SEVERITIES, 0))
    active = (
        select(Finding.severity, func.count())
        .where(Finding.recovered_at.is_(None))
        .group_by(Finding.severity)
    )
    gravities.update({severity: int(number) for severity, number in db.session.execute(active)})
    severities = Counter(dict.fromkeys(SEVERITIES, 0))
    kinds = select(ConnectionCount.severity, func.sum(ConnectionCount.connections)).group_by(
        ConnectionCount.severity
    )
    severities.update({severity: int(number) for severity, number in db.session.execute(kinds)})
    listed = select(func.count(), func.count(Account.unreadable_reason)).where(
        Account.gone_at.is_(None)
    )
    accounts, unreadable = db.session.execute(listed).one()
    return Counts(dict(gravities), dict(severities), accounts, unreadable)
