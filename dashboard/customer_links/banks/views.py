"""Pages of the bank review: list by age of the data, mark as reviewed, next."""

from datetime import timedelta

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.customer_links.banks import queries as banks
from dashboard.listing.listing import Listing
from dashboard.users.authentication import visitor
from dashboard.web.lists import render_list
from dashboard.web.lookup import PATH, get_connection_or_404
from dashboard.web.page_after_sign_in import safe_next
from dashboard.web.required_role import requires
from dashboard.web.times import today_began

bp = Blueprint("banks", __name__)


@bp.get("/desk/banks", endpoint="index")
@bp.get("/desk/banks.json", endpoint="index_json")
@bp.get("/desk/banks.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """List bank connections, oldest data first."""
    return render_list(
        _listing(),
        banks.serialize_bank,
        "customer_links/banks/index.html",
        "customer_links/banks/_banks.html",
    )


@bp.get("/desk/banks/next")
@requires("viewer")
def go_on() -> ResponseReturnValue:
    """Redirect to the next connection that was not reviewed today."""
    return redirect(_next())


@bp.post(f"{PATH}/tick")
@requires("operator")
def tick(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Record or delete a review; redirect to the next connection or back."""
    connection, at, who = (
        get_connection_or_404(account_id, connection_id),
        services().clock(),
        visitor().email,
    )
    what = request.form.get("do", "tick")
    if not connection.is_saltedge:
        abort(400, "This is no bank connection of SaltEdge’s.")
    if what == "tick":
        banks.review(connection, who, at)
        audit.record(
            at, who, "bank_tick", audit.DONE, account_id=account_id, connection_id=connection_id
        )
    elif what == "untick":
        banks.unreview(connection)
        audit.record(
            at, who, "bank_untick", audit.DONE, account_id=account_id, connection_id=connection_id
        )
    else:
        abort(400, "That change is unknown.")
    return redirect(
        _next() if request.form.get("then") == "next" else safe_next(request.form.get("next")), 303
    )


def _listing() -> Listing:
    within = timedelta(days=services().settings.dashboard_consent_days)
    return banks.bank_list(services().clock(), today_began(), within)


def _next() -> str:
    found = banks.next_to_do(_listing())
    if found is None:
        flash("The round is done: every bank connection was ticked off today.", "success")
        return url_for(".index")
    return url_for("connections.show", account_id=found.account_id, connection_id=found.id)
