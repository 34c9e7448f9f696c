"""What became of new connections whose tables go to the partner's hook: the list, and the buttons that have one go on or end."""

from flask import Blueprint, abort, flash, redirect, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.hook import NONE
from dashboard.deliveries.models import Delivery
from dashboard.deliveries.service import DELIVERIES, serialize_delivery
from dashboard.deliveries.tasks import deliver
from dashboard.users.access import visitor
from dashboard.web.access import requires
from dashboard.web.lists import render_list
from dashboard.web.lookup import PATH, get_connection_or_404

bp = Blueprint("deliveries", __name__)


@bp.get("/deliveries", endpoint="index")
@bp.get("/deliveries.json", endpoint="index_json")
@bp.get("/deliveries.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """All of them, the newest first."""
    template, fragment = "deliveries/deliveries.html", "deliveries/_deliveries.html"
    return render_list(DELIVERIES, serialize_delivery, template, fragment, hook=services().hook)


@bp.post(f"{PATH}/read")
@requires("operator")
def read(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Hand a connection's tables over now; where that is under way, it is shown."""
    connection, at = get_connection_or_404(account_id, connection_id), services().clock()
    why = (
        NONE
        if services().hook is None
        else ""
        if connection.may_sync
        else "It is no source: no run of it brings tables."
    )
    if why:
        audit.record(
            at,
            visitor().email,
            "deliver",
            audit.REFUSED,
            account_id=account_id,
            connection_id=connection_id,
            detail=why,
        )
        abort(400, why)
    delivery = deliveries.ask((account_id, connection_id), visitor().email, at)
    deliver.enqueue_when_due(delivery)
    if delivery.asked_at < at:
        flash(
            "Its tables are being handed over already. The first line below says how far that is.",
            "info",
        )
    else:
        flash(
            "Its tables are handed over as soon as a run of it has completed. Look again to see how far that is.",
            "success",
        )
    return redirect(url_for(".index", account=account_id, q=connection_id), 303)


@bp.post("/deliveries/<int:delivery_id>/send")
@requires("operator")
def send(delivery_id: int) -> ResponseReturnValue:
    """Have one that is dead or was cancelled go on, now."""
    delivery = _delivery_or_404(delivery_id)
    if deliveries.send_again(delivery, visitor().email, services().clock()):
        deliver.enqueue_when_due(delivery)
        flash(f"Delivery {delivery_id} goes on with what the hook has not taken yet.", "success")
    else:
        flash(
            f"Delivery {delivery_id} is {delivery.state}: there is nothing to send again.", "info"
        )
    return redirect(url_for(".index"), 303)


@bp.post("/deliveries/<int:delivery_id>/cancel")
@requires("operator")
def cancel(delivery_id: int) -> ResponseReturnValue:
    """Stop one that is under way; what the hook has taken, it has."""
    delivery, who = _delivery_or_404(delivery_id), visitor().email
    if deliveries.cancel(delivery, who, services().clock()):
        place = {"account_id": delivery.account_id, "connection_id": delivery.connection_id}
        audit.record(
            services().clock(),
            who,
            "cancel_delivery",
            audit.DONE,
            **place,
            detail=f"Delivery {delivery_id}",
        )
        flash(
            f"Delivery {delivery_id} is cancelled. What the hook has taken before, it has.",
            "success",
        )
    else:
        flash(f"Delivery {delivery_id} is {delivery.state}: there is nothing to cancel.", "info")
    return redirect(url_for(".index"), 303)


def _delivery_or_404(delivery_id: int) -> Delivery:
    delivery = deliveries.delivery_or_none(delivery_id)
    if delivery is None:
        abort(404, f"There is no delivery {delivery_id}.")
    return delivery
