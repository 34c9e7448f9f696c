"""A made-up fleet for reports and timelines: findings with a history, at chosen times."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, update

from dashboard.core.database import db
from dashboard.findings import causes
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Account, ConnectionCount
from dashboard.refresh.models import Refresh

AT = datetime(2026, 3, 31, 7, 12, tzinfo=UTC)


def ago(**span: float) -> datetime:
    """Return a time before ``AT``."""
    return AT - timedelta(**span)


def reset_fleet(counts: dict[str, int] = {}) -> None:
    """Delete findings and causes; store one refresh and these numbers of connections.

    The refresh ended two minutes before ``AT``; ``counts`` is by severity.
    """
    for table in (Finding, Cause, Refresh, ConnectionCount):
        db.session.execute(delete(table))
    db.session.execute(update(Account).values(unreadable_reason=None))
    db.session.add(
        Refresh(started_at=ago(minutes=3), alive_at=ago(minutes=2), ended_at=ago(minutes=2))
    )
    for severity, count in counts.items():
        db.session.add(
            ConnectionCount(
                severity=severity, status=severity.upper(), connector="any", connections=count
            )
        )
    db.session.commit()


def add_cause(
    rule: str,
    connector: str,
    severity: str = "critical",
    example: str = "No reason given.",
    **more: Any,
) -> Cause:
    """Add a cause without findings; ``add_finding`` updates its counters."""
    values = {"state": "open", "since": AT, "text": example, **more}
    key = causes.Key(rule, connector, example).hashed
    made = Cause(
        key=key, rule=rule, connector=connector, severity=severity, example=example, **values
    )
    db.session.add(made)
    db.session.flush()
    return made


def add_finding(
    cause: Cause,
    account_id: int,
    connection_id: int | None,
    seen: datetime,
    recovered: datetime | None = None,
) -> Finding:
    """Add a finding to a cause and update the cause's counters. Commits."""
    made = Finding(
        account_id=account_id,
        connection_id=connection_id,
        rule=cause.rule,
        connector=cause.connector,
        cause_id=cause.id,
        severity=cause.severity,
        state="recovered" if recovered else "open",
        evidence=cause.example,
        first_seen_at=seen,
        confirmed_at=seen,
        recovered_at=recovered,
    )
    db.session.add(made)
    db.session.flush()
    cause.since = min(cause.since, seen)
    mine = list(db.session.scalars(db.select(Finding).where(Finding.cause_id == cause.id)))
    open_findings = [each for each in mine if each.recovered_at is None]
    cause.connections = sum(each.connection_id is not None for each in open_findings)
    cause.accounts = len({each.account_id for each in open_findings})
    if not open_findings:
        cause.state, cause.recovered_at = (
            "recovered",
            max(each.recovered_at for each in mine if each.recovered_at),
        )
    elif cause.state == "recovered":
        cause.state, cause.recovered_at = "open", None
    db.session.commit()
    return made
