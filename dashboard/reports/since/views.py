"""What became of the fleet since one was here last: a page to hand over, and the same as text, Markdown and HTML."""

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
from dashboard.findings.rules.normalise import span
from dashboard.listing.query import BadQuery, whole_number
from dashboard.reports.since import queries as since_report
from dashboard.users.access import visitor
from dashboard.web import times
from dashboard.web.access import requires

bp = Blueprint("reports", __name__)
DAY = timedelta(hours=24)
HOURS = (8, 24, 72, 168)
_SPACE_FOR_PLUS = re.compile(r" (?=\d\d:?\d\d$)")
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#])")
# What a report leads to, with the name of its number; and that with a number as an address.
_NUMBERS = {"causes.show": "cause_id", "accounts.show": "account_id"}
Address = Callable[[str, int], str]


@dataclass(frozen=True)
class Since:
    """The time that is asked about. ``left``: this person's last visit ended then; ``cut``: or earlier, before what is kept."""

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
    """``?since=`` (ISO; in the viewer's zone where it names none) or ``?hours=``, else when they left, else the last 24 hours.

    Raises:
        BadQuery: it is neither, or lies in the future or before ``oldest``, which is as far as history goes back.
    """
    if asked := args.get("since"):
        return Since(_checked(_iso(asked, zone), at, oldest))
    if asked := args.get("hours"):
        hours = whole_number("hours", asked, 10**5)
        return Since(_checked(at - timedelta(hours=hours), at, oldest), hours=hours)
    if left_at is not None:
        return Since(max(left_at, oldest), left=True, cut=left_at < oldest)
    # To the minute, so that its figures are not counted anew with every page.
    return Since((at - DAY).replace(second=0, microsecond=0), hours=24)


def since_left(at: datetime) -> Since:
    """Since the visitor's last visit ended, whatever the address says: for the overview."""
    return read_since({}, visitor().user.left_at, at, times.zone(), _oldest(at))


@bp.get("/since")
@requires("viewer")
def show() -> ResponseReturnValue:
    """What changed since the last visit, or since another time: to read, print, copy and hand over."""
    since, found = _read()
    asked = {name: request.args[name] for name in ("since", "hours") if request.args.get(name)}
    return render_template(
        "reports/since/since.html",
        since=since,
        report=found,
        text=_as_text(found),
        hours=HOURS,
        asked=asked,
    )


@bp.get("/since.txt")
@requires("viewer")
def as_text() -> ResponseReturnValue:
    """The same as plain text."""
    _, found = _read()
    return Response(_as_text(found), mimetype="text/plain")


def numbers(endpoint: str, number: int) -> dict[str, Any]:
    """What the endpoint's address is made of."""
    return {_NUMBERS[endpoint]: number}


def write(
    env: Environment, name: str, found: since_report.Report, zone: ZoneInfo, address: Address
) -> str:
    """A report by one of the templates of ``reports``, with times in ``zone``. Needs no request."""

    def when(time: datetime) -> str:
        local = time.astimezone(zone)
        return f"{local:%a} {local.day} {local:%b}{'' if local.year == found.at.year else f' {local.year}'} {local:%H:%M %Z}"

    # Texts from outside stay on their line, in any format, and say nothing to a terminal.
    return env.get_template(f"reports/since/export/{name}").render(
        report=found,
        when=when,
        address=address,
        span=span((found.at - found.since).total_seconds()),
        plain=one_line,
        markdown=markdown,
    )


def markdown(text: str) -> str:
    """A text as Markdown has it: escaped, and without a mention, which services look for whether it is escaped or not."""
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
        # A plus sign that nobody escaped arrives as a space.
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
