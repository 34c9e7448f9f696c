"""The overview page and the search."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.fleet.models import Account
from dashboard.reports.overview import queries as overview
from dashboard.reports.since import queries as since_report
from dashboard.reports.since.views import since_left
from dashboard.web import htmx, times
from dashboard.web.required_role import requires

bp = Blueprint("overview", __name__)


@bp.get("/")
@requires("viewer")
def show() -> ResponseReturnValue:
    """Show the overview."""
    at = times.now()
    since = since_left(at)
    return render_template(
        "reports/overview/overview.html",
        overview=overview.read(at),
        since=since,
        changed=since_report.count(since.time, at),
    )


@bp.get("/refresh-status")
@requires("viewer", poll=True)
def refresh_status() -> ResponseReturnValue:
    """Render the refresh status line, which is polled only while a refresh is running."""
    return render_template("components/_status_banner.html")


@bp.get("/find")
@requires("viewer")
def find() -> ResponseReturnValue:
    """Redirect to the only match of a search, or show all matches."""
    found = overview.find(request.args.get("q", ""))
    if htmx.is_htmx():
        return render_template("reports/overview/_search_results.html", found=found)
    only = found.only
    if isinstance(only, Account):
        return redirect(url_for("accounts.show", account_id=only.id))
    if only is not None:
        return redirect(
            url_for("connections.show", account_id=only.account_id, connection_id=only.id)
        )
    return render_template("reports/overview/search_results.html", found=found)
