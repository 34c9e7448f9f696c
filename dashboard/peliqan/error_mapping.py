"""What kept a call from giving its answer, as one of ``errors``: never with a token or a whole address in it."""

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
    """An answer that cannot be used; ``what``: why."""
    return errors.BrokenAnswer(route.name, status=status, note=what, outcome_unknown=route.once)


def lost(route: Route, error: requests.RequestException | HTTPError) -> errors.PeliqanError:
    """A failure without an answer, by whether the request can have reached the other side."""
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
    """Nothing is sent, since Peliqan does not answer."""
    since = f"{outage.since.day} {outage.since:%B, %H:%M} UTC"
    last = f" (the last with: {outage.reason.rstrip('.')})" if outage.reason else ""
    what = "it is asked now and then only" if route.is_safe else "this was not sent"
    return errors.ApiUnavailable(
        route.name, note=f"every try since {since} has failed{last}, so {what}"
    )


def refusal(
    route: Route, response: requests.Response, content: bytes, token: str
) -> errors.PeliqanError:
    """An answer with another status than 2xx. The token, should the answer repeat it, is taken out."""
    status = response.status_code
    if 300 <= status < 400:
        host = _host(response.url, response.headers.get("Location", ""))
        return broken(
            route, f"it points to another place, at {host}; redirects are not followed", status
        )
    code, detail = _their_words(content.replace(token.encode(), b"[token]"))
    known: dict[str, Any] = {"status": status, "error": code, "detail": detail}
    if status == 401:
        return errors.NotAuthorised(route.name, **known)
    if status == 403 or code == "ERROR_USER_NOT_IN_GROUP":
        return errors.Forbidden(route.name, **known)
    if status == 404:
        return errors.NotFound(route.name, **known)
    if status == 409 or (code and "ALREADY_RUNNING" in code):
        return errors.Busy(route.name, **known)
    if status == 429:
        return errors.RateLimited(
            route.name, retry_after=retry_wait(response.headers.get("Retry-After")), **known
        )
    if status >= 500:
        wait = retry_wait(response.headers.get("Retry-After"))
        return errors.ServerError(route.name, outcome_unknown=route.once, retry_after=wait, **known)
    return errors.Refused(route.name, **known)


def _host(base: str, location: str) -> str:
    """Where a redirect points, by its host alone: the rest of the address may hold secrets."""
    try:
        return (urlsplit(urljoin(base, location)).hostname or "no host")[:100]
    except ValueError:
        return "an unreadable address"


def _their_words(content: bytes) -> tuple[str | None, str | None]:
    """``error`` and ``detail`` of an error's body, in the shapes that Baserow has; nothing of a web page's."""
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
    """Nested details as text: ``{"size": [{"error": "Too large.", "code": ...}]}`` is "size: Too large."."""
    if isinstance(detail, dict):
        if isinstance(detail.get("error"), str):
            return str(detail["error"])
        return "; ".join(f"{name}: {_flat(inner)}" for name, inner in detail.items())
    if isinstance(detail, list):
        return ", ".join(map(_flat, detail))
    return "" if detail is None else str(detail)
