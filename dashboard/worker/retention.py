"""Deletion of history, runs and recovered findings after the configured time.

Of the audit trail, only grouped entries (failed and refused attempts) are deleted.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, or_, select
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
    """Delete data older than ``before``; return the number of rows. Commits, in small steps.

    This covers status changes, runs, refreshes, hourly counts, recovered findings, alert messages,
    exports, deliveries, table checks, user sessions and grouped audit entries. ``before`` is days
    ago, so no session that is deleted can be valid. The newest status change and run of each
    connection stay, since they are its current state.
    """
    total = 0
    for table, ids in _old_rows(before):
        while deleted := change(delete(table).where(table.id.in_(ids.limit(MOST_AT_ONCE)))):
            db.session.commit()
            total += deleted
    newer = aliased(Run)
    newest = (
        select(func.max(newer.id))
        .where(newer.account_id == Run.account_id, newer.connection_id == Run.connection_id)
        .correlate(Run)
        .scalar_subquery()
    )
    total += change(delete(Run).where(Run.started_at < before, Run.id < newest))
    total += change(delete(HourlyConnectionCount).where(HourlyConnectionCount.hour < before))
    db.session.commit()
    return total


def _old_rows(before: datetime) -> Iterator[tuple[Any, Select[Any]]]:
    """Yield tables, each with the query of the ids to delete, in the order of deletion."""
    is_grouped = AuditEntry.group_key.is_not(None)
    yield AuditEntry, select(AuditEntry.id).where(is_grouped, AuditEntry.at < before)
    newer = aliased(HealthChange)
    has_newer = (
        select(newer.id)
        .where(
            newer.account_id == HealthChange.account_id,
            newer.connection_id == HealthChange.connection_id,
            newer.at > HealthChange.at,
        )
        .exists()
    )
    yield HealthChange, select(HealthChange.id).where(HealthChange.at < before, has_newer)
    newest = select(func.max(Refresh.id)).scalar_subquery()
    yield Refresh, select(Refresh.id).where(Refresh.ended_at < before, Refresh.id < newest)
    yield Finding, select(Finding.id).where(Finding.recovered_at < before)
    # The message of an open cause stays, since its key keeps the cause from being sent again.
    yield (
        AlertMessage,
        select(AlertMessage.id)
        .outerjoin(Cause, Cause.id == AlertMessage.cause_id)
        .where(
            AlertMessage.created_at < before,
            or_(Cause.id.is_(None), Cause.recovered_at < before),
            AlertMessage.state != WAITING,
        ),
    )
    yield Export, select(Export.id).where(Export.ended_at < before)
    yield Delivery, select(Delivery.id).where(Delivery.settled_at < before)
    yield TableCheck, select(TableCheck.id).where(TableCheck.at < before)
    yield UserSession, select(UserSession.id).where(UserSession.started_at < before)
