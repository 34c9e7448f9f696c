"""An HTTP adapter of ``requests`` that limits how long an answer takes, and can be cancelled."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from socket import SHUT_RDWR
from threading import Lock, Thread
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ReadTimeoutError

Shutdown = Callable[[], object]


class _Read:
    """A block that reads from a connection, until a time of ``time.monotonic``."""

    def __init__(self, shutdown: Shutdown, until: float) -> None:
        self.shutdown, self.until, self.is_over = shutdown, until, False


class _Watchdog:
    """A thread that ends reads which take too long; it checks all of them ten times a second.

    One thread for all calls: a timer for each takes 2 ms, twice as long as the rest of a call. It
    ends when it had nothing to watch for a second.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._reads: set[_Read] = set()
        self._thread: Thread | None = None

    def add(self, read: _Read) -> None:
        """Watch a read until ``discard``."""
        with self._lock:
            self._reads.add(read)
            # A forked process has the object of the thread, but not the thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()

    def discard(self, read: _Read) -> None:
        """Stop watching a read."""
        with self._lock:
            self._reads.discard(read)

    def _watch(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(0.1)
            now = time.monotonic()
            # Under the lock, since the connection of a discarded read may serve another call.
            with self._lock:
                for read in self._reads:
                    if read.until < now and not read.is_over:
                        read.is_over = True
                        _shut_down(read.shutdown)
                idle_since = now if self._reads else idle_since
                if now - idle_since > 1:
                    self._thread = None
                    return


_watchdog = _Watchdog()


@contextmanager
def time_limit(shutdown: Shutdown | None, seconds: float | None) -> Iterator[None]:
    """Run a block that reads from a connection; end its reads after ``seconds``.

    A socket's own timeout applies to each read alone, so a server that sends a byte now and then
    would never end. ``shutdown`` shuts the socket down; TLS inside a proxy's TLS has none (None).

    Raises:
        ReadTimeoutError: the time is over.
    """
    if shutdown is None or seconds is None:
        yield
        return
    read = _Read(shutdown, time.monotonic() + seconds)
    _watchdog.add(read)
    try:
        yield
    finally:
        _watchdog.discard(read)
        if read.is_over:
            raise ReadTimeoutError(None, "", "the answer takes too long") from None  # type: ignore[arg-type]


class CancelHandle:
    """A callable with which another thread ends the reading of an answer.

    Called early, it ends the next answer as soon as that is waited for.
    """

    def __init__(self) -> None:
        self.was_called = False
        self._lock = Lock()
        self._shutdown: Shutdown | None = None

    def __call__(self) -> None:
        """Shut the connection down: its reader gets an error."""
        with self._lock:
            self.was_called = True
            _shut_down(self._shutdown)

    def attach(self, shutdown: Shutdown | None) -> None:
        """Set the connection on which an answer is awaited."""
        with self._lock:
            self._shutdown = shutdown
            if self.was_called:
                _shut_down(shutdown)


class BoundedAdapter(HTTPAdapter):
    """An adapter whose status and headers have to arrive within the read timeout.

    ``cancel``: ends the requests of this adapter.
    """

    def __init__(self, *args: Any, cancel: CancelHandle | None = None, **more: Any) -> None:
        self._pools = _POOLS if cancel is None else _bounded_pools(cancel)
        super().__init__(*args, **more)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Create the pools with bounded connections."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """Create a proxy's pools with bounded connections; SOCKS keeps its own."""
        manager = super().proxy_manager_for(proxy, **more)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


def _bounded_pools(cancel: CancelHandle | None) -> dict[str, Any]:
    class Bounded:
        sock: Any
        timeout: float | None

        def getresponse(self) -> Any:
            can_end = hasattr(self.sock, "shutdown")
            shutdown = partial(self.sock.shutdown, SHUT_RDWR) if can_end else None
            if cancel is not None:
                cancel.attach(shutdown)
            with time_limit(shutdown, self.timeout):
                return super().getresponse()  # type: ignore[misc]

    class Connection(Bounded, HTTPConnection):
        pass

    class SecureConnection(Bounded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


_POOLS = _bounded_pools(None)


def _shut_down(shutdown: Shutdown | None) -> None:
    # The connection may be closed, or back in its pool, already.
    if shutdown is not None:
        with suppress(OSError, ValueError, RuntimeError):
            shutdown()
