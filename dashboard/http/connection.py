"""One client's connection: what has arrived, what is not yet sent, and how long either may take."""

import socket
from collections.abc import Generator
from contextlib import suppress
from enum import Enum
from time import monotonic
from typing import Any, Final

from dashboard.http.arriving import RequestReader

# An answer goes on as long as the client takes so many bytes in each ``Phase.WRITING``.
RATE_BYTES: Final = 64 * 1024


class Phase(Enum):
    """What the client is waited for."""

    NEW = "first bytes"
    IDLE = "next request"
    HEAD = "request line and headers"
    BODY = "body"
    WRITING = "answer"
    LINGERING = "end"


# Seconds that a connection may be in a phase, from its beginning and not from the last byte. IDLE is gunicorn's ``keepalive``.
SECONDS: Final[dict[Phase, float]] = {
    Phase.NEW: 10,
    Phase.HEAD: 10,
    Phase.BODY: 60,
    Phase.WRITING: 60,
    Phase.LINGERING: 2,
}


class ClientLeft(Exception):
    """The client's socket takes no more."""


class Connection:
    """A socket that never blocks. gunicorn writes an answer to it as to a socket (``send``, ``sendall``)."""

    def __init__(self, sock: socket.socket, client: Any, server: Any) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            # Without it the kernel takes megabytes at once and then nothing for minutes: a slow client would seem to be gone.
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2 * RATE_BYTES)
        self.sock, self.client, self.server = sock, client, server
        self.arriving = RequestReader()
        self.answer: Generator[None, None, None] | None = None
        # Whether another request may come; whether the client has gone; whether something of the answer was sent.
        self.keep = self.lost = self.began = False
        self.phase, self.since, self.deadline = Phase.NEW, 0.0, 0.0
        # Bytes of the request that is worked on; bytes that were read and thrown away before the end.
        self.working = self.drained = 0
        self._unsent = b""
        self._sent = self._marked = 0
        self._left = 0.0

    @property
    def held(self) -> int:
        """Bytes of memory that it takes."""
        return len(self.arriving) + self.working + len(self._unsent)

    def enter(self, phase: Phase, seconds: float | None = None) -> None:
        """Begin to wait for the client, for ``SECONDS`` or the seconds given."""
        now = monotonic()
        if (
            phase is Phase.WRITING
            and self.phase is Phase.WRITING
            and self._sent - self._marked < RATE_BYTES
        ):
            # The same answer goes on: the time that a thread worked on it is not the client's.
            self.deadline = now + self._left
            return
        # The first head on a connection is there as a whole within the time for its first byte.
        if not (phase is Phase.HEAD and self.phase is Phase.NEW):
            self.deadline = now + (SECONDS[phase] if seconds is None else seconds)
        self.phase, self.since, self._marked = phase, now, self._sent

    def leave(self) -> None:
        """End to wait: a thread works on it."""
        self._left = self.deadline - monotonic()

    def renew(self) -> None:
        """Give the client more time for the answer where it has taken enough of it."""
        if self._sent - self._marked >= RATE_BYTES:
            self.enter(Phase.WRITING)

    def take_request(self) -> tuple[bytes, bool]:
        """Give out the request that is whole, and whether the connection ends with it; begin the next one."""
        request, cut = self.arriving.take(), self.arriving.cut
        self.arriving = RequestReader(self.arriving.rest())
        self.working, self.began = len(request), False
        return request, cut

    def send(self, data: bytes) -> int:
        """Keep what is to be sent."""
        self._unsent += data
        self.began = True
        return len(data)

    sendall = send

    def flush(self) -> bool:
        """Send what the client's socket takes now; return whether that was all.

        Raises:
            ClientLeft: it takes no more.
        """
        while self._unsent:
            try:
                sent = self.sock.send(self._unsent)
            except BlockingIOError:
                return False
            except OSError:
                raise ClientLeft from None
            self._sent += sent
            self._unsent = self._unsent[sent:]
        return True

    def drain(self) -> Generator[None, None, None]:
        """Yield until everything is sent, each time the client's socket takes no more for now.

        Raises:
            ClientLeft: it takes no more.
        """
        while not self.flush():
            yield
