"""Filters, globals and addresses for the templates."""

import json
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, url_for
from flask_login import current_user
from jinja2 import StrictUndefined
from markupsafe import Markup

from dashboard.peliqan.statuses import severity_of_health, severity_of_run
from dashboard.version import VERSION
from dashboard.web import htmx, state_labels
from dashboard.web.navigation import ADMIN_NAVIGATION, LINK_NAVIGATION, NAVIGATION
from dashboard.web.page_after_sign_in import requested_url
from dashboard.web.status_banner import coverage

# The browser's storage stays empty, no script is evaluated, and errors are not put into the page.
HTMX_CONFIG: Final = {
    "includeIndicatorStyles": False,
    "allowEval": False,
    "historyCacheSize": 0,
    "refreshOnHistoryMiss": True,
    "responseHandling": [
        {"code": "204", "swap": False},
        {"code": "[23]..", "swap": True},
        {"code": "[45]..", "swap": False, "error": True},
    ],
}


def connection_url(account_id: int, connection_id: int) -> str:
    """Return the address of a connection's page."""
    return url_for("connections.show", account_id=account_id, connection_id=connection_id)


def account_url(account_id: int) -> str:
    """Return the address of an account's page."""
    return url_for("accounts.show", account_id=account_id)


def init_app(app: Flask) -> None:
    """Register the filters and globals of the templates."""
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(duration=_duration, number=_number, words=_words, host=_host)
    app.jinja_env.globals.update(
        account_url=account_url,
        address_asked_for=requested_url,
        admin_navigation=ADMIN_NAVIGATION,
        connection_url=connection_url,
        coverage=coverage,
        htmx_config=Markup(json.dumps(HTMX_CONFIG, separators=(",", ":"))),  # noqa: S704 - a constant
        labels=state_labels,
        link_navigation=LINK_NAVIGATION,
        navigation=NAVIGATION,
        severity_of_health=severity_of_health,
        severity_of_run=severity_of_run,
        is_htmx=htmx.is_htmx,
        version=VERSION,
    )
    app.context_processor(lambda: {"me": current_user if current_user.is_authenticated else None})


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def _words(value: str) -> str:
    """Return a code such as ``saltedge_refresh`` as words."""
    return value.replace("_", " ").replace(".", " ")


def _host(url: str) -> str:
    """Return the host of an address."""
    return urlsplit(url).hostname or url
