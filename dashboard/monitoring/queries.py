"""How the console itself fares, told from the store: when a worker and Peliqan were last heard of, how old the snapshot is."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from dashboard.core.database import db, upsert
from dashboard.findings.models import Finding
from dashboard.findings.rules.registry import GRAVITIES
from dashboard.fleet.models import SEVERITIES, Account, AccountRefreshState, ConnectionCount
from dashboard.refresh import passes
from dashboard.tasks.periodic import PeriodicTask
from dashboard.tasks.queue import WRITTEN, WRITTEN_EVERY

# The job's row that is written to, so that a store that can be read and not written to is noticed: its disk is full, or it is a
# replica. All processes write it together, once in so long.
# The job's row that holds when a backup was last made.
BACKUP: Final = "backup"


@dataclass(frozen=True)
class ServiceStatus:
    """Each None where it has not happened yet. ``snapshot_at``: when the last complete pass ended; ``pass_alive_at``: when the
    pass under way, or else the last one, was last written to; ``answered_at``: when an account was last read well;
    ``backup_at``: when ``dashboard backup`` last wrote a file."""

    ticked_at: datetime | None
    snapshot_at: datetime | None
    pass_alive_at: datetime | None
    answered_at: datetime | None
    backup_at: datetime | None


@dataclass(frozen=True)
class Counts:
    """How many of what. Every severity is there, also those with none."""

    findings: dict[str, int]
    connections: dict[str, int]
    accounts: int
    unreadable: int


def read() -> ServiceStatus:
    """Read the latest of each from the store."""
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
    """Note that a backup was made. Does not commit."""
    upsert(PeriodicTask, [{"name": BACKUP, "due_at": at}])


def ensure_writable(at: datetime) -> None:
    """Return if the store takes a row: one is written at most every ten seconds. Commits.

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
    """As of now. Findings are those that hold, connections those that lists show."""
    gravities = Counter(dict.fromkeys(GRAVITIES, 0))
    held = (
        select(Finding.severity, func.count())
        .where(Finding.recovered_at.is_(None))
        .group_by(Finding.severity)
    )
    gravities.update({severity: int(number) for severity, number in db.session.execute(held)})
    severities = Counter(dict.fromkeys(SEVERITIES, 0))
    kinds = select(ConnectionCount.severity, func.sum(ConnectionCount.connections)).group_by(
        ConnectionCount.severity
    )
    severities.update({severity: int(number) for severity, number in db.session.execute(kinds)})
    there = select(func.count(), func.count(Account.unreadable_reason)).where(
        Account.gone_at.is_(None)
    )
    accounts, unreadable = db.session.execute(there).one()
    return Counts(dict(gravities), dict(severities), accounts, unreadable)
