"""WSGI middleware that receives Peliqan's events, in front of the Flask application.

Peliqan has no session, form or browser, so an event needs nothing that a page needs. With a
thousand events a second, cookies and security headers for each would halve the speed of all pages.
"""

import json
from collections.abc import Iterable
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from flask import Flask
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.core.text import clean
from dashboard.peliqan import webhooks as peliqan_webhooks
from dashboard.tasks import periodic
from dashboard.tasks.throttle import Throttle
from dashboard.telemetry.access_log import ENDPOINT
from dashboard.telemetry.outage_log import AWAY
from dashboard.webhooks.limits import LARGEST_BODY
from dashboard.webhooks.service import EventBatcher
from dashboard.webhooks.tasks import process_events

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ADDRESS = "/webhooks/peliqan"
# Characters of an event's name or status.
LONGEST_FIELD = 64
# Refused events are recorded at most this often, under this name.
REFUSED, NOTED_EVERY = "webhook_refused", timedelta(minutes=1)
RETRY_AFTER = ("Retry-After", "10")


class _Refusal(Exception):
    """Response other than 204, with a code for scripts and a sentence."""

    def __init__(self, status: str, code: str, detail: str) -> None:
        self.status, self.code, self.detail = status, code, detail
        super().__init__(detail)


# Seconds between two messages to the workers, for any number of events.
WAKE_EVERY = 0.2


class WebhookReceiver:
    """Middleware that stores an event and answers 204; ``inner`` handles all other paths."""

    def __init__(self, app: Flask, inner: "WSGIApplication") -> None:
        services: Services = app.extensions["services"]
        self._app, self._inner, self._services = app, inner, services
        self._secret = services.settings.peliqan_webhook_secret
        self._header = "HTTP_" + services.settings.peliqan_webhook_header.upper().replace("-", "_")
        with app.app_context():
            self._engine = db.engine
        self._batcher = EventBatcher()
        self._wake_worker = Throttle(
            lambda: services.queues.try_to_enqueue(process_events), WAKE_EVERY
        )
        self._refused_at: float | None = None

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Handle a request (WSGI)."""
        if environ.get("PATH_INFO") != ADDRESS:
            return self._inner(environ, start_response)
        environ[ENDPOINT] = "webhooks.take"
        try:
            self._store(environ)
        except _Refusal as refusal:
            return _respond(start_response, refusal.status, refusal.code, refusal.detail)
        except (OperationalError, InterfaceError) as error:
            self._app.logger.error(
                "An event could not be stored: %s.", type(error.orig).__name__, extra={AWAY: error}
            )
            return _respond(
                start_response,
                "503 Service Unavailable",
                "store_away",
                "The event was not stored; send it again.",
                RETRY_AFTER,
            )
        start_response("204 No Content", [("Cache-Control", "no-store")])
        return []

    def _store(self, environ: "WSGIEnvironment") -> None:
        if environ["REQUEST_METHOD"] != "POST":
            raise _Refusal(
                "405 Method Not Allowed", "method_not_allowed", "Events are posted to this address."
            )
        try:
            body = get_input_stream(environ, max_content_length=LARGEST_BODY).read()
        except RequestEntityTooLarge:
            raise _Refusal(
                "413 Content Too Large",
                "too_large",
                f"The body is larger than {LARGEST_BODY // 1024} kB.",
            ) from None
        # The body is untrusted until its signature is verified, so it is parsed afterwards.
        if self._secret and not peliqan_webhooks.is_signed(
            body, environ.get(self._header), self._secret
        ):
            self._record_refusal()
            sentence = "The signature is missing, or does not match the body and the secret."
            raise _Refusal("401 Unauthorized", "bad_signature", sentence)
        try:
            event = peliqan_webhooks.parse_event(body)
        except ValueError as error:
            raise _Refusal("400 Bad Request", "bad_event", str(error)) from None
        self._batcher.store(self._engine, self._row(event, body))
        self._wake_worker()

    def _row(self, event: peliqan_webhooks.Event, body: bytes) -> dict[str, Any]:
        return {
            "key": clean(peliqan_webhooks.key_of(event, body)),
            "received_at": self._services.clock(),
            "sent_at": event.sent_at,
            "event": clean(event.event or "")[:LONGEST_FIELD],
            "account_id": event.account_id,
            "connection_id": event.connection_id,
            "run_id": event.run_id,
            "status": clean(event.status or "")[:LONGEST_FIELD],
            "body": body.decode(),
        }

    def _record_refusal(self) -> None:
        """Record a refusal for the events page, at most once a minute. Commits.

        The limit keeps unsigned requests cheap.
        """
        now = monotonic()
        if self._refused_at is None or now - self._refused_at >= NOTED_EVERY.total_seconds():
            self._refused_at = now
            with self._app.app_context():
                periodic.claim_periodic(REFUSED, self._services.clock(), NOTED_EVERY)


def _respond(
    start_response: "StartResponse", status: str, code: str, detail: str, *headers: tuple[str, str]
) -> list[bytes]:
    body = json.dumps({"error": code, "detail": detail}).encode()
    common = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response(status, [*common, ("Cache-Control", "no-store"), *headers])
    return [body]
