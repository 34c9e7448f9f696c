"""Pages of deliveries to the data hook: the list, and buttons to start, resume or cancel."""

from flask import Blueprint, abort, flash, redirect, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.hook import NONE
from dashboard.deliveries.models import Delivery
from dashboard.deliveries.service import DELIVERIES, serialize_delivery
from dashboard.deliveries.tasks import deliver
from dashboard.users.authentication import visitor
from dashboard.web.lists import render_list
from dashboard.web.lookup import PATH, get_connection_or_404
from dashboard.web.required_role import requires

bp = Blueprint("deliveries", __name__)


@bp.get("/deliveries", endpoint="index")
@bp.get("/deliveries.json", endpoint="index_json")
@bp.get("/deliveries.csv", endpoint="index_csv")
@requires("viewer")
def index() -> ResponseReturnValue:
    """Show all deliveries, newest first."""
    template, fragment = "deliveries/deliveries.html", "deliveries/_deliveries.html"
    return render_list(DELIVERIES, serialize_delivery, template, fragment, hook=services().hook)


@bp.post(f"{PATH}/read")
@requires("operator")
def read(account_id: int, connection_id: int) -> ResponseReturnValue:
    """Deliver a connection's tables now; show the delivery if one is open."""
    connection, at = get_connection_or_404(account_id, connection_id), services().clock()
    problem = (
        NONE
        if services().hook is None
        else ""
        if connection.may_sync
        else "It is no source: no run of it brings tables."
    )
    if problem:
        audit.record(
            at,
            visitor().email,
            "deliver",
            audit.REFUSED,
            account_id=account_id,
            connection_id=connection_id,
            detail=problem,
        )
        abort(400, problem)
    delivery = deliveries.request((account_id, connection_id), visitor().email, at)
    delivery = deliveries.request((account_id, connection_id), visitor().email, at)
    deliver.enqueue_when_due(delivery)
    if delivery.asked_at < at:
        message = "Its tables are being handed over already. The first line below shows how far."
        flash(message, "info")
    else:
        message = (
            "Its tables are delivered as soon as a run of it has completed. Reload to see how far."
        )
        flash(message, "success")
    return redirect(url_for(".index", account=account_id, q=connection_id), 303)


@bp.post("/deliveries/<int:delivery_id>/send")
@requires("operator")
def send(delivery_id: int) -> ResponseReturnValue:
    """Resume a dead or cancelled delivery now."""
    delivery = _delivery_or_404(delivery_id)
    if deliveries.send_again(delivery, visitor().email, services().clock()):
        deliver.enqueue_when_due(delivery)
        flash(f"Delivery {delivery_id} goes on with what the hook has not accepted yet.", "success")
    else:
        flash(
            f"Delivery {delivery_id} is {delivery.state}: there is nothing to send again.", "info"
        )
    return redirect(url_for(".index"), 303)


@bp.post("/deliveries/<int:delivery_id>/cancel")
@requires("operator")
def cancel(delivery_id: int) -> ResponseReturnValue:
    """Cancel an open delivery; accepted parts stay at the hook."""
    delivery, who = _delivery_or_404(delivery_id), visitor().email
    if deliveries.cancel(delivery, who, services().clock()):
        connection = {
            "account_id": delivery.account_id,
            "connection_id": delivery.connection_id,
        }
        audit.record(
            services().clock(),
            who,
            "cancel_delivery",
            audit.DONE,
            **connection,
            detail=f"Delivery {delivery_id}",
        )
        flash(
            f"Delivery {delivery_id} is cancelled. The hook keeps the parts that it has accepted.",
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
