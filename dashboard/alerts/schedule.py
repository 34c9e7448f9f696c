"""When a rule may speak, by the clock on the wall of its zone: quiet hours, and the moment of the morning's digest.

Of an hour that comes twice when the clock is put back, a digest takes the first, and quiet hours are quiet in both.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from dashboard.alerts.models import AlertRule
from dashboard.core.times import on_wall

# A digest that no worker could send for so long is left out.
DIGEST_WITHIN = timedelta(hours=12)


def quiet_until(rule: AlertRule, at: datetime) -> datetime | None:
    """When the quiet hours end that ``at`` falls into, in UTC; None outside of them."""
    if rule.quiet_from is None or rule.quiet_to is None:
        return None
    local = at.astimezone(ZoneInfo(rule.zone))
    minute = local.hour * 60 + local.minute
    over_midnight = rule.quiet_from > rule.quiet_to
    late, early = minute >= rule.quiet_from, minute < rule.quiet_to
    if not (late or early if over_midnight else late and early):
        return None
    day = local.date() + timedelta(days=1) if over_midnight and late else local.date()
    end = on_wall(day, rule.quiet_to, rule.zone)
    return end if end > at else on_wall(day, rule.quiet_to, rule.zone, second=True)


def digest_due(rule: AlertRule, at: datetime) -> date | None:
    """The day, in the rule's zone, whose digest should be out by now; None where its minute is yet to come or long over."""
    if rule.digest_at is None:
        return None
    today = at.astimezone(ZoneInfo(rule.zone)).date()
    for day in (today, today - timedelta(days=1)):
        if timedelta() <= at - on_wall(day, rule.digest_at, rule.zone) < DIGEST_WITHIN:
            return day
    return None
