"""One request to Peliqan: timeouts, limits, retries of safe reads, and errors.

Redirects are never followed, since the token would go along. A safe read is retried on a lost
connection and on 429, 502, 503 and 504, with growing, jittered waits; after a time-out only once,
since more requests make a slow server slower. A request with a side effect (``Route.once``) is
sent once.
"""

import logging
import os
import re
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import requests
from requests.adapters import BaseAdapter
from requests.utils import get_environ_proxies
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from dashboard.peliqan import errors
from dashboard.peliqan.adapter import BoundedAdapter, CancelHandle
from dashboard.peliqan.circuit_breaker import CircuitBreaker
from dashboard.peliqan.error_mapping import away, lost, refusal
from dashboard.peliqan.limits import CONNECT_TIMEOUT, LARGEST_BODY
from dashboard.peliqan.observers import ApiCallObserver, NoObserver
from dashboard.peliqan.rate_limit import RateLimiter
from dashboard.peliqan.responses import decode, lines, read_body
from dashboard.peliqan.retries import RETRIED, next_wait
from dashboard.peliqan.routes import Route
from dashboard.version import VERSION

log = logging.getLogger(__name__)
# Seconds that the body of a refusal may take: the status alone is enough.
REFUSAL_TIMEOUT: Final = 2.0
# Seconds that a probe may take: requests have waited a full read timeout before it already.
PROBE_TIMEOUT: Final = 5.0
# The cheapest read of a customer. A probe repeats the last one that succeeded.
PROBE_ROUTE: Final = "servers"
# Other characters are not valid in a header, and http.client's error would quote the token.
TOKEN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class ClientOptions:
    """How requests are sent. Times in seconds.

    ``concurrency`` sizes the connection pool, and the limiter if ``rate_limiter`` is None.
    ``retries``: further tries of a safe read. ``adapter`` replaces the network, for tests.
    """

    read_timeout: float = 15.0
    concurrency: int = 8
    rate_limiter: RateLimiter | None = None
    breaker: CircuitBreaker | None = None
    retries: int = 3
    backoff: float = 0.3
    adapter: BaseAdapter | None = None
    observer: ApiCallObserver | None = None


@dataclass(frozen=True)
class Call:
    """One request before it is sent.

    ``path_params`` fill the braces of the path; ``body`` is sent as JSON.
    """

    route: Route
    token: str
    path_params: Mapping[str, int] | None = None
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None

    @property
    def account(self) -> Hashable:
        """A key of the account: its token, and in a partner's call also the requested account."""
        names = (
            {"account_id", "external_id"} & (self.query or {}).keys() if self.route.partner else ()
        )
        return self.token, *((self.query or {})[name] for name in sorted(names))

    def __repr__(self) -> str:
        return f"Call({self.route.name})"


class Transport:
    """Sends requests to one base URL. Thread-safe.

    Uses adapters of ``requests`` instead of its sessions. Sessions would keep a customer's cookies
    for the next one, follow redirects, replace the token by a .netrc's password, and take 50 %
    more time.
    """

    def __init__(self, base_url: str, options: ClientOptions | None = None) -> None:
        options = options or ClientOptions()
        self._observer = options.observer or NoObserver()
        self._rate_limiter = options.rate_limiter or RateLimiter(options.concurrency)
        self.breaker = options.breaker or CircuitBreaker()
        self._base = base_url.rstrip("/")
        self._headers = {
            "User-Agent": f"partner-console/{VERSION}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
        }
        # Read once: requests would read the environment at every request, a quarter of its time.
        self._proxies = get_environ_proxies(self._base)
        self._verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self.read_timeout = options.read_timeout
        self._connect = min(CONNECT_TIMEOUT, self.read_timeout)
        self._timeout = (self._connect, self.read_timeout)
        # The largest body, or line of a stream, in bytes after decompression.
        self.largest = LARGEST_BODY
        self._retries, self._backoff = options.retries, options.backoff
        # urllib3 does not retry: each try has to consult the breaker and the limiter.
        self._reads = options.adapter or BoundedAdapter(
            1, options.concurrency, max_retries=Retry(total=0, redirect=0)
        )
        self._replaced = options.adapter is not None
        # A probe sends ``_last_good``, or the partner's call, which ``Peliqan`` sets.
        self.partner_probe: Call | None = None
        self._last_good: Call | None = None

    @contextmanager
    def _adapter_for(
        self, route: Route, cancel: CancelHandle | None = None
    ) -> Iterator[BaseAdapter]:
        """Yield the shared pool for reads, and a new one for ``Route.once`` and with ``cancel``.

        A new pool means a new connection. The server may have closed a pooled connection; that
        looks like an executed request whose answer was lost. ``Connection: close`` does not
        suffice: not every server heeds it.
        """
        if self._replaced or not (route.once or cancel):
            yield self._reads
            return
        with closing(
            BoundedAdapter(1, 1, cancel=cancel, max_retries=Retry(total=0, redirect=0))
        ) as adapter:
            yield adapter

    def send(self, call: Call, *, force: bool = False, retry_timeouts: bool = True) -> Any:
        """Send a request and return the JSON of its answer.

        ``force``: also while the breaker is open, to check whether Peliqan answers again.
        ``retry_timeouts``: False if the caller reacts to a time-out by asking for less.

        Raises:
            errors.PeliqanError: any failure; it contains no token and no full URL.
        """
        with self._observer.call(call.route.name) as headers:
            _check_token(call)
            return self._send(call, headers, force, retry_timeouts)

    def _send(
        self, call: Call, headers: Mapping[str, str], force: bool, retry_timeouts: bool
    ) -> Any:
        tries, timed_out = 0, not retry_timeouts
        while True:
            found = self._try(call, headers, is_probe=force, may_probe=tries == 0)
            if isinstance(found, bytes):
                return decode(call.route, found)
            tries += 1
            failure = found.error
            wait = (
                next_wait(tries, failure.retry_after, self._backoff)
                if found.may_retry and tries <= self._retries
                else None
            )
            if wait is None or (timed_out and isinstance(failure, errors.TimedOut)):
                raise failure
            timed_out = timed_out or isinstance(failure, errors.TimedOut)
            time.sleep(wait)

    def _try(
        self, call: Call, headers: Mapping[str, str], *, is_probe: bool, may_probe: bool
    ) -> "bytes | _Failed":
        """Send a request once; return the body or the failure, after informing the breaker.

        The caught errors hold the URL and the token. The caller raises the returned ones outside
        of ``except``, so that a caught error does not become their context.
        """
        route = call.route
        try:
            # Before the slot, so that refused requests do not queue; again inside, since the
            # breaker may have opened meanwhile.
            is_probe = is_probe or self.breaker.ensure_closed(may_probe=route.is_safe and may_probe)
            with self._rate_limiter.slot, self._adapter_for(route) as adapter:
                if not is_probe:
                    self.breaker.ensure_closed()
                self._rate_limiter.wait()
                answers = self.breaker.answers
                found = self._exchange(call, headers, adapter, self._timeout)
                self._record(call, found, answers)
        except (requests.RequestException, HTTPError) as error:
            # The breaker is open, or the limiter is unavailable: nothing was sent.
            return _Failed(lost(route, error))
        return found if isinstance(found, bytes) or not is_probe else _Failed(found.error)

    def _exchange(
        self,
        call: Call,
        headers: Mapping[str, str],
        adapter: BaseAdapter,
        timeout: tuple[float, float],
    ) -> "bytes | _Failed":
        """Send a request and read its answer. Never raises.

        ``timeout``: seconds to connect, and to wait for a byte. The body may take three times the
        latter in all.
        """
        route, answered = call.route, False
        try:
            request = self._prepare(call)
            request.headers.update(headers, Authorization=f"JWT {call.token}")
            with adapter.send(
                request, True, timeout, self._verify, None, self._proxies
            ) as response:
                answered = True
                if 200 <= response.status_code < 300:
                    return read_body(route, response, 3 * timeout[1], self.largest)
                content = self._read_refusal(route, response)
            return _Failed(
                refusal(route, response, content, call.token),
                route.is_safe and response.status_code in RETRIED,
            )
        except errors.PeliqanError as error:
            return _Failed(error)
        except (requests.ConnectionError, requests.Timeout) as error:
            return _Failed(lost(route, error), route.is_safe and not answered)
        except (requests.RequestException, HTTPError) as error:
            return _Failed(lost(route, error))

    def stream(
        self,
        call: Call,
        *,
        read_timeout: float,
        cancel: CancelHandle | None = None,
    ) -> Iterator[bytes]:
        """Send a request of a route that only reads, and yield the answer's lines as they arrive.

        ``read_timeout``: seconds to wait for a byte. Closing the iterator, or calling ``cancel``,
        closes the connection, which stops the query at Peliqan. The call holds a slot only until
        the answer starts, so that a long answer does not block others. A POST, so it is sent once.

        Raises:
            errors.PeliqanError: as ``send``.
        """
        with self._observer.call(call.route.name) as headers:
            yield from self._stream(call, headers, read_timeout, cancel or CancelHandle())

    def _stream(
        self, call: Call, headers: Mapping[str, str], read_timeout: float, cancel: CancelHandle
    ) -> Iterator[bytes]:
        _check_token(call)
        route, answers = call.route, self.breaker.answers
        try:
            request = self._prepare(call)
            request.headers.update(headers, Authorization=f"JWT {call.token}")
            self.breaker.ensure_closed()
            with self._adapter_for(route, cancel) as adapter:
                with self._rate_limiter.slot:
                    self.breaker.ensure_closed()
                    self._rate_limiter.wait()
                    answers = self.breaker.answers
                    timeout = (self._connect, read_timeout)
                    response = adapter.send(
                        request, True, timeout, self._verify, None, self._proxies
                    )
                with response:
                    if 200 <= response.status_code < 300:
                        self.breaker.record_answer()
                        yield from lines(route, response, 3 * read_timeout, self.largest)
                        return
                    content = self._read_refusal(route, response)
                    failure = refusal(route, response, content, call.token)
        except errors.PeliqanError as error:
            failure = error
        except (requests.RequestException, HTTPError) as error:
            failure = lost(route, error)
        if not cancel.was_called and not isinstance(failure, errors.NOT_SENT):
            with self._rate_limiter.slot:
                self._record(call, _Failed(failure), answers)
        raise failure

    def ensure(self, route: Route) -> None:
        """Check that no outage is known.

        For operations of several requests, so that their first read is not sent as a probe.

        Raises:
            errors.ApiUnavailable: a request would not be sent.
        """
        if (outage := self.breaker.outage) is not None:
            raise away(route, outage)

    def _record(self, call: Call, found: "bytes | _Failed", answers: int) -> None:
        """Inform the breaker of a result, and send a probe if it wants one. Needs a slot."""
        if isinstance(found, bytes):
            self.breaker.record_answer()
            if call.route.name == PROBE_ROUTE:
                self._last_good = call
        elif not isinstance(found.error, errors.SILENT):
            if not isinstance(found.error, errors.NOT_SENT):
                self.breaker.record_answer()
        elif self.breaker.record_failure(
            call.account, answers, timed_out=isinstance(found.error, errors.TimedOut)
        ):
            self._probe()

    def check(self) -> bool:
        """Send a probe in any case, and return whether Peliqan answers."""
        with self._rate_limiter.slot:
            self._probe()
        return self.breaker.outage is None

    def _probe(self) -> None:
        """Send one cheap read that is independent of the failing accounts; inform the breaker.

        Prefers a customer's call, since customers' routes can fail while the partner's work.
        """
        call = self._last_good
        if call is None or self.breaker.is_failing(call.account):
            call = self.partner_probe
        answers, answered, reason = self.breaker.answers, True, ""
        try:
            if call is not None:
                self._rate_limiter.wait()
                timeout = (self._connect, min(PROBE_TIMEOUT, self._timeout[1]))
                found = self._exchange(call, {}, self._reads, timeout)
                if not isinstance(found, bytes):
                    answered, reason = (
                        not isinstance(found.error, errors.SILENT),
                        found.error.sentence,
                    )
        except HTTPError:
            # The limiter is unavailable, so nothing was sent and nothing is known.
            log.debug("No probe was sent: the rate limiter is unavailable.")
        finally:
            self.breaker.record_probe(answers, answered=answered, reason=reason)

    def _prepare(self, call: Call) -> requests.PreparedRequest:
        """Return the request without its token."""
        route = call.route
        headers = {**self._headers, **({"Connection": "close"} if route.once else {})}
        url = self._base + route.path.format(**(call.path_params or {}))
        return requests.Request(
            route.method, url, headers, params=call.query or None, json=call.body
        ).prepare()

    def _read_refusal(self, route: Route, response: requests.Response) -> bytes:
        """Return a refusal's body; empty if it cannot be read, since the status alone is enough."""
        try:
            return read_body(
                route, response, min(REFUSAL_TIMEOUT, 3 * self._timeout[1]), self.largest
            )
        except (errors.PeliqanError, requests.RequestException, HTTPError):
            return b""


def _check_token(call: Call) -> None:
    if not TOKEN.fullmatch(call.token):
        raise errors.NotAuthorised(
            call.route.name, note="the token has characters that no token has; it was not sent"
        )


@dataclass(frozen=True)
class _Failed:
    """A try without a good answer."""

    error: errors.PeliqanError
    may_retry: bool = False
