"""Local times of day: a minute of a day in a time zone, for schedules that people set.

If daylight saving time skips an hour, a time in that hour means the moment of the change.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

# The clock of a data source may be wrong by this much. A later time is not a valid change time.
CLOCK_SKEW: Final = timedelta(days=1)

MINUTES_A_DAY: Final = 24 * 60


def local_time(day: date, minute: int, zone: str, *, second: bool = False) -> datetime:
    """Return a minute of a day in a time zone as UTC.

    ``second``: if the clock shows the minute twice that day, take the later one.
    """
    local = datetime.combine(day, time(minute // 60, minute % 60), ZoneInfo(zone)).replace(
        fold=int(second)
    )
    return local.astimezone(UTC)


def shown_minute(minute: int | None) -> str:
    """Return a minute of the day as ``07:30``, for forms; empty for None."""
    return f"{minute // 60:02}:{minute % 60:02}" if minute is not None else ""


def read_minute(text: str) -> int | None:
    """Parse a time of day and return its minute; None for a blank text.

    Raises:
        ValueError: the text is not a time of day; the message is a sentence for the user.
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
    """Return the time zone that a text names.

    Raises:
        ValueError: there is no such time zone; the message is a sentence for the user.
    """
    if (zone := text.strip()) in available_timezones():
        return zone
    raise ValueError(f"“{zone[:60]}” is no time zone. Write it like Europe/Brussels or UTC.")


def read_time(value: object) -> datetime | None:
    """Parse an ISO time and return it in UTC; None for anything else.

    A time without a zone counts as UTC; a date means its first moment.
    """
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
