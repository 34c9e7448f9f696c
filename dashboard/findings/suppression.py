"""Suppression of findings and causes: always until a date and with a reason."""

from datetime import datetime, timedelta

from sqlalchemy import update

from dashboard.core.database import change, db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.findings.evaluate import expire_states
from dashboard.findings.limits import SUPPRESSION_DAYS
from dashboard.findings.models import RECOVERED, STATES, SUPPRESSED, Cause, Finding

_RANK = STATES.index(SUPPRESSED)


class NoReason(ValueError):
    """A missing reason or an invalid number of days; the message is a sentence for the user."""


def suppress(row: Finding | Cause, user_email: str, reason: str, days: int, at: datetime) -> None:
    """Suppress a finding, or a cause with its present and future findings. Commits.

    Raises:
        NoReason: The reason is empty, or ``days`` is not one of ``SUPPRESSION_DAYS``.
    """
    if not reason.strip():
        raise NoReason("Say why: the page shows the reason while this is suppressed.")
    if days not in SUPPRESSION_DAYS:
        raise NoReason(f"It can be suppressed for {', '.join(map(str, SUPPRESSION_DAYS))} days.")
    # With the lock no evaluation runs, so each finding that joins the cause later is suppressed.
    lock_snapshot()
    row.suppressed_until = at + timedelta(days=days)
    row.suppressed_by = user_email
    row.suppressed_reason = reason.strip()[:500]
    if row.state != RECOVERED:
        row.state = SUPPRESSED
    if isinstance(row, Cause):
        behind = update(Finding).where(Finding.cause_id == row.id, Finding.recovered_at.is_(None))
        change(behind.values(state=SUPPRESSED, state_rank=_RANK))
    db.session.commit()


def unsuppress(row: Finding | Cause, at: datetime) -> None:
    """End the suppression of a finding or cause. Commits."""
    row.suppressed_until = row.suppressed_by = row.suppressed_reason = None
    db.session.commit()
    expire_states(at)
