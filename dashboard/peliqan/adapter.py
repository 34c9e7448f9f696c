"""An HTTP adapter of ``requests`` that limits how long an answer takes, and can be cancelled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from socket import SHUT_RDWR
from threading import Event, Lock, Timer
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ReadTimeoutError

Shutdown = Callable[[], object]


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
    is_over = Event()

    def end() -> None:
        is_over.set()
        _shut_down(shutdown)

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if is_over.is_set():
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
        self._pools = _bounded_pools(cancel)
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


def _shut_down(shutdown: Shutdown | None) -> None:
    # The connection may be closed, or back in its pool, already.
    if shutdown is not None:
        with suppress(OSError, ValueError, RuntimeError):
            shutdown()
