"""Times for pages: in the browser's time zone, with age and exact time.

Rendered here and not by macros, which took a fifth of the time of a list with a hundred times.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import humanize
from flask import Flask, g, request
from markupsafe import Markup

from dashboard.context import services

# Seconds of a day, an hour, a minute, a second: an age is rounded down to the largest that fits.
_UNITS = (86_400, 3_600, 60, 1)
_ZONES = available_timezones()
# From this age in days on, a weekday's name could mean two days.
DAYS_BY_NAME = 7
_NOTHING = Markup('<span class="text-secondary">{}</span>')


@dataclass(frozen=True)
class Viewer:
    """The time zone of the viewer, and the moment at which the page is made."""

    zone: ZoneInfo
    now: datetime


def _viewer() -> Viewer:
    found: Viewer | None = g.get("viewer")
    if found is None:
        name = request.cookies.get("tz", "")
        found = g.viewer = Viewer(ZoneInfo(name if name in _ZONES else "UTC"), services().clock())
    return found


def zone() -> ZoneInfo:
    """Return the viewer's time zone, from the cookie ``tz``; UTC without it."""
    return _viewer().zone


def now() -> datetime:
    """Return when the page is made; the same for all of the page."""
    return _viewer().now


def today_began() -> datetime:
    """Return the start of the current day in the viewer's time zone."""
    return now().astimezone(zone()).replace(hour=0, minute=0, second=0, microsecond=0)


def init_app(app: Flask) -> None:
    """Register functions that return elements, and filters that return text."""
    app.jinja_env.globals.update(
        ago=ago, moment=moment, clock_time=clock_time, now=now, viewer_zone=lambda: zone().key
    )
    app.jinja_env.filters.update(moment=short, seconds_ago=seconds_ago, visit=visit)


def ago(time: datetime | None, otherwise: str = "never") -> Markup:
    """Return an element with the age of a time."""
    return _element(time, _age(time)) if time else _NOTHING.format(otherwise)


def moment(time: datetime | None, otherwise: str = "–") -> Markup:
    """Return an element with a time in the viewer's time zone."""
    return _element(time, short(time)) if time else _NOTHING.format(otherwise)


def short(time: datetime) -> str:
    """Return a time in the viewer's time zone, with the date unless it is today."""
    local = time.astimezone(zone())
    today = now().astimezone(zone()).date()
    day = (
        ""
        if local.date() == today
        else f"{local.day} {local:%b}" + ("" if local.year == today.year else f" {local.year}")
    )
    return f"{day} {local:%H:%M %Z}".strip()


def day(time: datetime) -> str:
    """Return the full day of a time in the viewer's time zone: "Monday 24 November"."""
    local = time.astimezone(zone())
    return f"{local:%A} {local.day} {local:%B}" + (
        "" if local.year == now().astimezone(zone()).year else f" {local.year}"
    )


def clock_time(time: datetime) -> Markup:
    """Return an element with the time of day only."""
    return _element(time, f"{time.astimezone(zone()):%H:%M:%S}")


def visit(time: datetime) -> str:
    """Return when a user was last here: "today 08:12 CET", "on Monday 17:40 CET".

    From ``DAYS_BY_NAME`` days on with the date: "on 3 September 17:40 CEST".
    """
    local = time.astimezone(zone())
    days = (now().astimezone(zone()).date() - local.date()).days
    day = (
        "today"
        if days == 0
        else f"on {local:%A}"
        if days < DAYS_BY_NAME
        else f"on {local.day} {local:%B}"
    )
    return f"{day} {local:%H:%M %Z}"


def seconds_ago(time: datetime) -> float:
    """Return the age of a time in seconds."""
    return (now() - time).total_seconds()


def _age(time: datetime) -> str:
    seconds = int((now() - time).total_seconds())
    if abs(seconds) < 10:
        return "just now"
    unit = next(unit for unit in _UNITS if abs(seconds) >= unit)
    return _in_words(int(seconds / unit) * unit)


@lru_cache(4096)
def _in_words(seconds: int) -> str:
    return humanize.naturaltime(timedelta(seconds=seconds))


def _element(time: datetime, text: str) -> Markup:
    # Safe: only times, names of existing time zones, and our own words.
    return Markup(f"{_opened(time, zone())}{text}</time>")  # noqa: S704


@lru_cache(4096)
def _opened(time: datetime, viewers: ZoneInfo) -> str:
    local = time.astimezone(viewers)
    title = f"{local:%A {local.day} %B %Y, %H:%M:%S %Z} ({viewers.key})"
    return f'<time datetime="{time.isoformat()}" title="{title}">'
