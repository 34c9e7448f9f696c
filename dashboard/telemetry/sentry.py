"""Sentry: on where its own variable SENTRY_DSN names a project. Mistakes of the console's go there, without what they quote.

Of a mistake goes its kind, its scrubbed words, the places in the code and the request's id, endpoint and method. No local
variables, no bodies, no headers, no cookies, no queries, no person, and no lines of the log: those may quote anything.
"""

import logging
from collections.abc import Mapping
from typing import Any

from dashboard.core.error_values import without_values
from dashboard.core.redaction import scrubbed
from dashboard.telemetry import request_id
from dashboard.telemetry.outages import what_is_away
from dashboard.telemetry.tracing import Missing
from dashboard.version import VERSION

SWITCH = "SENTRY_DSN"
# What of an event leaves; the rest is what libraries found on the way.
KEPT = (
    "event_id",
    "timestamp",
    "level",
    "platform",
    "release",
    "environment",
    "sdk",
    "exception",
    "logger",
    "fingerprint",
)
KEPT_OF_FRAME = ("filename", "function", "module", "lineno", "in_app", "abs_path")


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for Sentry."""
    return bool(environ.get(SWITCH))


def begin(environ: Mapping[str, str], transport: Any = None) -> None:
    """Send mistakes from now on, where that is wanted. ``transport`` replaces the network in tests.

    Raises:
        Missing: it is wanted, but not installed.
    """
    if not wanted(environ):
        return
    try:
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration
        from sentry_sdk.integrations.logging import LoggingIntegration
    except ImportError:
        raise Missing(
            "SENTRY_DSN asks for Sentry, which is not installed: pip install 'partner-console[sentry]'"
        ) from None
    sentry_sdk.init(
        dsn=environ[SWITCH],
        release=environ.get("SENTRY_RELEASE") or f"partner-console@{VERSION}",
        transport=transport,
        # Mistakes are logged, with their exception, by Flask and by the queue: that is where they are heard.
        default_integrations=False,
        integrations=[
            LoggingIntegration(level=None, event_level=logging.ERROR),
            ExcepthookIntegration(),
            # What waits is sent at the end, without a word on standard error.
            AtexitIntegration(callback=lambda _pending, _timeout: None),
        ],
        auto_enabling_integrations=False,
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        max_request_body_size="never",
        before_send=clean,
    )


def end() -> None:
    """Hand over what is waiting, and send no more."""
    import sentry_sdk

    sentry_sdk.get_client().close(timeout=2)
    sentry_sdk.Scope.get_global_scope().set_client(None)


def clean(event: Any, hint: Any = None) -> Any:
    """An event of Sentry's with what may leave the console, and nothing else; None for one of thousands in an outage."""
    record = (hint or {}).get("log_record")
    if record is not None and what_is_away(record):
        return None
    kept: dict[str, Any] = {name: event[name] for name in KEPT if name in event}
    kept["tags"] = {"request_id": request_id.current()} if request_id.current() else {}
    message = event.get("logentry", {}).get("message") or event.get("message")
    if message:
        # As it stands in the code, before values are put in.
        kept["message"] = scrubbed(str(message))
    kept["exception"] = {
        "values": [_exception(each) for each in event.get("exception", {}).get("values", [])]
    }
    return kept


def _exception(found: Mapping[str, Any]) -> dict[str, Any]:
    frames = (found.get("stacktrace") or {}).get("frames", [])
    return {
        "type": found.get("type"),
        "module": found.get("module"),
        "value": scrubbed(without_values(str(found.get("value") or ""))),
        "stacktrace": {
            "frames": [
                {name: frame[name] for name in KEPT_OF_FRAME if name in frame} for frame in frames
            ]
        },
    }
