"""What is forgotten, and when: history, runs and what recovered, older than the operator wants to keep them.

The audit trail stays whole.
"""

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import aliased

from dashboard.store.database import change, db
from dashboard.store.models import Finding, FleetHour, HealthChange, Refresh, Run

MOST_AT_ONCE = 5_000


def forget(before: datetime) -> int:
    """Delete status changes, runs, passes, counts by the hour and recovered findings older than ``before``; how many rows.

    Commits, in small steps.

    The newest change and the newest run of each connection stay, however old: they say what is so now.
    """
    newer_change, newer_run = aliased(HealthChange), aliased(Run)
    changes = select(HealthChange.id).where(
        HealthChange.at < before,
        select(newer_change.id)
        .where(
            newer_change.account_id == HealthChange.account_id,
            newer_change.connection_id == HealthChange.connection_id,
            newer_change.at > HealthChange.at,
        )
        .exists(),
    )
    passes = select(Refresh.id).where(Refresh.ended_at < before, Refresh.id < select(func.max(Refresh.id)).scalar_subquery())
    recovered = select(Finding.id).where(Finding.recovered_at < before)
    forgotten = 0
    for old, table in ((changes, HealthChange), (passes, Refresh), (recovered, Finding)):
        while deleted := change(delete(table).where(table.id.in_(old.limit(MOST_AT_ONCE)))):
            db.session.commit()
            forgotten += deleted
    newest = (
        select(func.max(newer_run.id))
        .where(newer_run.account_id == Run.account_id, newer_run.connection_id == Run.connection_id)
        .correlate(Run)
        .scalar_subquery()
    )
    forgotten += change(delete(Run).where(Run.started_at < before, Run.id < newest))
    forgotten += change(delete(FleetHour).where(FleetHour.hour < before))
    db.session.commit()
    return forgotten
