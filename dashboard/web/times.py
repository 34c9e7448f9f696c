"""Times as the viewer reads them: in the browser's zone, as old as they are, the exact one on hovering.

Drawn here and not by macros: a list has a hundred of them, and so they were a fifth of its time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import humanize
from flask import Flask, g, request
from markupsafe import Markup

from dashboard.context import services

# A minute more or less is not said of what is hours old.
_UNITS = (86_400, 3_600, 60, 1)
_ZONES = available_timezones()
# Before that, a weekday's name might mean two days.
DAYS_BY_NAME = 7
_NOTHING = Markup('<span class="text-secondary">{}</span>')


@dataclass(frozen=True)
class Viewer:
    """Whom a page is made for: their zone, and when it is made: one moment for all that it shows."""

    zone: ZoneInfo
    now: datetime


def _viewer() -> Viewer:
    found: Viewer | None = g.get("viewer")
    if found is None:
        name = request.cookies.get("tz", "")
        found = g.viewer = Viewer(ZoneInfo(name if name in _ZONES else "UTC"), services().clock())
    return found


def zone() -> ZoneInfo:
    """The viewer's time zone: the browser says it in a cookie; UTC until it has."""
    return _viewer().zone


def now() -> datetime:
    """When the page is made."""
    return _viewer().now


def today_began() -> datetime:
    """When the viewer's day began, in their zone."""
    return now().astimezone(zone()).replace(hour=0, minute=0, second=0, microsecond=0)


def init_app(app: Flask) -> None:
    """Give them to the templates: ``ago`` and ``moment`` as elements, the filters as text."""
    app.jinja_env.globals.update(
        ago=ago, moment=moment, clock_time=clock_time, now=now, viewer_zone=lambda: zone().key
    )
    app.jinja_env.filters.update(moment=short, seconds_ago=seconds_ago, visit=visit)


def ago(time: datetime | None, otherwise: str = "never") -> Markup:
    """How long ago, as an element."""
    return _element(time, _age(time)) if time else _NOTHING.format(otherwise)


def moment(time: datetime | None, otherwise: str = "–") -> Markup:
    """When, in the viewer's zone, as an element."""
    return _element(time, short(time)) if time else _NOTHING.format(otherwise)


def short(time: datetime) -> str:
    """The viewer's time, with the day where it is another, and the zone written out."""
    local = time.astimezone(zone())
    today = now().astimezone(zone()).date()
    day = (
        ""
        if local.date() == today
        else f"{local.day} {local:%b}" + ("" if local.year == today.year else f" {local.year}")
    )
    return f"{day} {local:%H:%M %Z}".strip()


def day(time: datetime) -> str:
    """Its day in the viewer's zone, in full: "Monday 24 November"."""
    local = time.astimezone(zone())
    return f"{local:%A} {local.day} {local:%B}" + (
        "" if local.year == now().astimezone(zone()).year else f" {local.year}"
    )


def clock_time(time: datetime) -> Markup:
    """The time of day, as an element; the day stands above it."""
    return _element(time, f"{time.astimezone(zone()):%H:%M:%S}")


def visit(time: datetime) -> str:
    """When somebody was here last, as one says it: "today 08:12 CET", "on Monday 17:40 CET", "on 3 September 17:40 CEST"."""
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
    """Its age in seconds."""
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
    # Nothing here came from outside: times, names of zones that exist, and words of ours.
    return Markup(f"{_opened(time, zone())}{text}</time>")  # noqa: S704


@lru_cache(4096)
def _opened(time: datetime, viewers: ZoneInfo) -> str:
    local = time.astimezone(viewers)
    return f'<time datetime="{time.isoformat()}" title="{local:%A {local.day} %B %Y, %H:%M:%S %Z} ({viewers.key})">'
