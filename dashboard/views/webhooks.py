"""Events from Peliqan: the address that takes them, and the administrators' page of the last ones."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from flask import Blueprint, abort, current_app, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from dashboard.app import console
from dashboard.peliqan import events as told
from dashboard.store import audit, due, events
from dashboard.store.events import EVENTS, event_item
from dashboard.store.models import WebhookEvent
from dashboard.store.snapshot import clean
from dashboard.views.access import PUBLIC, requires, visitor
from dashboard.views.pages import answer_list
from dashboard.views.security import csrf

bp = Blueprint("webhooks", __name__)
LARGEST = 256 * 1024
LONGEST_WORD = 64
# That some were refused is noted this often, and where.
REFUSED, NOTED_EVERY = "webhook_refused", timedelta(minutes=1)


@dataclass(frozen=True)
class Setup:
    """How webhooks are set up, and whether any came. ``address``: to be entered at Peliqan."""

    address: str
    header: str
    is_signed: bool
    last_at: datetime | None
    refused_at: datetime | None


@bp.post("/webhooks/peliqan")
@csrf.exempt  # type: ignore[untyped-decorator]  # Flask-WTF has no types
@requires(PUBLIC)
def receive() -> ResponseReturnValue:
    """Keep one event and answer; what it says is worked through by a worker."""
    request.max_content_length = LARGEST
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        return _refuse(413, "too_large", f"At most {LARGEST // 1024} kB are taken.")
    parts = console()
    secret = parts.settings.peliqan_webhook_secret
    # Nothing of the body is read before it is known who wrote it.
    if secret and not told.is_signed(body, request.headers.get(parts.settings.peliqan_webhook_header), secret):
        _note_refused()
        return _refuse(401, "bad_signature", "The signature is missing, or it is not of this body and the secret.")
    try:
        event = told.parse_event(body)
    except ValueError as error:
        return _refuse(400, "bad_event", str(error))
    events.keep(
        {
            "key": clean(told.key_of(event, body)),
            "received_at": parts.clock(),
            "sent_at": event.sent_at,
            "event": clean(event.event or "")[:LONGEST_WORD],
            "account_id": event.account_id,
            "connection_id": event.connection_id,
            "run_id": event.run_id,
            "status": clean(event.status or "")[:LONGEST_WORD],
            "body": body.decode(),
        }
    )
    parts.work.events_came()
    return "", 204


@bp.get("/webhooks", endpoint="index")
@bp.get("/webhooks.json", endpoint="index_json")
@bp.get("/webhooks.csv", endpoint="index_csv")
@requires("admin")
def index() -> ResponseReturnValue:
    """What came lately, and what became of it."""
    return answer_list(EVENTS, event_item, "pages/webhooks.html", "fragments/_webhooks.html", setup=_setup())


@bp.get("/webhooks/<int:event_id>")
@requires("admin")
def show(event_id: int) -> ResponseReturnValue:
    """One event with its body."""
    event = _get_or_404(event_id)
    return render_template("pages/webhook.html", event=event, body=_pretty(event.body))


@bp.post("/webhooks/<int:event_id>/replay")
@requires("admin")
def replay(event_id: int) -> ResponseReturnValue:
    """Have it worked through once more, as if it had just come."""
    event = _get_or_404(event_id)
    events.replay(event)
    audit.record(
        console().clock(),
        visitor().email,
        "replay_webhook",
        audit.DONE,
        account_id=event.account_id,
        connection_id=event.connection_id,
        detail=f"Event {event.id}, {event.event or 'without a name'}",
    )
    console().work.events_came()
    flash("The event is worked through once more. Reload in a moment to see what became of it.", "success")
    return redirect(url_for(".show", event_id=event_id), 303)


def _get_or_404(event_id: int) -> WebhookEvent:
    event = events.event_or_none(event_id)
    if event is None:
        abort(404, f"There is no event {event_id}, or it came more than two weeks ago.")
    return event


def _setup() -> Setup:
    settings = console().settings
    scheme = "http" if settings.dashboard_insecure_cookies else "https"
    return Setup(
        url_for(".receive", _external=True, _scheme=scheme),
        settings.peliqan_webhook_header,
        bool(settings.peliqan_webhook_secret),
        events.latest_at(),
        due.last_taken(REFUSED, NOTED_EVERY),
    )


def _pretty(body: str) -> str:
    """For people: one value a line."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


def _refuse(status: int, code: str, detail: str) -> ResponseReturnValue:
    return jsonify(error=code, detail=detail), status


def _note_refused() -> None:
    """For the page, which else would say that nothing came. Whoever sends without the secret costs no more than this."""
    noted: list[float] = current_app.extensions.setdefault(REFUSED, [])
    if noted and monotonic() - noted[0] < NOTED_EVERY.total_seconds():
        return
    noted[:] = [monotonic()]
    due.take_job(REFUSED, console().clock(), NOTED_EVERY)
