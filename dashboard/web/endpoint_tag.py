"""Says by which endpoint a request is answered, and about which account: for the log and the measurements in front of the app."""

from flask import Flask, request

from dashboard.telemetry.access_log import ENDPOINT, PLACE


def init_app(app: Flask) -> None:
    """Before anything else, so that what is refused is known as well."""
    app.before_request(_say)


def _say() -> None:
    if request.endpoint is not None:
        request.environ[ENDPOINT] = request.endpoint
        # Numbers are Peliqan's ids. A word in an address may be anything.
        request.environ[PLACE] = {
            name: value
            for name, value in (request.view_args or {}).items()
            if isinstance(value, int)
        }
