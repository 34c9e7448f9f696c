"""When a schedule's next pull is due: so many minutes after the last began, or at a time of day by the clock of its zone."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from dashboard.core.times import MINUTES_A_DAY, on_wall, shown_minute
from dashboard.pulls.models import PullSchedule

HOUR: Final = 60
# Minutes from one pull to the next, and the word that follows "every".
EVERY: Final[Mapping[int, str]] = {
    HOUR: "hour",
    6 * HOUR: "six hours",
    12 * HOUR: "twelve hours",
    MINUTES_A_DAY: "day",
    7 * MINUTES_A_DAY: "week",
}


def next_due(schedule: PullSchedule, began_at: datetime) -> datetime:
    """When it runs next, after a pull that began at ``began_at``.

    With a time of day: the first time that its clock shows it from the last of the days between on, so that a pull which began
    late does not put off all that follow. On the day when the clock is put back, the first of the two.
    """
    if schedule.at_minute is None:
        return began_at + timedelta(minutes=schedule.every)
    from_then = began_at + timedelta(minutes=schedule.every - MINUTES_A_DAY)
    day = from_then.astimezone(ZoneInfo(schedule.zone)).date()
    if (due := on_wall(day, schedule.at_minute, schedule.zone)) > from_then:
        return due
    return on_wall(day + timedelta(days=1), schedule.at_minute, schedule.zone)


def due_after(schedule: PullSchedule, began_at: datetime, at: datetime) -> datetime:
    """When it runs next, after a pull that ended at ``at``: one that took longer than it may goes on at once, or by its clock."""
    due = next_due(schedule, began_at)
    if due > at:
        return due
    return at if schedule.at_minute is None else next_due(schedule, at)


def when_words(schedule: PullSchedule) -> str:
    """How often and when, for people."""
    often = f"every {EVERY[schedule.every]}"
    return (
        often
        if schedule.at_minute is None
        else f"{often} at {shown_minute(schedule.at_minute)}, {schedule.zone}"
    )
