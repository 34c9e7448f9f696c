"""The clock on somebody's wall: a minute of a day in a time zone, for what people set by the clock.

An hour that the change to summer time leaves out begins when the clock is put forward.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

# A loader's clock is not ours; but what is far in the future is no time at which a row changed or came.
CLOCK_SKEW: Final = timedelta(days=1)

MINUTES_A_DAY: Final = 24 * 60


def on_wall(day: date, minute: int, zone: str, *, second: bool = False) -> datetime:
    """A minute of a day as the clock in that zone shows it, in UTC; ``second``: where it comes twice, the later."""
    wall = datetime.combine(day, time(minute // 60, minute % 60), ZoneInfo(zone)).replace(
        fold=int(second)
    )
    return wall.astimezone(UTC)


def shown_minute(minute: int | None) -> str:
    """``07:30``, as forms have it; nothing for None."""
    return f"{minute // 60:02}:{minute % 60:02}" if minute is not None else ""


def read_minute(text: str) -> int | None:
    """The minute of the day that somebody typed; None for nothing.

    Raises:
        ValueError: a sentence, where it is no time of day.
    """
    if not text.strip():
        return None
    hours, _, minutes = text.strip()[:5].partition(":")
    if (
        hours.isascii()
        and hours.isdigit()
        and minutes.isascii()
        and minutes.isdigit()
        and int(hours) < 24
        and int(minutes) < 60
    ):
        return int(hours) * 60 + int(minutes)
    raise ValueError(f"“{text[:20]}” is no time of day. Write it like 22:30.")


def read_zone(text: str) -> str:
    """The time zone that somebody typed.

    Raises:
        ValueError: a sentence, where there is none of that name.
    """
    if (zone := text.strip()) in available_timezones():
        return zone
    raise ValueError(f"“{zone[:60]}” is no time zone. Write it like Europe/Brussels or UTC.")


def read_time(value: object) -> datetime | None:
    """A value as a time in UTC: ISO, with its zone or taken as UTC; a day is its beginning. None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
