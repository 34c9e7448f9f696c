"""Trend of 30 days: connections by severity and day, as a table and a chart."""

from typing import Any

from flask import Blueprint, jsonify, render_template
from flask.typing import ResponseReturnValue

from dashboard.fleet.models import SEVERITIES
from dashboard.listing.listing import shown_time
from dashboard.reports.trend import queries as trend
from dashboard.web import times
from dashboard.web.lists import csv_response
from dashboard.web.required_role import requires
from dashboard.web.status_banner import coverage

bp = Blueprint("trend", __name__)
DAYS = 30


@bp.get("/trend")
@requires("viewer")
def show() -> ResponseReturnValue:
    """Show the chart and its table."""
    return render_template("reports/trend/trend.html", days=_days(), severities=SEVERITIES)


@bp.get("/trend.json")
@requires("viewer")
def show_json() -> ResponseReturnValue:
    """Return the table as JSON: days in the viewer's zone, in UTC if it is unknown."""
    return jsonify(
        items=[_item(day) for day in _days()],
        zone=times.zone().key,
        as_of=shown_time(coverage().as_of),
    )


@bp.get("/trend.csv")
@requires("viewer")
def show_csv() -> ResponseReturnValue:
    """Return the table as CSV."""
    return csv_response([_item(day) for day in _days()], "trend.csv")


def _days() -> list[trend.Day]:
    return trend.by_day(times.now(), times.zone(), DAYS)


def _item(day: trend.Day) -> dict[str, Any]:
    """Return one day as JSON fields; numbers are null if they are unknown."""
    counts = {
        severity: day.counts[severity] if day.counts is not None else None
        for severity in SEVERITIES
    }
    return {
        "day": day.day.isoformat(),
        **counts,
        "connections": day.connections,
        "noted_at": shown_time(day.noted_at),
    }
