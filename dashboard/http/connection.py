"""A client's connection: received and unsent bytes, and time limits for both."""

import socket
from collections.abc import Generator
from contextlib import suppress
from enum import Enum
from time import monotonic
from typing import Any, Final

from dashboard.http.limits import (
    BODY_SECONDS,
    CLOSING_SECONDS,
    HEAD_SECONDS,
    RATE_BYTES,
    WRITING_SECONDS,
)
from dashboard.http.request_reader import RequestReader


class Phase(Enum):
    """What the connection waits for."""

    NEW = "first bytes"
    IDLE = "next request"
    HEAD = "request line and headers"
    BODY = "body"
    WRITING = "answer"
    LINGERING = "end"


# Time limit of a phase, from its start and not from the last byte. The limit of IDLE is gunicorn's
# ``keepalive``.
SECONDS: Final[dict[Phase, float]] = {
    Phase.NEW: HEAD_SECONDS,
    Phase.HEAD: HEAD_SECONDS,
    Phase.BODY: BODY_SECONDS,
    Phase.WRITING: WRITING_SECONDS,
    Phase.LINGERING: CLOSING_SECONDS,
}


class ClientLeft(Exception):
    """The client closed its connection."""


class Connection:
    """A non-blocking socket. gunicorn writes responses to it by ``send`` and ``sendall``."""

    def __init__(self, sock: socket.socket, client: Any, server: Any) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            # Otherwise the kernel buffers megabytes at once and then nothing for minutes, and a
            # slow client would look like one that left.
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2 * RATE_BYTES)
        self.sock, self.client, self.server = sock, client, server
        self.arriving = RequestReader()
        self.answer: Generator[None, None, None] | None = None
        # keep: another request may follow. lost: the client left. began: a part of the response was
        # sent.
        self.keep = self.lost = self.began = False
        self.phase, self.since, self.deadline = Phase.NEW, 0.0, 0.0
        # Bytes of the current request; bytes that were read and dropped before closing.
        self.working = self.drained = 0
        self._unsent = b""
        self._sent = self._marked = 0
        self._left = 0.0

    @property
    def buffered(self) -> int:
        """Return the bytes of memory in use."""
        return len(self.arriving) + self.working + len(self._unsent)

    def enter(self, phase: Phase, seconds: float | None = None) -> None:
        """Start a phase with its limit of ``SECONDS``, or the given seconds."""
        now = monotonic()
        if (
            phase is Phase.WRITING
            and self.phase is Phase.WRITING
            and self._sent - self._marked < RATE_BYTES
        ):
            # The same response continues; time that a thread spent on it does not count.
            self.deadline = now + self._left
            return
        # The first head must be complete within the time for its first byte.
        if not (phase is Phase.HEAD and self.phase is Phase.NEW):
            self.deadline = now + (SECONDS[phase] if seconds is None else seconds)
        self.phase, self.since, self._marked = phase, now, self._sent

    def leave(self) -> None:
        """Stop the time limit while a thread uses the connection."""
        self._left = self.deadline - monotonic()

    def renew(self) -> None:
        """Extend the time limit if the client accepted enough bytes."""
        if self._sent - self._marked >= RATE_BYTES:
            self.enter(Phase.WRITING)

    def next_request(self) -> tuple[bytes, bool]:
        """Return the complete request and whether it is the last; start reading the next one."""
        request, cut = self.arriving.complete_request(), self.arriving.cut
        self.arriving = RequestReader(self.arriving.rest())
        self.working, self.began = len(request), False
        return request, cut

    def send(self, data: bytes) -> int:
        """Queue bytes to send."""
        self._unsent += data
        self.began = True
        return len(data)

    sendall = send

    def flush(self) -> bool:
        """Send what the socket accepts now; return whether nothing is left.

        Raises:
            ClientLeft: the client closed the connection.
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
        """Send everything; yield whenever the socket accepts no more for now.

        Raises:
            ClientLeft: the client closed the connection.
        """
        while not self.flush():
            yield
