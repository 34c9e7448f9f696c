"""Due times of a schedule: minutes after the last start, or at a time of day in its zone."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from dashboard.core.times import MINUTES_A_DAY, local_time, shown_minute
from dashboard.pulls.models import PullSchedule

HOUR: Final = 60
# Minutes between two pulls, with the word that follows "every".
EVERY: Final[Mapping[int, str]] = {
    HOUR: "hour",
    6 * HOUR: "six hours",
    12 * HOUR: "twelve hours",
    MINUTES_A_DAY: "day",
    7 * MINUTES_A_DAY: "week",
}


def next_due(schedule: PullSchedule, began_at: datetime) -> datetime:
    """Return when the schedule runs next, after a pull that started at ``began_at``.

    With a time of day, it is the first such time after the interval minus one day. So a pull that
    started late does not delay all later ones. When clocks are put back, it is the first of the two
    equal times.
    """
    if schedule.at_minute is None:
        return began_at + timedelta(minutes=schedule.every)
    from_then = began_at + timedelta(minutes=schedule.every - MINUTES_A_DAY)
    day = from_then.astimezone(ZoneInfo(schedule.zone)).date()
    if (due := local_time(day, schedule.at_minute, schedule.zone)) > from_then:
        return due
    return local_time(day + timedelta(days=1), schedule.at_minute, schedule.zone)


def due_after(schedule: PullSchedule, began_at: datetime, at: datetime) -> datetime:
    """Return when the schedule runs next, after a pull that ended at ``at``.

    A pull that took longer than the interval is followed at once, or at the next time of day.
    """
    due = next_due(schedule, began_at)
    if due > at:
        return due
    return at if schedule.at_minute is None else next_due(schedule, at)


def when_words(schedule: PullSchedule) -> str:
    """Return interval and time of day as a text."""
    often = f"every {EVERY[schedule.every]}"
    return (
        often
        if schedule.at_minute is None
        else f"{often} at {shown_minute(schedule.at_minute)}, {schedule.zone}"
    )
