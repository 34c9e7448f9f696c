"""Pages of the timeline of a connection or an account."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.fleet.models import Account, Connection
from dashboard.listing.query import BadQuery
from dashboard.reports.timeline import queries as timeline
from dashboard.reports.timeline.queries import KINDS, Cursor, Event
from dashboard.web import htmx, times
from dashboard.web.lookup import PATH, get_account_or_404, get_connection_or_404
from dashboard.web.required_role import requires

bp = Blueprint("timeline", __name__)


@dataclass(frozen=True)
class TimelineContext:
    """Timeline page for its template. ``connection``: None for the whole account."""

    account: Account
    connection: Connection | None
    page: timeline.Page
    names: dict[int, str]

    @property
    def path_params(self) -> dict[str, Any]:
        """Return the path parameters of the page."""
        return {
            "account_id": self.account.id,
            **({"connection_id": self.connection.id} if self.connection else {}),
        }

    def url(self, **args: Any) -> str:
        """Return the URL of this timeline with other query parameters."""
        return url_for(".connection" if self.connection else ".account", **self.path_params, **args)

    @property
    def earlier_url(self) -> str | None:
        """Return the URL of the next page; None at the oldest event."""
        if self.page.earlier is None:
            return None
        return self.url(before=str(self.page.earlier), kind=list(self.page.kinds))

    @property
    def days(self) -> list[tuple[str, list[Event]]]:
        """Return the events by day in the viewer's zone.

        The first name is empty if the day continues from the previous page.
        """
        before = self.page.before
        last = times.day(before.at) if before is not None and htmx.is_htmx() else ""
        by_day = groupby(self.page.events, lambda event: times.day(event.at))
        return [("" if day == last else day, list(same)) for day, same in by_day]


@bp.get("/accounts/<int:account_id>/timeline")
@requires("viewer")
def account(account_id: int) -> ResponseReturnValue:
    """Show an account's timeline, with events of all its connections."""
    return _show(get_account_or_404(account_id), None)


@bp.get(f"{PATH}/timeline")
@requires("viewer")
def connection(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Show a connection's timeline, with events of its whole account."""
    found = get_connection_or_404(account_id, connection_id)
    return _show(found.account, found)


def _show(account: Account, connection: Connection | None) -> ResponseReturnValue:
    kinds = list(dict.fromkeys(request.args.getlist("kind")))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise BadQuery(f"“{unknown[0][:40]}” is no kind of event. There are: {', '.join(KINDS)}.")
    try:
        before = Cursor.read(request.args["before"]) if request.args.get("before") else None
    except timeline.BadCursor:
        raise BadQuery(
            "The parameter “before” cannot be read. Start at the latest event."
        ) from None
    page = timeline.read(
        account.id, connection.id if connection else None, kinds=kinds, before=before
    )
    shown = TimelineContext(
        account, connection, page, timeline.names(account.id) if connection is None else {}
    )
    template = (
        "reports/timeline/_events.html" if htmx.is_htmx() else "reports/timeline/timeline.html"
    )
    return render_template(template, shown=shown, kinds=KINDS)
