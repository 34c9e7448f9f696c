"""Puts endpoint and ids of a request into its WSGI environment, for the access log."""

from flask import Flask, request

from dashboard.telemetry.access_log import ENDPOINT, PATH_IDS


def init_app(app: Flask) -> None:
    """Set the tags before all other hooks, so that refused requests have them as well."""
    app.before_request(_tag_request)


def _tag_request() -> None:
    if request.endpoint is not None:
        request.environ[ENDPOINT] = request.endpoint
        # Numbers are Peliqan's ids; text in an address may be anything.
        request.environ[PATH_IDS] = {
            name: value
            for name, value in (request.view_args or {}).items()
            if isinstance(value, int)
        }
