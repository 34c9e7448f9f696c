"""A port of this machine that leads to one customer's database, and lets so many bytes of what it answers through.

A value of a gigabyte comes whole or not at all in PostgreSQL's protocol, and libpq keeps what it receives: only who carries the
bytes can end it early. What is carried may be encrypted; that is between the two ends.
"""

import selectors
import socket
from threading import Thread
from types import TracebackType
from typing import Final, Self

LOOPBACK: Final = "127.0.0.1"
AT_ONCE: Final = 65_536


class Relay:
    """Open from the beginning; whoever enters it has to leave it. ``exceeded``: more came than may, and all was hung up."""

    def __init__(self, host: str, port: int, most: int, connect_seconds: float) -> None:
        """``most``: bytes of each connection's answers.

        Raises:
            OSError: nobody answers at that address.
        """
        self._there, self._most, self._seconds = (host, port), most, connect_seconds
        self._first: socket.socket | None = socket.create_connection(self._there, connect_seconds)
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
        # What is under way ends with its connections; the thread that waits for more wakes up by this.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._first is not None:
            self._first.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            # A second connection is one that cancels the question.
            Thread(target=self._carry, args=(near,), name="relay", daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        far, self._first = self._first, None
        with near:
            try:
                with far or socket.create_connection(self._there, self._seconds) as far:
                    self._between(near, far)
            except OSError:
                # Either end hung up, or nobody answers: the one who waits here is told by the end of its connection.
                return

    def _between(self, near: socket.socket, far: socket.socket) -> None:
        far.settimeout(None)
        received = 0
        with selectors.DefaultSelector() as both:
            both.register(near, selectors.EVENT_READ, (near, far))
            both.register(far, selectors.EVENT_READ, (far, near))
            while True:
                for key, _ in both.select():
                    one, other = key.data
                    part = one.recv(AT_ONCE)
                    if not part:
                        return
                    received += len(part) if one is far else 0
                    if received > self._most:
                        self.exceeded = True
                        return
                    other.sendall(part)
