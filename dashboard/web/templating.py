"""Filters, globals and addresses of the templates."""

import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, current_app, request, url_for
from flask_login import current_user
from jinja2 import StrictUndefined

from dashboard.peliqan.statuses import severity_of_health, severity_of_run
from dashboard.version import VERSION
from dashboard.web import htmx
from dashboard.web.access import address_asked_for
from dashboard.web.coverage import coverage

_INT_IN_RULE = re.compile(r"<int:(\w+)>")


@cache
def _pattern(endpoint: str) -> str:
    """The endpoint's path with its numbers in braces."""
    return _INT_IN_RULE.sub(r"{\1}", next(current_app.url_map.iter_rules(endpoint)).rule)


def object_url(endpoint: str, **numbers: int) -> str:
    """What ``url_for`` gives for a page that numbers alone lead to. Lists ask for two a row: a seventh of their time."""
    return request.root_path + _pattern(endpoint).format(**numbers)


def quick_url_for(endpoint: str, **values: Any) -> str:
    """``url_for`` for the templates: it works out anew what each of a page's dozens of plain links and icons is."""
    if endpoint == "static":
        return _static(request.root_path, **values)
    return (
        url_for(endpoint, **values) if values or endpoint.startswith(".") else object_url(endpoint)
    )


@cache
def _static(_root_path: str, filename: str) -> str:
    """As long as the process lives: so do the files' fingerprints."""
    return url_for("static", filename=filename)


def init_app(app: Flask) -> None:
    """Give the templates their filters and what every page shows."""
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(duration=_duration, number=_number, words=_words, host=_host)
    app.jinja_env.globals.update(
        address_asked_for=address_asked_for,
        coverage=coverage,
        severity_of_health=severity_of_health,
        severity_of_run=severity_of_run,
        is_htmx=htmx.is_htmx,
        row_url=object_url,
        url_for=quick_url_for,
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
    """``saltedge_refresh`` as people read it."""
    return value.replace("_", " ").replace(".", " ")


def _host(url: str) -> str:
    """Of an address, what people tell it by."""
    return urlsplit(url).hostname or url
