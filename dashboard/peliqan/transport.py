"""One request to Peliqan: timeouts, limits, retries of safe reads, and errors that say what happened.

No redirect is ever followed: a token would go with it. A safe read is retried on a lost connection and on 429, 502, 503 and
504, with growing, jittered waits, and once after a time-out: a server that is slow gets slower by being asked again. A request
with a side effect (``Route.once``) is sent once.
"""

import logging
import os
import re
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import requests
from requests.adapters import BaseAdapter
from requests.utils import get_environ_proxies
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from dashboard.peliqan import errors
from dashboard.peliqan.adapter import BoundedAdapter, CancelHandle, OneHostAdapter
from dashboard.peliqan.circuit_breaker import CircuitBreaker
from dashboard.peliqan.error_mapping import away, lost, refusal
from dashboard.peliqan.observers import ApiCallObserver, NoObserver
from dashboard.peliqan.rate_limit import RateLimiter
from dashboard.peliqan.responses import decode, lines, read_body
from dashboard.peliqan.retries import RETRIED, next_wait
from dashboard.peliqan.routes import Route
from dashboard.version import VERSION

log = logging.getLogger(__name__)
CONNECT_TIMEOUT: Final = 5.0
LARGEST_BODY: Final = 16 * 1024 * 1024
# How long the words of a refusal may take, however they drip: its status alone is enough.
REFUSAL_TIMEOUT: Final = 2.0
# How long a probe may take: by then, nothing was answered for a whole read timeout already.
PROBE_TIMEOUT: Final = 5.0
# The cheapest read of a customer's. The last one that went well is what a probe repeats.
PROBE_ROUTE: Final = "servers"
# Anything else cannot stand in a header, and the refusal of http.client would quote it.
TOKEN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Call:
    """One request, before it is sent. ``query`` and ``body`` as JSON has them; ``place``: what the path's braces stand for."""

    route: Route
    token: str
    place: Mapping[str, int] | None = None
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None

    @property
    def account(self) -> Hashable:
        """Whose it is, to tell accounts apart: by its token, and in a partner's call by the account that is asked for."""
        asked_for = (
            {"account_id", "external_id"} & (self.query or {}).keys() if self.route.partner else ()
        )
        return self.token, *((self.query or {})[name] for name in sorted(asked_for))

    def __repr__(self) -> str:
        return f"Call({self.route.name})"


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
        pace: RateLimiter | None = None,
        breaker: CircuitBreaker | None = None,
        retries: int = 3,
        backoff: float = 0.3,
        adapter: BaseAdapter | None = None,
        watch: ApiCallObserver | None = None,
    ) -> None:
        """Times in seconds. ``concurrency`` sizes the pool; ``pace`` says how fast, ``breaker`` whether at all; ``adapter``
        replaces the network."""
        self._watch = watch or NoObserver()
        self._pace = pace or RateLimiter(concurrency)
        self.breaker = breaker or CircuitBreaker()
        self._base = base_url.rstrip("/")
        self._headers = {
            "User-Agent": f"partner-console/{VERSION}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
        }
        # Asked once: requests would go through the whole environment with every request, a quarter of its time.
        self._proxies = get_environ_proxies(self._base)
        self._verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self._connect = min(CONNECT_TIMEOUT, read_timeout)
        self._timeout = (self._connect, read_timeout)
        self.read_timeout = read_timeout
        # In bytes, unpacked; of a stream, a line's.
        self.largest = LARGEST_BODY
        self._retries, self._backoff = retries, backoff
        # Retries are ours: each try asks breaker and limiter again.
        self._reads = adapter or OneHostAdapter(
            1, concurrency, max_retries=Retry(total=0, redirect=0)
        )
        self._replaced = adapter is not None
        # What a probe sends: the last cheap read of a customer's that went well, or the partner's own, set by ``Peliqan``.
        self.partner_probe: Call | None = None
        self._last_good: Call | None = None
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
        with closing(BoundedAdapter(1, 1, max_retries=Retry(total=0, redirect=0))) as adapter:
            yield adapter

    def send(
        self,
        route: Route,
        token: str,
        *,
        place: Mapping[str, int] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        anyway: bool = False,
        retry_timeouts: bool = True,
    ) -> Any:
        """The answer's JSON. ``anyway``: also while the breaker is open, to see whether Peliqan answers again.

        ``retry_timeouts``: False for a caller that reacts to a time-out itself, by asking for less at a time.

        Raises:
            errors.PeliqanError: everything that can go wrong; never with a token or a whole URL in it.
        """
        with self._watch.call(route.name) as headers:
            if not TOKEN.fullmatch(token):
                raise errors.NotAuthorised(
                    route.name, note="the token has characters that no token has; it was not sent"
                )
            return self._send(
                Call(route, token, place, query, body), headers, anyway, retry_timeouts
            )

    def _send(
        self, call: Call, headers: Mapping[str, str], anyway: bool, retry_timeouts: bool
    ) -> Any:
        tried, timed_out = 0, not retry_timeouts
        while True:
            found = self._try(call, headers, is_turn=anyway, may_be_turn=tried == 0)
            if isinstance(found, bytes):
                return decode(call.route, found)
            tried += 1
            failure = found.error
            wait = (
                next_wait(tried, failure.retry_after, self._backoff)
                if found.again and tried <= self._retries
                else None
            )
            if wait is None or (timed_out and isinstance(failure, errors.TimedOut)):
                raise failure
            timed_out = timed_out or isinstance(failure, errors.TimedOut)
            time.sleep(wait)

    def _try(
        self, call: Call, headers: Mapping[str, str], *, is_turn: bool, may_be_turn: bool
    ) -> "bytes | _Failed":
        """Send a request once: the body of a good answer, or how it failed, which the breaker has been told."""
        route = call.route
        # What is caught here holds the address and the token: the errors made of it are raised by the caller, outside of
        # ``except``, so that it is not their context.
        try:
            # Before the slot, or who may not send would wait for those who wait; and after it, for what they learnt.
            is_turn = is_turn or self.breaker.ask(may_try=route.is_safe and may_be_turn)
            with self._pace.slot, self._adapter_for(route) as adapter:
                if not is_turn:
                    self.breaker.ask()
                self._pace.wait()
                answers = self.breaker.answers
                found = self._exchange(call, headers, adapter, self._timeout)
                self._record(call, found, answers)
        except (requests.RequestException, HTTPError) as error:
            # The breaker is open, or the limiter is away: nothing was sent.
            return _Failed(lost(route, error))
        return found if isinstance(found, bytes) or not is_turn else _Failed(found.error)

    def _exchange(
        self,
        call: Call,
        headers: Mapping[str, str],
        adapter: BaseAdapter,
        timeout: tuple[float, float],
    ) -> "bytes | _Failed":
        """Send a request and read its answer; raises nothing.

        ``timeout``: seconds to connect, and to wait for a byte. However slowly a body drips, it takes three times the latter.
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
        route: Route,
        token: str,
        body: Mapping[str, Any],
        *,
        quiet: float,
        hang_up: CancelHandle | None = None,
    ) -> Iterator[bytes]:
        """The answer's lines as they come, for a route that only reads. ``quiet``: seconds to wait for a byte.

        Whoever stops asking, or calls ``hang_up`` meanwhile, closes the connection, and so tells Peliqan that nobody listens.
        It counts as a call in flight until the answer begins: one that takes a minute to read keeps no other waiting. A POST,
        so it is sent once.

        Raises:
            errors.PeliqanError: as ``send``.
        """
        with self._watch.call(route.name) as headers:
            yield from self._stream(route, token, headers, body, quiet, hang_up or CancelHandle())

    def _stream(
        self,
        route: Route,
        token: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        quiet: float,
        hang_up: CancelHandle,
    ) -> Iterator[bytes]:
        if not TOKEN.fullmatch(token):
            raise errors.NotAuthorised(
                route.name, note="the token has characters that no token has; it was not sent"
            )
        call, answers = Call(route, token, body=body), self.breaker.answers
        try:
            request = self._prepare(call)
            request.headers.update(headers, Authorization=f"JWT {token}")
            self.breaker.ask()
            with self._pace.slot, hang_up.on_what_is_sent():
                self.breaker.ask()
                self._pace.wait()
                answers = self.breaker.answers
                response = self._reads.send(
                    request, True, (self._connect, quiet), self._verify, None, self._proxies
                )
            with response:
                if 200 <= response.status_code < 300:
                    self.breaker.answered()
                    yield from lines(route, response, 3 * quiet, self.largest)
                    return
                failure = refusal(route, response, self._read_refusal(route, response), token)
        except errors.PeliqanError as error:
            failure = error
        except (requests.RequestException, HTTPError) as error:
            failure = lost(route, error)
        if not hang_up.was_called and not isinstance(failure, errors.NOT_SENT):
            with self._pace.slot:
                self._record(call, _Failed(failure), answers)
        raise failure

    def ensure(self, route: Route) -> None:
        """Return if a request may be sent. For what is made of several requests and must not begin with one that only reads.

        Raises:
            errors.Away: it would not be.
        """
        if (outage := self.breaker.outage) is not None:
            raise away(route, outage)

    def _record(self, call: Call, found: "bytes | _Failed", answers: int) -> None:
        """Tell the breaker what came of a request, and send the probe if it asks for one. The caller holds a slot."""
        if isinstance(found, bytes):
            self.breaker.answered()
            if call.route.name == PROBE_ROUTE:
                self._last_good = call
        elif not isinstance(found.error, errors.SILENT):
            if not isinstance(found.error, errors.NOT_SENT):
                self.breaker.answered()
        elif self.breaker.failed(
            call.account, answers, timed_out=isinstance(found.error, errors.TimedOut)
        ):
            self._probe()

    def check(self) -> bool:
        """Send a probe whatever is known, and return whether Peliqan answers. For a caller that must be sure."""
        with self._pace.slot:
            self._probe()
        return self.breaker.outage is None

    def _probe(self) -> None:
        """Send one cheap read that has nothing to do with the failing accounts; the breaker goes by whether it is answered.

        A customer's before the partner's: customers' routes can be down while the partner's are not.
        """
        call = self._last_good
        if call is None or self.breaker.is_failing(call.account):
            call = self.partner_probe
        answers, answered, reason = self.breaker.answers, True, ""
        try:
            if call is not None:
                self._pace.wait()
                timeout = (self._connect, min(PROBE_TIMEOUT, self._timeout[1]))
                found = self._exchange(call, {}, self._reads, timeout)
                if not isinstance(found, bytes):
                    answered, reason = (
                        not isinstance(found.error, errors.SILENT),
                        found.error.sentence,
                    )
        except HTTPError:
            # The limiter is away: nothing was sent, so nothing is known.
            log.debug("No probe was sent: the limiter is away.")
        finally:
            self.breaker.settle(answers, answered=answered, reason=reason)

    def _prepare(self, call: Call) -> requests.PreparedRequest:
        """The request without its token. What all of a route have in common is made once: that takes a tenth of a call's time."""
        route = call.route
        if route not in self._prepared:
            headers = {**self._headers, **({"Connection": "close"} if route.once else {})}
            self._prepared[route] = requests.Request(route.method, self._base, headers).prepare()
        made = self._prepared[route].copy()
        path = route.path.format(**(call.place or {}))
        made.url = f"{(made.url or '').rstrip('/')}{path}" + (
            f"?{urlencode(call.query)}" if call.query else ""
        )
        if call.body is not None:
            made.prepare_body(None, None, json=call.body)
        return made

    def _read_refusal(self, route: Route, response: requests.Response) -> bytes:
        """A refusal's body, or nothing: the status alone tells what happened."""
        try:
            return read_body(
                route, response, min(REFUSAL_TIMEOUT, 3 * self._timeout[1]), self.largest
            )
        except (errors.PeliqanError, requests.RequestException, HTTPError):
            return b""


@dataclass(frozen=True)
class _Failed:
    """A try without a good answer. ``again``: whether it is worth another."""

    error: errors.PeliqanError
    again: bool = False
