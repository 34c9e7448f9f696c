"""Sparing people a finding or a cause they know of: always until a date, always with a reason."""

from datetime import datetime, timedelta

from sqlalchemy import update

from dashboard.core.database import change, db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.findings.evaluate import expire_states
from dashboard.findings.models import RECOVERED, STATES, SUPPRESSED, Cause, Finding

DAYS = (1, 3, 7, 30)
_RANK = STATES.index(SUPPRESSED)


class NoReason(ValueError):
    """A sentence: nobody is spared anything without a reason, or for longer than a month."""


def suppress(row: Finding | Cause, who: str, reason: str, days: int, at: datetime) -> None:
    """Spare people this finding, or this cause with all that is and comes to be behind it, for some days. Commits.

    Raises:
        NoReason: no reason was given, or other days than ``DAYS``.
    """
    if not reason.strip():
        raise NoReason("Say why: whoever finds it suppressed will want to know.")
    if days not in DAYS:
        raise NoReason(f"It can be suppressed for {', '.join(map(str, DAYS))} days.")
    # Nobody evaluates meanwhile: what joins the cause from here on finds it suppressed.
    lock_snapshot()
    row.suppressed_until, row.suppressed_by, row.suppressed_reason = (
        at + timedelta(days=days),
        who,
        reason.strip()[:500],
    )
    if row.state != RECOVERED:
        row.state = SUPPRESSED
    if isinstance(row, Cause):
        behind = update(Finding).where(Finding.cause_id == row.id, Finding.recovered_at.is_(None))
        change(behind.values(state=SUPPRESSED, state_rank=_RANK))
    db.session.commit()


def unsuppress(row: Finding | Cause, at: datetime) -> None:
    """Spare people no longer. Commits."""
    row.suppressed_until = row.suppressed_by = row.suppressed_reason = None
    db.session.commit()
    expire_states(at)
