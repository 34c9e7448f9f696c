"""HTTP adapters of ``requests`` for one host, with limits on how long an answer takes."""

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
    """The raw file of an answer. No read starts after ``until``, by ``time.monotonic``.

    None: no limit.
    """

    until: float | None = None

    def readinto(self, buffer: Any) -> int | None:
        """Read from the socket. A deadline stops servers that send a byte now and then for ever."""
        if self.until is not None and time.monotonic() > self.until:
            raise TimeoutError("the answer takes too long")
        return super().readinto(buffer)


class _Source:
    """The object from which http.client makes its file, replaced so that the file is bounded."""

    def __init__(self, sock: Any) -> None:
        self.file = _Bounded(sock, "rb")
        sock._io_refs += 1

    def makefile(self, _mode: str) -> BufferedReader:
        """Return the bounded file, as a socket's ``makefile`` does."""
        return BufferedReader(self.file)


class CancelHandle:
    """A callable with which another thread ends the reading of an answer.

    Called early, it ends the next answer as soon as that is waited for.
    """

    def __init__(self) -> None:
        self.was_called = False
        self._lock = Lock()
        self._socket: socket | None = None

    def __call__(self) -> None:
        """Shut the connection down: its reader gets an error."""
        with self._lock:
            self.was_called = True
            self._end()

    @contextmanager
    def for_sent_requests(self) -> Iterator[None]:
        """Let this handle cancel requests that the current thread sends in this block."""
        _current.cancel = self
        try:
            yield
        finally:
            _current.cancel = None

    def attach(self, sock: socket) -> None:
        """Set the connection on which an answer is awaited."""
        with self._lock:
            self._socket = sock
            if self.was_called:
                self._end()

    def _end(self) -> None:
        if self._socket is not None:
            # The connection may be closed already.
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)


_current = local()


class DeadlineResponse(HTTPResponse):
    """An answer whose status and headers have to arrive within the read timeout.

    At most one more read starts before that. A socket's own timeout applies to each read alone.
    ``end_by`` sets the deadline of the body.
    """

    def __init__(self, sock: Any, *args: Any, **more: Any) -> None:
        # TLS inside a proxy's TLS is not a socket and keeps its own file.
        self._source = _Source(sock) if isinstance(sock, socket) else None
        cancel: CancelHandle | None = getattr(_current, "cancel", None)
        if cancel is not None and isinstance(sock, socket):
            cancel.attach(sock)
        self._timeout: float | None = sock.gettimeout()
        file: Any = self._source or sock
        super().__init__(file, *args, **more)

    def begin(self) -> None:
        """Read the status and the headers, with a deadline."""
        self.end_by(None if self._timeout is None else time.monotonic() + self._timeout)
        super().begin()
        self.end_by(None)

    def end_by(self, until: float | None) -> None:
        """Set the time (``time.monotonic``) after which no read starts; None for no limit."""
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
    """An adapter of ``requests`` that limits how long status and headers take."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Create the pools with bounded connections."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """Create a proxy's pools with bounded connections; SOCKS keeps its own."""
        manager = super().proxy_manager_for(proxy, **more)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager


class OneHostAdapter(BoundedAdapter):
    """An adapter that looks up its connection pool once, to save a tenth of the time.

    Only for requests to one scheme, host and port, always with the same proxies and the same
    trusted certificates.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._lock = Lock()
        self._pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **more: Any) -> Any:
        """Return the pool, created at the first request."""
        if self._pool is None:
            with self._lock:
                self._pool = self._pool or super().get_connection_with_tls_context(*args, **more)
        return self._pool
