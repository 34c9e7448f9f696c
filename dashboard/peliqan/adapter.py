"""requests' adapters for the one host that a service talks to."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from io import BufferedReader
from socket import SHUT_RDWR, SocketIO, socket
from threading import Lock, local
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class _Bounded(SocketIO):
    """What an answer is read from. ``until``: no read begins after that, by ``time.monotonic``; None: however long it takes."""

    until: float | None = None

    def readinto(self, buffer: Any) -> int | None:
        """As ``SocketIO`` does, but a server that sends a byte now and then does not keep us for ever."""
        if self.until is not None and time.monotonic() > self.until:
            raise TimeoutError("the answer takes too long")
        return super().readinto(buffer)


class _Source:
    """What http.client asks for a file to read an answer from: it gets a bounded one."""

    def __init__(self, sock: Any) -> None:
        self.file = _Bounded(sock, "rb")
        sock._io_refs += 1

    def makefile(self, _mode: str) -> BufferedReader:
        """As a socket's."""
        return BufferedReader(self.file)


class CancelHandle:
    """For another thread: called, it ends the reading of an answer that is waited for or under way, now or as soon as it is."""

    def __init__(self) -> None:
        self.was_called = False
        self._lock = Lock()
        self._socket: socket | None = None

    def __call__(self) -> None:
        """Whoever reads finds the connection lost."""
        with self._lock:
            self.was_called = True
            self._end()

    @contextmanager
    def on_what_is_sent(self) -> Iterator[None]:
        """What this thread sends meanwhile can be hung up on."""
        _waiting.hang_up = self
        try:
            yield
        finally:
            _waiting.hang_up = None

    def has(self, sock: socket) -> None:
        """An answer is waited for on this connection."""
        with self._lock:
            self._socket = sock
            if self.was_called:
                self._end()

    def _end(self) -> None:
        if self._socket is not None:
            # It may have ended by itself.
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)


_waiting = local()


class DeadlineResponse(HTTPResponse):
    """An answer whose beginning, status and headers, is there within the read timeout, or as little later as one more read takes.

    A socket's own timeout is for each read alone. For the rest, ``end_by`` says when that has to be there.
    """

    def __init__(self, sock: Any, *args: Any, **more: Any) -> None:
        # TLS within a proxy's TLS is no socket: that keeps its own file.
        self._source = _Source(sock) if isinstance(sock, socket) else None
        hang_up: CancelHandle | None = getattr(_waiting, "hang_up", None)
        if hang_up is not None and isinstance(sock, socket):
            hang_up.has(sock)
        self._patience: float | None = sock.gettimeout()
        file: Any = self._source or sock
        super().__init__(file, *args, **more)

    def begin(self) -> None:
        """Read the status and the headers."""
        self.end_by(None if self._patience is None else time.monotonic() + self._patience)
        super().begin()
        self.end_by(None)

    def end_by(self, until: float | None) -> None:
        """Let no read begin after this time, by ``time.monotonic``."""
        if self._source is not None:
            self._source.file.until = until


class _Connection(HTTPConnection):
    response_class = DeadlineResponse


class _SecureConnection(HTTPSConnection):
    response_class = DeadlineResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": _Pool, "https": _SecurePool}


class BoundedAdapter(HTTPAdapter):
    """requests' adapter, with a bound on how long the beginning of an answer takes."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """As requests does, with our connections."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """As requests does, with our connections, except through SOCKS, which has its own."""
        manager = super().proxy_manager_for(proxy, **more)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager


class OneHostAdapter(BoundedAdapter):
    """Looks its pool of connections up once. requests does so with every request: a tenth of its time.

    For requests to one scheme, host and port alone, always with the same proxies and the same certificates to trust.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._lock = Lock()
        self._pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **more: Any) -> Any:
        """The pool; made at the first request."""
        if self._pool is None:
            with self._lock:
                self._pool = self._pool or super().get_connection_with_tls_context(*args, **more)
        return self._pool
