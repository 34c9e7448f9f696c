"""One request to Peliqan: timeouts, limits, retries of safe reads, and errors that say what happened.

No redirect is ever followed: a token would go with it. A safe read is retried on a lost connection and on 429, 502, 503 and
504, with growing, jittered waits; what has a side effect (``Route.once``) is sent once.
"""

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from pydantic import BaseModel, ValidationError
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from dashboard.peliqan import errors
from dashboard.peliqan.routes import Route

CONNECT_TIMEOUT: Final = 5.0
LARGEST_BODY: Final = 16 * 1024 * 1024
LONGEST_WAIT: Final = 20.0
RETRIED: Final = (429, 502, 503, 504)
SHOWN_DETAIL: Final = 500
M = TypeVar("M", bound=BaseModel)


class PatientRetry(Retry):
    """urllib3's Retry, but a Retry-After beyond ``LONGEST_WAIT`` is not slept through: the caller is told the wait."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether the status is one to try again."""
        return method == "GET" and status_code in RETRIED and bool(self.total)

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait as Retry-After says, if that is bearable."""
        if response is not None and (retry_wait(response.headers.get("Retry-After")) or 0) > LONGEST_WAIT:
            raise _TooLongToWait(response)
        super().sleep(response)


class _TooLongToWait(HTTPError):
    def __init__(self, response: BaseHTTPResponse) -> None:
        self.status = response.status
        self.wait = retry_wait(response.headers.get("Retry-After"))
        super().__init__("Retry-After is too long to wait for")


class Transport:
    """Sends requests to one base address. Safe to use from many threads."""

    def __init__(
        self,
        base_url: str,
        *,
        read_timeout: float = 15.0,
        concurrency: int = 8,
        retries: int = 3,
        backoff: float = 0.3,
        adapter: BaseAdapter | None = None,
    ) -> None:
        """Times in seconds. ``adapter`` replaces the network, for tests."""
        self._base = base_url.rstrip("/")
        self._timeout = (CONNECT_TIMEOUT, read_timeout)
        # However slowly a body drips, it is at an end after this.
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
        self._reads = self._session(adapter or HTTPAdapter(1, concurrency, max_retries=patient))
        # No retries, and a new connection each: one from a pool may have been closed by the other side meanwhile, which
        # cannot be told from a request that was carried out and whose answer was lost.
        self._once = self._session(adapter or HTTPAdapter(1, concurrency, max_retries=Retry(total=0, redirect=0)))
        self._once.headers["Connection"] = "close"

    @staticmethod
    def _session(adapter: BaseAdapter) -> requests.Session:
        session = requests.Session()
        # Proxies of the environment are used; a .netrc would replace the Authorization header, but ours is set explicitly
        # through ``auth``, which takes precedence.
        session.headers.update({"User-Agent": f"partner-console/{version('partner-console')}", "Accept": "application/json"})
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session

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
        session = self._once if route.once else self._reads
        url = self._base + route.path.format(**(place or {}))
        started = time.monotonic()
        try:
            with session.request(
                route.method,
                url,
                params=query,
                json=body,
                auth=_Jwt(token),
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = self._read(route, response, started)
        except (requests.RequestException, _TooLongToWait) as error:
            raise _lost(route, error) from None
        if not 200 <= response.status_code < 300:
            raise _refusal(route, response, content)
        return _decode(route, content)

    def _read(self, route: Route, response: requests.Response, started: float) -> bytes:
        content = bytearray()
        for chunk in response.iter_content(64 * 1024):
            content += chunk
            if len(content) > LARGEST_BODY:
                raise _broken(route, "it is larger than 16 MB")
            if time.monotonic() - started > self._deadline:
                raise errors.TimedOut(route.name, status=response.status_code, outcome_unknown=route.once)
        return bytes(content)


class _Jwt(requests.auth.AuthBase):
    """Peliqan's scheme. As ``auth`` and not as a header, since a .netrc would replace a header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"JWT {self._token}"
        return request


def parse(model: type[M], data: Any, route: Route) -> M:
    """JSON as a typed answer.

    Raises:
        errors.BrokenAnswer: naming the fields that are missing or of the wrong type, without their values.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        where = "; ".join(f"field {'.'.join(map(str, each['loc'])) or '(all)'}: {each['msg']}" for each in found[:3])
        raise _broken(route, where) from None
    except RecursionError:
        raise _broken(route, "it is nested too deeply") from None


def retry_wait(header: str | None, now: float | None = None) -> float | None:
    """A Retry-After header in seconds, from seconds or a date; None when it is absent or unreadable."""
    if not header:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(header[:9])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - (time.time() if now is None else now))
    except (ValueError, TypeError, OverflowError):
        return None


def _broken(route: Route, what: str, status: int | None = None) -> errors.BrokenAnswer:
    return errors.BrokenAnswer(route.name, status=status, note=what, outcome_unknown=route.once)


def _decode(route: Route, content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        kind = "it is a web page, not JSON" if content.lstrip()[:1] == b"<" else "it is no complete JSON"
        raise _broken(route, kind) from None


def _lost(route: Route, error: requests.RequestException | _TooLongToWait) -> errors.PeliqanError:
    """A failure without an answer, by whether the request can have reached the other side."""
    cause = _deepest(error)
    if isinstance(cause, _TooLongToWait):
        kind = errors.RateLimited if cause.status == 429 else errors.ServerError
        return kind(route.name, status=cause.status, retry_after=cause.wait)
    if isinstance(error, requests.ConnectTimeout):
        return errors.TimedOut(route.name)
    if isinstance(error, requests.Timeout) or isinstance(cause, (ReadTimeoutError, TimeoutError)):
        return errors.TimedOut(route.name, outcome_unknown=route.once)
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return _broken(route, "it cannot be unpacked")
    never_sent = isinstance(cause, (NewConnectionError, ConnectionRefusedError)) or isinstance(
        error, requests.exceptions.SSLError
    )
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return _broken(route, "it was cut off")
    return errors.Unreachable(route.name, outcome_unknown=route.once and not never_sent)


def _deepest(error: BaseException) -> BaseException:
    """The cause behind requests' and urllib3's wrappings."""
    for _ in range(6):
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return error


def _refusal(route: Route, response: requests.Response, content: bytes) -> errors.PeliqanError:
    status = response.status_code
    code, detail = _their_words(content)
    known: dict[str, Any] = {"status": status, "error": code, "detail": detail}
    if 300 <= status < 400:
        host = urlsplit(urljoin(response.url, response.headers.get("Location", ""))).hostname
        return _broken(route, f"it points to another place, at {host}; redirects are not followed", status)
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
        return errors.ServerError(route.name, outcome_unknown=route.once, **known)
    return errors.Refused(route.name, **known)


def _their_words(content: bytes) -> tuple[str | None, str | None]:
    """``error`` and ``detail`` of an error's body, in the three shapes that Baserow has; nothing of a web page's."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(body, dict):
        return None, None
    code, detail = body.get("error"), body.get("detail")
    if detail is not None and not isinstance(detail, str):
        detail = json.dumps(detail, ensure_ascii=False)
    return (code[:100] if isinstance(code, str) else None), (detail[:SHOWN_DETAIL] if detail else None)
