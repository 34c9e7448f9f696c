"""The number of connections by severity, stored once an hour."""

from datetime import datetime

from sqlalchemy import func, select

from dashboard.core.database import db, upsert
from dashboard.fleet.models import SEVERITIES, ConnectionCount, HourlyConnectionCount


def save_hourly_counts(at: datetime) -> None:
    """Store the number of connections of each severity for the hour of ``at``. Commits.

    A later call in the same hour replaces the numbers.
    """
    counting = select(ConnectionCount.severity, func.sum(ConnectionCount.connections)).group_by(
        ConnectionCount.severity
    )
    counted = {severity: int(count) for severity, count in db.session.execute(counting)}
    hour = at.replace(minute=0, second=0, microsecond=0)
    rows = [
        {"hour": hour, "severity": severity, "connections": counted.get(severity, 0)}
        for severity in SEVERITIES
    ]
    upsert(HourlyConnectionCount, rows)
    db.session.commit()
