"""Queries about findings and causes for pages and reports; the lists are in ``lists.py``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import contains_eager

from dashboard.core import row_access
from dashboard.core.cache import cached
from dashboard.core.database import db
from dashboard.findings.models import RECOVERED, SUPPRESSED, Cause, Finding
from dashboard.fleet.models import Account, Connection

DAY = timedelta(hours=24)
TREND_POINTS = 56
# The first condition follows from the second, but the index of contradictions begins with it.
_CONTRADICTS = (
    Finding.contradicts,
    Finding.recovered_at.is_(None),
    Finding.state.not_in((RECOVERED, SUPPRESSED)),
)


@dataclass(frozen=True)
class CauseDelta:
    """How many findings of a cause appeared and recovered within 24 hours."""

    came: int = 0
    went: int = 0


def cause_or_none(cause_id: int) -> Cause | None:
    """Return one cause."""
    return db.session.get(Cause, cause_id)


def is_fully_visible(cause: Cause) -> bool:
    """Return whether the user may see the accounts of all findings of a cause."""
    if not row_access.is_restricted():
        return True
    counting = select(func.count()).select_from(Finding).where(Finding.cause_id == cause.id)
    with row_access.unrestricted():
        total = db.session.scalar(counting)
    return db.session.scalar(counting) == total


def finding_or_none(finding_id: int) -> Finding | None:
    """Return one finding."""
    return db.session.get(Finding, finding_id)


def of_connection(account_id: int, connection_id: int) -> list[Finding]:
    """Return the current findings of a connection with their causes, worst first."""
    return list(
        db.session.scalars(_current(account_id).where(Finding.connection_id == connection_id))
    )


def of_account(account_id: int) -> list[Finding]:
    """Return the current findings of an account itself with their causes, worst first."""
    return list(db.session.scalars(_current(account_id).where(Finding.connection_id.is_(None))))


def _current(account_id: int) -> Select[Finding]:
    return (
        select(Finding)
        .join(Finding.cause)
        .options(contains_eager(Finding.cause))
        .where(Finding.account_id == account_id, Finding.recovered_at.is_(None))
        .order_by(Finding.severity_rank, Finding.id)
    )


def worst_causes(most: int) -> list[Cause]:
    """Return the current causes with the highest severity and the most accounts."""
    current = select(Cause).where(Cause.state.not_in((RECOVERED, SUPPRESSED)))
    return list(
        db.session.scalars(
            current.order_by(Cause.severity_rank, Cause.accounts.desc(), Cause.id).limit(most)
        )
    )


def count_causes() -> tuple[int, int]:
    """Return the number of current causes and of connections with one. Cached."""
    return cached("causes and what has them", _count_causes)


def _count_causes() -> tuple[int, int]:
    causes = (
        db.session.scalar(select(func.count()).where(Cause.state.not_in((RECOVERED, SUPPRESSED))))
        or 0
    )
    behind = select(Finding.account_id, Finding.connection_id).where(
        Finding.state.not_in((RECOVERED, SUPPRESSED)), Finding.connection_id.is_not(None)
    )
    return causes, db.session.scalar(
        select(func.count()).select_from(behind.distinct().subquery())
    ) or 0


def contradictions(most: int) -> tuple[list[Finding], int]:
    """Return findings of connections that Peliqan calls healthy: the worst few, and the total."""
    shown = (
        select(Finding)
        .join(Finding.account)
        .join(Finding.connection)
        .options(
            contains_eager(Finding.account).load_only(Account.name, Account.external_id),
            contains_eager(Finding.connection).load_only(
                Connection.name,
                Connection.connector,
                Connection.status,
                Connection.severity,
                Connection.last_success_at,
            ),
        )
        .where(*_CONTRADICTS)
        .order_by(Finding.severity_rank, Finding.first_seen_at.desc(), Finding.id)
    )
    return list(db.session.scalars(shown.limit(most))), count_contradictions()


def count_contradictions() -> int:
    """Return the number of findings that contradict Peliqan's status. Cached."""
    return cached(
        "contradictions", lambda: db.session.scalar(select(func.count()).where(*_CONTRADICTS)) or 0
    )


def cause_deltas(causes: Sequence[Cause], at: datetime) -> dict[int, CauseDelta]:
    """Return how these causes changed in the 24 hours before ``at``, by cause id."""
    ids = [cause.id for cause in causes]
    appeared = select(Finding.cause_id, func.count()).where(
        Finding.cause_id.in_(ids), Finding.first_seen_at > at - DAY
    )
    recovered = select(Finding.cause_id, func.count()).where(
        Finding.cause_id.in_(ids), Finding.recovered_at > at - DAY
    )
    more = dict(db.session.execute(appeared.group_by(Finding.cause_id)).all())
    less = dict(db.session.execute(recovered.group_by(Finding.cause_id)).all())
    return {id: CauseDelta(more.get(id, 0), less.get(id, 0)) for id in ids}


def trend(cause: Cause, at: datetime, days: int = 7) -> list[tuple[datetime, int]]:
    """Return the number of open findings of a cause at 56 even steps up to ``at``."""
    step = timedelta(days=days) / TREND_POINTS
    start = at - step * (TREND_POINTS - 1)
    spans = select(Finding.first_seen_at, Finding.recovered_at).where(Finding.cause_id == cause.id)
    spans = spans.where((Finding.recovered_at.is_(None)) | (Finding.recovered_at > start))
    change = [0] * (TREND_POINTS + 1)

    def step_of(time: datetime) -> int:
        return min(TREND_POINTS, max(0, -(-(time - start) // step)))

    for first_seen_at, recovered_at in db.session.execute(spans):
        change[step_of(first_seen_at)] += 1
        if recovered_at is not None:
            change[step_of(recovered_at)] -= 1
    points, now = [], 0
    for number in range(TREND_POINTS):
        now += change[number]
        points.append((start + step * number, now))
    return points
