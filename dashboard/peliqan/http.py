"""One request to Peliqan: timeouts, limits, retries of safe reads, and errors that say what happened.

No redirect is ever followed: a token would go with it. A safe read is retried on a lost connection and on 429, 502, 503 and
504, with growing, jittered waits; what has a side effect (``Route.once``) is sent once.
"""

import json
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from importlib.metadata import version
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from pydantic import BaseModel, TypeAdapter, ValidationError
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import DecodeError, HTTPError, NewConnectionError, ReadTimeoutError

from dashboard.peliqan import errors
from dashboard.peliqan.adapter import OneHostAdapter
from dashboard.peliqan.rate import CountAway, Pace
from dashboard.peliqan.retries import LONGEST_WAIT, PatientRetry, TooLongToWait, retry_wait
from dashboard.peliqan.routes import Route
from dashboard.peliqan.watching import Unwatched, Watch

CONNECT_TIMEOUT: Final = 5.0
LARGEST_BODY: Final = 16 * 1024 * 1024
SHOWN_DETAIL: Final = 500
PIECE: Final = 64 * 1024
# Anything else cannot stand in a header, and the refusal of http.client would quote it.
TOKEN: Final = re.compile(r"[!-~]+")
M = TypeVar("M", bound=BaseModel)
V = TypeVar("V")


class Transport:
    """Sends requests to one base address. Safe to use from many threads.

    Through requests' adapters and not its sessions: these would keep a customer's cookies for the next, follow redirects and
    put a .netrc's password in the token's place, and cost a third of the time.
    """

    def __init__(
        self,
        base_url: str,
        *,
        read_timeout: float = 15.0,
        concurrency: int = 8,
        pace: Pace | None = None,
        retries: int = 3,
        backoff: float = 0.3,
        adapter: BaseAdapter | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Times in seconds. ``concurrency`` sizes the pool; ``pace`` says how fast; ``adapter`` replaces the network."""
        self._watch = watch or Unwatched()
        self._pace = pace or Pace(concurrency)
        self._base = base_url.rstrip("/")
        self._headers = {
            "User-Agent": f"partner-console/{version('partner-console')}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
        }
        # Asked once: requests would go through the whole environment with every request, a quarter of its time.
        self._proxies = get_environ_proxies(self._base)
        self._verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._timeout = (CONNECT_TIMEOUT, read_timeout)
        # However slowly a body drips, it is at an end after this; waits before a retry do not count.
        self._deadline = 3 * read_timeout
        patient = PatientRetry(
            total=retries,
            redirect=0,
            backoff_factor=backoff,
            backoff_jitter=backoff,
            backoff_max=LONGEST_WAIT,
            allowed_methods={"GET"},
            raise_on_status=False,
        )
        patient.pace = self._pace.wait
        self._reads = adapter or OneHostAdapter(1, concurrency, max_retries=patient)
        self._replaced = adapter is not None
        self._prepared: dict[Route, requests.PreparedRequest] = {}

    @contextmanager
    def _adapter_for(self, route: Route) -> Iterator[BaseAdapter]:
        """The shared pool for reads; for ``Route.once`` a new one without retries, and so a new connection each.

        One from a pool may have been closed by the other side meanwhile, which cannot be told from a request that was
        carried out and whose answer was lost. To ask with ``Connection: close`` is not enough: not every server heeds it.
        """
        if not route.once or self._replaced:
            yield self._reads
            return
        with closing(HTTPAdapter(1, 1, max_retries=Retry(total=0, redirect=0))) as adapter:
            yield adapter

    def send(
        self,
        route: Route,
        token: str,
        *,
        place: Mapping[str, int] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """The answer's JSON.

        Raises:
            errors.PeliqanError: everything that can go wrong; never with a token or a whole URL in it.
        """
        with self._watch.call(route.name) as headers:
            return self._send(route, token, headers, place, query, body)

    def _send(
        self,
        route: Route,
        token: str,
        headers: Mapping[str, str],
        place: Mapping[str, int] | None,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
    ) -> Any:
        if not TOKEN.fullmatch(token):
            raise errors.NotAuthorised(route.name, note="the token has characters that no token has; it was not sent")
        # Raised below, outside of ``except``: what requests and urllib3 raise holds the address and the token, and would
        # hang on to ours as its context.
        try:
            request = self._prepare(route, place, query, body)
            request.headers.update(headers, Authorization=f"JWT {token}")
            with self._pace.slot, self._adapter_for(route) as adapter:
                self._pace.wait()
                with adapter.send(request, True, self._timeout, self._verify, None, self._proxies) as response:
                    went_well = 200 <= response.status_code < 300
                    content = self._read(route, response) if went_well else self._read_refusal(route, response)
            # Outside of the slot: what is left to do needs no network.
            if went_well:
                return _decode(route, content)
            failure = _refusal(route, response, content, token)
        except (requests.RequestException, HTTPError) as error:
            failure = _lost(route, error)
        raise failure

    def stream(self, route: Route, token: str, body: Mapping[str, Any], *, quiet: float) -> Iterator[bytes]:
        """The answer's lines as they come, for a route that only reads. ``quiet``: seconds to wait for a byte.

        Whoever stops asking closes the connection, and so tells Peliqan that nobody listens. A POST, so it is tried again only
        where no connection came about: the beginning may have been used already.

        Raises:
            errors.PeliqanError: as ``send``.
        """
        with self._watch.call(route.name) as headers:
            yield from self._stream(route, token, headers, body, quiet)

    def _stream(
        self, route: Route, token: str, headers: Mapping[str, str], body: Mapping[str, Any], quiet: float
    ) -> Iterator[bytes]:
        if not TOKEN.fullmatch(token):
            raise errors.NotAuthorised(route.name, note="the token has characters that no token has; it was not sent")
        try:
            request = self._prepare(route, None, None, body)
            request.headers.update(headers, Authorization=f"JWT {token}")
            with self._pace.slot:
                self._pace.wait()
                with self._reads.send(request, True, (CONNECT_TIMEOUT, quiet), self._verify, None, self._proxies) as response:
                    if 200 <= response.status_code < 300:
                        yield from _lines(route, response)
                        return
                    failure = _refusal(route, response, self._read_refusal(route, response), token)
        except (requests.RequestException, HTTPError) as error:
            failure = _lost(route, error)
        raise failure

    def _prepare(
        self, route: Route, place: Mapping[str, int] | None, query: Mapping[str, Any] | None, body: Mapping[str, Any] | None
    ) -> requests.PreparedRequest:
        """The request without its token. That for all connections of an account is always the same: made once, then copied."""
        always_same = not (place or query or body)
        if always_same and route in self._prepared:
            return self._prepared[route].copy()
        url = self._base + route.path.format(**(place or {}))
        headers = {**self._headers, **({"Connection": "close"} if route.once else {})}
        made = requests.Request(route.method, url, headers, params=query, json=body).prepare()
        if always_same:
            self._prepared[route] = made.copy()
        return made

    def _read(self, route: Route, response: requests.Response) -> bytes:
        content = bytearray()
        started = time.monotonic()
        for piece in _pieces(response):
            content += piece
            if len(content) > LARGEST_BODY:
                raise _broken(route, "it is larger than 16 MB")
            if time.monotonic() - started > self._deadline:
                raise errors.TimedOut(route.name, status=response.status_code, outcome_unknown=route.once)
        return bytes(content)

    def _read_refusal(self, route: Route, response: requests.Response) -> bytes:
        """A refusal's body, or nothing: the status alone tells what happened."""
        try:
            return self._read(route, response)
        except (errors.PeliqanError, requests.RequestException, HTTPError):
            return b""


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives, unpacked. requests' own ``iter_content`` would wait for a whole piece, however slow it is."""
    if not isinstance(response.raw, BaseHTTPResponse):
        yield from response.iter_content(PIECE)
        return
    while piece := response.raw.read1(PIECE, decode_content=True):
        yield piece


def _lines(route: Route, response: requests.Response) -> Iterator[bytes]:
    rest = bytearray()
    for piece in _pieces(response):
        rest += piece
        *whole, last = rest.split(b"\n")
        yield from (bytes(line) for line in whole if line.strip())
        rest = bytearray(last)
        if len(rest) > LARGEST_BODY:
            raise _broken(route, "a line of it is larger than 16 MB")
    if rest.strip():
        yield bytes(rest)


def parse(model: type[M], data: Any, route: Route) -> M:
    """JSON as a typed answer.

    Raises:
        errors.BrokenAnswer: naming the fields that are missing or of the wrong type, without their values.
    """
    found: M = _typed(_kind(model), data, route)
    return found


def parse_list(model: type[M], data: Any, route: Route) -> list[M]:
    """A JSON list as typed answers; raises as ``parse`` does."""
    return _typed(_list_kind(model), data, route)


@cache
def _kind(model: type[BaseModel]) -> TypeAdapter[Any]:
    return TypeAdapter(model)


@cache
def _list_kind(model: type[BaseModel]) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def _typed(kind: TypeAdapter[V], data: Any, route: Route) -> V:
    # As in ``send``: pydantic's error holds the values, so it must not become the context of ours.
    try:
        return kind.validate_python(data)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        what = "; ".join(f"field {'.'.join(map(str, each['loc'])) or '(all)'}: {each['msg']}" for each in found[:3])
    except RecursionError:
        what = "it is nested too deeply"
    raise _broken(route, what[:SHOWN_DETAIL])


def _broken(route: Route, what: str, status: int | None = None) -> errors.BrokenAnswer:
    return errors.BrokenAnswer(route.name, status=status, note=what, outcome_unknown=route.once)


def _decode(route: Route, content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        kind = "it is a web page, not JSON" if content.lstrip()[:1] == b"<" else "it is no complete JSON"
    raise _broken(route, kind)


def _lost(route: Route, error: requests.RequestException | HTTPError) -> errors.PeliqanError:
    """A failure without an answer, by whether the request can have reached the other side."""
    cause = _deepest(error)
    if isinstance(cause, CountAway):
        return errors.NoPace(route.name)
    if isinstance(cause, TooLongToWait):
        kind = errors.RateLimited if cause.status == 429 else errors.ServerError
        return kind(route.name, status=cause.status, retry_after=cause.wait)
    if isinstance(error, requests.ConnectTimeout):
        return errors.TimedOut(route.name)
    if isinstance(error, requests.Timeout) or isinstance(cause, (ReadTimeoutError, TimeoutError)):
        return errors.TimedOut(route.name, outcome_unknown=route.once)
    if isinstance(error, (requests.exceptions.ContentDecodingError, DecodeError)):
        return _broken(route, "it cannot be unpacked")
    if not isinstance(error, requests.RequestException) and not isinstance(cause, OSError):
        return _broken(route, "it was cut off")
    never_sent = isinstance(cause, (NewConnectionError, ConnectionRefusedError, ssl.SSLCertVerificationError))
    return errors.Unreachable(route.name, outcome_unknown=route.once and not never_sent)


def _deepest(error: BaseException) -> BaseException:
    """The cause behind requests' and urllib3's wrappings; each keeps it in another place."""
    for _ in range(6):
        kept = (getattr(error, "reason", None), getattr(error, "original_error", None), *error.args)
        inner = next((each for each in kept if isinstance(each, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error


def _refusal(route: Route, response: requests.Response, content: bytes, token: str) -> errors.PeliqanError:
    status = response.status_code
    if 300 <= status < 400:
        host = _host(response.url, response.headers.get("Location", ""))
        return _broken(route, f"it points to another place, at {host}; redirects are not followed", status)
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
        return errors.RateLimited(route.name, retry_after=retry_wait(response.headers.get("Retry-After")), **known)
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
