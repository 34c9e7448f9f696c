"""One request to Peliqan: timeouts, limits, retries of safe reads, and errors that say what happened.

No redirect is ever followed: a token would go with it. A safe read is retried on a lost connection and on 429, 502, 503 and
504, with growing, jittered waits; what has a side effect (``Route.once``) is sent once.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlencode

import requests
from requests.adapters import BaseAdapter
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import HTTPError

from dashboard.peliqan import errors
from dashboard.peliqan.adapter import BoundedAdapter, HangUp, OneHostAdapter
from dashboard.peliqan.answers import decode, lines, read_body
from dashboard.peliqan.breaker import Breaker
from dashboard.peliqan.failures import away, lost, refusal
from dashboard.peliqan.rate import Pace
from dashboard.peliqan.retries import LONGEST_WAIT, PatientRetry
from dashboard.peliqan.routes import Route
from dashboard.peliqan.watching import Unwatched, Watch

CONNECT_TIMEOUT: Final = 5.0
LARGEST_BODY: Final = 16 * 1024 * 1024
# Anything else cannot stand in a header, and the refusal of http.client would quote it.
TOKEN: Final = re.compile(r"[!-~]+")


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
        breaker: Breaker | None = None,
        retries: int = 3,
        backoff: float = 0.3,
        adapter: BaseAdapter | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Times in seconds. ``concurrency`` sizes the pool; ``pace`` says how fast, ``breaker`` whether at all; ``adapter``
        replaces the network."""
        self._watch = watch or Unwatched()
        self._pace = pace or Pace(concurrency)
        self.breaker = breaker or Breaker()
        self._base = base_url.rstrip("/")
        self._headers = {
            "User-Agent": f"partner-console/{version('partner-console')}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
        }
        # Asked once: requests would go through the whole environment with every request, a quarter of its time.
        self._proxies = get_environ_proxies(self._base)
        self._verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._connect = min(CONNECT_TIMEOUT, read_timeout)
        self._timeout = (self._connect, read_timeout)
        # However slowly a body drips, it is at an end after this; waits before a retry do not count.
        self._deadline = 3 * read_timeout
        # In bytes, unpacked; of a stream, a line's.
        self.largest = LARGEST_BODY
        patient = PatientRetry(
            total=retries,
            redirect=0,
            backoff_factor=backoff,
            backoff_jitter=backoff,
            backoff_max=LONGEST_WAIT,
            allowed_methods={"GET"},
            raise_on_status=False,
        )
        patient.before, patient.told = self._before_retry, self._note_try
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
    ) -> Any:
        """The answer's JSON. ``anyway``: also where Peliqan does not answer just now, to see whether it does again.

        Raises:
            errors.PeliqanError: everything that can go wrong; never with a token or a whole URL in it.
        """
        with self._watch.call(route.name) as headers:
            return self._send(route, token, headers, place, query, body, anyway)

    def _send(
        self,
        route: Route,
        token: str,
        headers: Mapping[str, str],
        place: Mapping[str, int] | None,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        anyway: bool,
    ) -> Any:
        if not TOKEN.fullmatch(token):
            raise errors.NotAuthorised(route.name, note="the token has characters that no token has; it was not sent")
        # Raised below, outside of ``except``: what requests and urllib3 raise holds the address and the token, and would
        # hang on to ours as its context.
        try:
            request = self._prepare(route, place, query, body)
            request.headers.update(headers, Authorization=f"JWT {token}")
            # Before the slot, or whoever may not ask would wait for those who wait; and after it, for what they learnt.
            is_turn = anyway or self.breaker.ask(may_try=route.is_safe)
            with self._pace.slot, self._adapter_for(route) as adapter:
                if not is_turn:
                    self.breaker.ask()
                self._pace.wait()
                with adapter.send(request, True, self._timeout, self._verify, None, self._proxies) as response:
                    went_well = 200 <= response.status_code < 300
                    content = (
                        read_body(route, response, self._deadline, self.largest)
                        if went_well
                        else self._read_refusal(route, response)
                    )
            # Outside of the slot: what is left to do needs no network.
            if went_well:
                self.breaker.answered()
                return decode(route, content)
            failure = refusal(route, response, content, token)
        except errors.PeliqanError as error:
            failure = error
        except (requests.RequestException, HTTPError) as error:
            failure = lost(route, error)
        self._note(failure, hash((route, *(place or {}).values(), token)))
        raise failure

    def stream(
        self, route: Route, token: str, body: Mapping[str, Any], *, quiet: float, hang_up: HangUp | None = None
    ) -> Iterator[bytes]:
        """The answer's lines as they come, for a route that only reads. ``quiet``: seconds to wait for a byte.

        Whoever stops asking, or calls ``hang_up`` meanwhile, closes the connection, and so tells Peliqan that nobody listens.
        It counts as a call in flight until the answer begins: one that takes a minute to read keeps no other waiting. A POST,
        so it is tried again only where no connection came about: the beginning may have been used already.

        Raises:
            errors.PeliqanError: as ``send``.
        """
        with self._watch.call(route.name) as headers:
            yield from self._stream(route, token, headers, body, quiet, hang_up or HangUp())

    def _stream(
        self, route: Route, token: str, headers: Mapping[str, str], body: Mapping[str, Any], quiet: float, hang_up: HangUp
    ) -> Iterator[bytes]:
        if not TOKEN.fullmatch(token):
            raise errors.NotAuthorised(route.name, note="the token has characters that no token has; it was not sent")
        try:
            request = self._prepare(route, None, None, body)
            request.headers.update(headers, Authorization=f"JWT {token}")
            self.breaker.ask()
            with self._pace.slot, hang_up.on_what_is_sent():
                self.breaker.ask()
                self._pace.wait()
                response = self._reads.send(request, True, (self._connect, quiet), self._verify, None, self._proxies)
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
        if not hang_up.was_called:
            self._note(failure, hash((route, token)))
        raise failure

    def ensure(self, route: Route) -> None:
        """Return if a request may be sent. For what is made of several requests and must not begin with one that only reads.

        Raises:
            errors.Away: it would not be.
        """
        if (outage := self.breaker.outage) is not None:
            raise away(route, outage)

    def _note(self, failure: errors.PeliqanError, place: int) -> None:
        """Tell the breaker what a failure says of Peliqan as a whole."""
        if isinstance(failure, errors.SILENT):
            self.breaker.failed(place, failure.sentence)
        elif not isinstance(failure, (errors.NoPace, errors.Away)):
            self.breaker.answered()

    def _note_try(self, response: BaseHTTPResponse | None) -> None:
        """The same of a try that another follows."""
        if response is not None and response.status < 500:
            self.breaker.answered()
        else:
            kind = errors.Unreachable if response is None else errors.ServerError
            self.breaker.failed(None, kind.sentence)

    def _before_retry(self) -> None:
        self.breaker.ask()
        self._pace.wait()

    def _prepare(
        self, route: Route, place: Mapping[str, int] | None, query: Mapping[str, Any] | None, body: Mapping[str, Any] | None
    ) -> requests.PreparedRequest:
        """The request without its token. What all of a route have in common is made once: that takes a tenth of a call's time."""
        if route not in self._prepared:
            headers = {**self._headers, **({"Connection": "close"} if route.once else {})}
            self._prepared[route] = requests.Request(route.method, self._base, headers).prepare()
        made = self._prepared[route].copy()
        path = route.path.format(**(place or {}))
        made.url = f"{(made.url or '').rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else "")
        if body is not None:
            made.prepare_body(None, None, json=body)
        return made

    def _read(self, route: Route, response: requests.Response) -> bytes:
        return read_body(route, response, self._deadline, self.largest)

    def _read_refusal(self, route: Route, response: requests.Response) -> bytes:
        """A refusal's body, or nothing: the status alone tells what happened."""
        try:
            return self._read(route, response)
        except (errors.PeliqanError, requests.RequestException, HTTPError):
            return b""
