"""A local TCP proxy to a customer's database, which limits the bytes of the responses.

In PostgreSQL's protocol a value of a gigabyte comes complete or not at all, and libpq stores what
it receives. Only a proxy can stop it early. The traffic may be encrypted between client and server.
"""

import selectors
import socket
from threading import Thread
from types import TracebackType
from typing import Final, Self

LOOPBACK: Final = "127.0.0.1"
AT_ONCE: Final = 65_536


class Relay:
    """A proxy for one query, as a context manager that has to be entered.

    ``exceeded``: the limit was reached, and the connections were closed.
    """

    def __init__(self, host: str, port: int, most: int, connect_seconds: float) -> None:
        """Connect to the database. ``most``: bytes of the responses on each connection.

        Raises:
            OSError: the database cannot be reached.
        """
        self._server, self._most, self._seconds = (host, port), most, connect_seconds
        self._first: socket.socket | None = socket.create_connection(self._server, connect_seconds)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.exceeded = False

    def __enter__(self) -> Self:
        Thread(target=self._accept, name="relay", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Wakes the accepting thread; the others end with their connections.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._first is not None:
            self._first.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            # A second connection is one that cancels the query.
            Thread(target=self._forward, args=(client,), name="relay", daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        server, self._first = self._first, None
        with client:
            try:
                with server or socket.create_connection(self._server, self._seconds) as server:
                    self._forward_between(client, server)
            except OSError:
                # One side closed its connection or the database cannot be reached: the client
                # notices, because its connection is closed here.
                return

    def _forward_between(self, client: socket.socket, server: socket.socket) -> None:
        server.settimeout(None)
        received = 0
        with selectors.DefaultSelector() as both:
            both.register(client, selectors.EVENT_READ, (client, server))
            both.register(server, selectors.EVENT_READ, (server, client))
            while True:
                for key, _ in both.select():
                    source, target = key.data
                    data = source.recv(AT_ONCE)
                    if not data:
                        return
                    received += len(data) if source is server else 0
                    if received > self._most:
                        self.exceeded = True
                        return
                    target.sendall(data)
