"""Changes since the last visit or another time: a page, plain text, Markdown and HTML."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from jinja2 import Environment

from dashboard.context import services
from dashboard.core.redaction import one_line
from dashboard.findings.rules.error_texts import span
from dashboard.listing.query import BadQuery, read_integer
from dashboard.reports.since import queries as since_report
from dashboard.users.authentication import visitor
from dashboard.web import times
from dashboard.web.required_role import requires

bp = Blueprint("reports", __name__)
DAY = timedelta(hours=24)
HOURS = (8, 24, 72, 168)
_SPACE_FOR_PLUS = re.compile(r" (?=\d\d:?\d\d$)")
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#])")
# Endpoints that a report links to, with the names of their parameters. ``Address`` makes a URL.
_NUMBERS = {"causes.show": "cause_id", "accounts.show": "account_id"}
Address = Callable[[str, int], str]


@dataclass(frozen=True)
class Since:
    """Start of the report. ``left``: it is the end of the user's last visit.

    ``cut``: the last visit ended earlier, before the stored history.
    """

    time: datetime
    left: bool = False
    hours: int | None = None
    cut: bool = False


def read_since(
    args: Mapping[str, str],
    left_at: datetime | None,
    at: datetime,
    zone: ZoneInfo,
    oldest: datetime,
) -> Since:
    """Return the start: ``?since=``, else ``?hours=``, else the last visit, else 24 hours ago.

    ``since`` is an ISO time, in the viewer's zone if it names none.

    Raises:
        BadQuery: it cannot be read, is in the future, or is before ``oldest``, the oldest history.
    """
    if text := args.get("since"):
        return Since(_checked(_iso(text, zone), at, oldest))
    if text := args.get("hours"):
        hours = read_integer("hours", text, 10**5)
        return Since(_checked(at - timedelta(hours=hours), at, oldest), hours=hours)
    if left_at is not None:
        return Since(max(left_at, oldest), left=True, cut=left_at < oldest)
    # Rounded to the minute for the cache.
    return Since((at - DAY).replace(second=0, microsecond=0), hours=24)


def since_left(at: datetime) -> Since:
    """Return the end of the user's last visit for the overview, without URL parameters."""
    return read_since({}, visitor().user.left_at, at, times.zone(), _oldest(at))


@bp.get("/since")
@requires("viewer")
def show() -> ResponseReturnValue:
    """Show the changes since the last visit or another time."""
    since, found = _read()
    given = {name: request.args[name] for name in ("since", "hours") if request.args.get(name)}
    return render_template(
        "reports/since/since.html",
        since=since,
        report=found,
        text=_as_text(found),
        hours=HOURS,
        asked=given,
    )


@bp.get("/since.txt")
@requires("viewer")
def as_text() -> ResponseReturnValue:
    """Return the report as plain text."""
    _, found = _read()
    return Response(_as_text(found), mimetype="text/plain")


def numbers(endpoint: str, number: int) -> dict[str, Any]:
    """Return the endpoint's URL parameter."""
    return {_NUMBERS[endpoint]: number}


def write(
    env: Environment, name: str, found: since_report.Report, zone: ZoneInfo, address: Address
) -> str:
    """Return a report by one of the export templates, with times in ``zone``; needs no request."""

    def when(time: datetime) -> str:
        local = time.astimezone(zone)
        year = "" if local.year == found.at.year else f" {local.year}"
        return f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M %Z}"

    # External texts are kept on one line, without control characters for terminals.
    return env.get_template(f"reports/since/export/{name}").render(
        report=found,
        when=when,
        address=address,
        span=span((found.at - found.since).total_seconds()),
        plain=one_line,
        markdown=markdown,
    )


def markdown(text: str) -> str:
    """Return a text escaped for Markdown.

    A zero-width space after @ prevents mentions, which services recognise even if escaped.
    """
    return _SPECIAL.sub(r"\\\1", one_line(text)).replace("@", "@\u200b")


def _read() -> tuple[Since, since_report.Report]:
    at = times.now()
    since = read_since(request.args, visitor().user.left_at, at, times.zone(), _oldest(at))
    return since, since_report.read(since.time, at)


def _as_text(found: since_report.Report) -> str:
    def address(endpoint: str, number: int) -> str:
        return url_for(endpoint, _external=True, **numbers(endpoint, number))

    return write(services().app.jinja_env, "handover.txt", found, times.zone(), address)


def _oldest(at: datetime) -> datetime:
    return at - timedelta(days=services().settings.dashboard_keep_history_days)


def _iso(text: str, zone: ZoneInfo) -> datetime:
    try:
        # An unescaped plus sign in a URL arrives as a space.
        time = datetime.fromisoformat(_SPACE_FOR_PLUS.sub("+", text) if "T" in text else text)
        return time if time.tzinfo is not None else time.replace(tzinfo=zone)
    except ValueError:
        raise BadQuery(
            f"“{text[:40]}” is no time. Write it as 2026-03-31T17:40, or give hours instead."
        ) from None


def _checked(time: datetime, at: datetime, oldest: datetime) -> datetime:
    if time > at:
        raise BadQuery("That time has not come yet.")
    if time < oldest:
        raise BadQuery(f"History goes back {(at - oldest).days} days. Ask for a later time.")
    return time
