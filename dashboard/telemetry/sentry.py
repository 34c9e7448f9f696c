"""Error reports to Sentry; on if its own variable SENTRY_DSN is set.

A report has the exception's type, its redacted text, the stack frames, and the request's id. It
has no local variables, bodies, headers, cookies, queries, users or log lines, since these may
contain any data.
"""

import logging
from collections.abc import Mapping
from typing import Any

from dashboard.core.error_values import without_values
from dashboard.core.redaction import scrubbed
from dashboard.telemetry import request_id
from dashboard.telemetry.outage_log import outage_of_record
from dashboard.telemetry.tracing import Missing
from dashboard.version import VERSION

SWITCH = "SENTRY_DSN"
# Fields of an event that are sent; libraries add others.
SENT = (
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
SENT_OF_FRAME = ("filename", "function", "module", "lineno", "in_app", "abs_path")


def wanted(environ: Mapping[str, str]) -> bool:
    """Return whether the environment turns Sentry on."""
    return bool(environ.get(SWITCH))


def begin(environ: Mapping[str, str], transport: Any = None) -> None:
    """Start sending error reports if turned on. ``transport`` replaces the network in tests.

    Raises:
        Missing: it is turned on, but not installed.
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
            "SENTRY_DSN asks for Sentry, which is not installed:"
            " pip install 'partner-console[sentry]'"
        ) from None
    sentry_sdk.init(
        dsn=environ[SWITCH],
        release=environ.get("SENTRY_RELEASE") or f"partner-console@{VERSION}",
        transport=transport,
        # Reports come from log records with an exception: Flask and the queue log all of theirs.
        default_integrations=False,
        integrations=[
            LoggingIntegration(level=None, event_level=logging.ERROR),
            ExcepthookIntegration(),
            # Sends what is queued at exit, without a message on standard error.
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
    """Send what is queued within two seconds, and stop."""
    import sentry_sdk

    sentry_sdk.get_client().close(timeout=2)
    sentry_sdk.Scope.get_global_scope().set_client(None)


def clean(event: Any, hint: Any = None) -> Any:
    """Return an event reduced to what may be sent; None during an outage, which has thousands."""
    record = (hint or {}).get("log_record")
    if record is not None and outage_of_record(record):
        return None
    sent: dict[str, Any] = {name: event[name] for name in SENT if name in event}
    sent["tags"] = {"request_id": request_id.current()} if request_id.current() else {}
    message = event.get("logentry", {}).get("message") or event.get("message")
    if message:
        # The template of the message, without its values.
        sent["message"] = scrubbed(str(message))
    sent["exception"] = {
        "values": [_exception(each) for each in event.get("exception", {}).get("values", [])]
    }
    return sent


def _exception(found: Mapping[str, Any]) -> dict[str, Any]:
    frames = (found.get("stacktrace") or {}).get("frames", [])
    return {
        "type": found.get("type"),
        "module": found.get("module"),
        "value": scrubbed(without_values(str(found.get("value") or ""))),
        "stacktrace": {
            "frames": [
                {name: frame[name] for name in SENT_OF_FRAME if name in frame} for frame in frames
            ]
        },
    }
