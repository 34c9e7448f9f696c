"""What is forgotten, and when: history, runs and what recovered, older than the operator wants to keep them.

Of the audit trail goes what counts repetitions (what failed or was refused); the rest stays.
"""

from datetime import datetime

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import aliased

from dashboard.alerts.models import AlertMessage
from dashboard.alerts.outbox import WAITING
from dashboard.audit.models import AuditEntry
from dashboard.core.database import MOST_AT_ONCE, change, db
from dashboard.deliveries.models import Delivery
from dashboard.exports.models import Export
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import HealthChange, HourlyConnectionCount, Run
from dashboard.refresh.models import Refresh
from dashboard.tables.health.models import TableCheck
from dashboard.users.models import UserSession


def delete_old(before: datetime) -> int:
    """Delete changes of status, runs, passes, counts by the hour, recovered findings, alerts, exports, deliveries, looks,
    sign-ins, refusals; how many rows.

    What is older than ``before`` goes; looks are those at customers' tables. ``before`` is days ago: no sign-in lasts as long.

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
    passes = select(Refresh.id).where(
        Refresh.ended_at < before, Refresh.id < select(func.max(Refresh.id)).scalar_subquery()
    )
    recovered = select(Finding.id).where(Finding.recovered_at < before)
    # What a cause that is still open was told by keeps it from being told again.
    told = select(AlertMessage.id).outerjoin(Cause, Cause.id == AlertMessage.cause_id)
    told = told.where(
        AlertMessage.created_at < before, or_(Cause.id.is_(None), Cause.recovered_at < before)
    )
    told = told.where(AlertMessage.state != WAITING)
    forgotten = 0
    exported = select(Export.id).where(Export.ended_at < before)
    delivered = select(Delivery.id).where(Delivery.settled_at < before)
    looked = select(TableCheck.id).where(TableCheck.at < before)
    signed_in = select(UserSession.id).where(UserSession.started_at < before)
    refused = select(AuditEntry.id).where(AuditEntry.group_key.is_not(None), AuditEntry.at < before)
    olds = (
        (refused, AuditEntry),
        (changes, HealthChange),
        (passes, Refresh),
        (recovered, Finding),
        (told, AlertMessage),
        (exported, Export),
        (delivered, Delivery),
        (looked, TableCheck),
        (signed_in, UserSession),
    )
    for old, table in olds:
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
    forgotten += change(delete(HourlyConnectionCount).where(HourlyConnectionCount.hour < before))
    db.session.commit()
    return forgotten
