"""Administrators' page of Peliqan's events. ``receiver`` is the address that Peliqan calls."""

import json
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.tasks import periodic
from dashboard.users.authentication import visitor
from dashboard.web.lists import render_list
from dashboard.web.required_role import requires
from dashboard.webhooks import service as webhook_events
from dashboard.webhooks.models import WebhookEvent
from dashboard.webhooks.receiver import ADDRESS, NOTED_EVERY, REFUSED
from dashboard.webhooks.service import EVENTS, serialize_event
from dashboard.webhooks.tasks import process_events

bp = Blueprint("webhooks", __name__)


@dataclass(frozen=True)
class Setup:
    """Webhook settings, and the last receipts. ``address``: the URL to enter at Peliqan."""

    address: str
    header: str
    is_signed: bool
    last_at: datetime | None
    refused_at: datetime | None


@bp.get("/webhooks", endpoint="index")
@bp.get("/webhooks.json", endpoint="index_json")
@bp.get("/webhooks.csv", endpoint="index_csv")
@requires("admin")
def index() -> ResponseReturnValue:
    """Show the received events with their outcomes."""
    return render_list(
        EVENTS, serialize_event, "webhooks/events.html", "webhooks/_events.html", setup=_setup()
    )


@bp.get("/webhooks/<int:event_id>")
@requires("admin")
def show(event_id: int) -> ResponseReturnValue:
    """Show one event with its body."""
    event = _get_or_404(event_id)
    return render_template("webhooks/event.html", event=event, body=_pretty(event.body))


@bp.post("/webhooks/<int:event_id>/replay")
@requires("admin")
def replay(event_id: int) -> ResponseReturnValue:
    """Process an event again, as if it had just been received."""
    event = _get_or_404(event_id)
    webhook_events.replay(event)
    audit.record(
        services().clock(),
        visitor().email,
        "replay_webhook",
        audit.DONE,
        account_id=event.account_id,
        connection_id=event.connection_id,
        detail=f"Event {event.id}, {event.event or 'without a name'}",
    )
    services().queues.try_to_enqueue(process_events)
    flash(
        "The event is processed again. Reload in a moment to see the outcome.",
        "success",
    )
    return redirect(url_for(".show", event_id=event_id), 303)


def _get_or_404(event_id: int) -> WebhookEvent:
    event = webhook_events.event_or_none(event_id)
    if event is None:
        abort(404, f"There is no event {event_id}, or it is older than two weeks.")
    return event


def _setup() -> Setup:
    settings = services().settings
    return Setup(
        url_for("overview.show", _external=True).rstrip("/") + ADDRESS,
        settings.peliqan_webhook_header,
        bool(settings.peliqan_webhook_secret),
        webhook_events.latest_at(),
        periodic.last_claimed_at(REFUSED, NOTED_EVERY),
    )


def _pretty(body: str) -> str:
    """Return a JSON body with one value a line; any other body as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body
