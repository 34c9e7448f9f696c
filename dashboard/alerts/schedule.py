"""Times at which a rule may send, local to its zone: quiet hours and the daily digest.

When clocks are put back, one hour occurs twice: a digest is due in the first one, and quiet hours
cover both.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from dashboard.alerts.limits import DIGEST_WITHIN
from dashboard.alerts.models import AlertRule
from dashboard.core.times import local_time


def quiet_until(rule: AlertRule, at: datetime) -> datetime | None:
    """Return when the quiet hours around ``at`` end, in UTC; None outside quiet hours."""
    if rule.quiet_from is None or rule.quiet_to is None:
        return None
    local = at.astimezone(ZoneInfo(rule.zone))
    minute = local.hour * 60 + local.minute
    over_midnight = rule.quiet_from > rule.quiet_to
    late, early = minute >= rule.quiet_from, minute < rule.quiet_to
    if not (late or early if over_midnight else late and early):
        return None
    day = local.date() + timedelta(days=1) if over_midnight and late else local.date()
    end = local_time(day, rule.quiet_to, rule.zone)
    return end if end > at else local_time(day, rule.quiet_to, rule.zone, second=True)


def digest_due(rule: AlertRule, at: datetime) -> date | None:
    """Return the day, in the rule's zone, whose digest is due at ``at``.

    Returns None before the digest's time, and ``DIGEST_WITHIN`` after it.
    """
    if rule.digest_at is None:
        return None
    today = at.astimezone(ZoneInfo(rule.zone)).date()
    for day in (today, today - timedelta(days=1)):
        if timedelta() <= at - local_time(day, rule.digest_at, rule.zone) < DIGEST_WITHIN:
            return day
    return None
