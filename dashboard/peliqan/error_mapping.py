"""Map a failed call to one of ``errors``. The errors contain no token and no full URL."""

import json
import ssl
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import DecodeError, HTTPError, NewConnectionError, ReadTimeoutError

from dashboard.core import unreachable
from dashboard.peliqan import errors
from dashboard.peliqan.circuit_breaker import CircuitOpen, Outage
from dashboard.peliqan.rate_limit import CounterUnavailable
from dashboard.peliqan.retries import retry_wait
from dashboard.peliqan.routes import Route

SHOWN_DETAIL: Final = 500


def broken(route: Route, what: str, status: int | None = None) -> errors.BrokenAnswer:
    """Return the error of an answer that cannot be used; ``what`` says why."""
    return errors.BrokenAnswer(route.name, status=status, note=what, outcome_unknown=route.once)


def lost(route: Route, error: requests.RequestException | HTTPError) -> errors.PeliqanError:
    """Return the error of a call without an answer.

    It says whether the request can have reached the server.
    """
    cause = unreachable.root_cause(error)
    if isinstance(cause, CounterUnavailable):
        return errors.RateLimiterUnavailable(route.name)
    if isinstance(cause, CircuitOpen):
        return away(route, cause.outage)
    if isinstance(error, requests.ConnectTimeout):
        return errors.TimedOut(route.name)
    if isinstance(error, requests.Timeout) or isinstance(cause, (ReadTimeoutError, TimeoutError)):
        return errors.TimedOut(route.name, outcome_unknown=route.once)
    if isinstance(error, (requests.exceptions.ContentDecodingError, DecodeError)):
        return broken(route, "it cannot be unpacked")
    if not isinstance(error, requests.RequestException) and not isinstance(cause, OSError):
        return broken(route, "it was cut off")
    never_sent = isinstance(
        cause, (NewConnectionError, ConnectionRefusedError, ssl.SSLCertVerificationError)
    )
    return errors.Unreachable(
        route.name, outcome_unknown=route.once and not never_sent, note=unreachable.reason(error)
    )


def away(route: Route, outage: Outage) -> errors.ApiUnavailable:
    """Return the error of a call that was not sent because of an outage."""
    since = f"{outage.since.day} {outage.since:%B, %H:%M} UTC"
    last = f" (the last with: {outage.reason.rstrip('.')})" if outage.reason else ""
    what = "it is asked now and then only" if route.is_safe else "this was not sent"
    return errors.ApiUnavailable(
        route.name, note=f"every try since {since} has failed{last}, so {what}"
    )


def refusal(
    route: Route, response: requests.Response, content: bytes, token: str
) -> errors.PeliqanError:
    """Return the error of an answer whose status is not 2xx, without the token if it repeats it."""
    status = response.status_code
    if 300 <= status < 400:
        host = _host(response.url, response.headers.get("Location", ""))
        return broken(
            route, f"it points to another place, at {host}; redirects are not followed", status
        )
    code, detail = _code_and_detail(content.replace(token.encode(), b"[token]"))
    known: dict[str, Any] = {"status": status, "error": code, "detail": detail}
    found = _refusal_class(status, code)
    is_server_error = found is errors.ServerError
    failure = found(route.name, outcome_unknown=is_server_error and route.once, **known)
    if is_server_error or found is errors.RateLimited:
        failure.retry_after = retry_wait(response.headers.get("Retry-After"))
    return failure


def _refusal_class(status: int, code: str | None) -> type[errors.PeliqanError]:
    if status == 401:
        return errors.NotAuthorised
    if status == 403 or code == "ERROR_USER_NOT_IN_GROUP":
        return errors.Forbidden
    if status == 404:
        return errors.NotFound
    if status == 409 or (code and "ALREADY_RUNNING" in code):
        return errors.Busy
    if status == 429:
        return errors.RateLimited
    return errors.ServerError if status >= 500 else errors.Refused


def _host(base: str, location: str) -> str:
    """Return the host that a redirect points to: the rest of the URL may hold secrets."""
    try:
        return (urlsplit(urljoin(base, location)).hostname or "no host")[:100]
    except ValueError:
        return "an unreadable address"


def _code_and_detail(content: bytes) -> tuple[str | None, str | None]:
    """Return ``error`` and ``detail`` of a body in Baserow's shapes; None for a web page."""
    try:
        body = json.loads(content)
        if not isinstance(body, dict):
            return None, None
        detail = _flat(body.get("detail") if {"error", "detail"} & body.keys() else body)
    except (ValueError, RecursionError):
        return None, None
    code = body.get("error")
    return (code[:100] if isinstance(code, str) else None), (detail[:SHOWN_DETAIL] or None)


def _flat(detail: Any) -> str:
    """Return nested details as text.

    ``{"size": [{"error": "Too large.", "code": ...}]}`` becomes "size: Too large.".
    """
    if isinstance(detail, dict):
        if isinstance(detail.get("error"), str):
            return str(detail["error"])
        return "; ".join(f"{name}: {_flat(inner)}" for name, inner in detail.items())
    if isinstance(detail, list):
        return ", ".join(map(_flat, detail))
    return "" if detail is None else str(detail)
