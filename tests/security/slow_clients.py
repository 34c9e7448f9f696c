"""Clients that are slow in several ways, any number at a time."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.security.served_console import ServedConsole

LARGE = b"GET /static/vendor/tabler.min.css HTTP/1.1\r\nHost: x\r\n\r\n"
HOOK = b"POST /webhooks/peliqan HTTP/1.1\r\nHost: x\r\n"
FORM = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
OPEN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
# Seconds between two bytes of a slow client.
TICK = 0.1


def _nothing(_there: socket.socket) -> None:
    pass


def _send(data: bytes) -> Callable[[socket.socket], None]:
    return lambda sock: sock.sendall(data)


@dataclass(frozen=True)
class Slow:
    """The first bytes that a client sends, and its action every ``TICK``."""

    first: bytes
    then: Callable[[socket.socket], object] = _nothing
    receive_buffer: int | None = None


KINDS = {
    "says nothing": Slow(b""),
    "sends the request line byte by byte": Slow(b"GET /", _send(b"a")),
    "stops in the request line": Slow(b"GET /log"),
    "sends headers byte by byte": Slow(b"GET /login HTTP/1.1\r\nHost: x\r\nX: ", _send(b"a")),
    "sends headers line by line": Slow(b"GET /login HTTP/1.1\r\nHost: x\r\n", _send(b"X: a\r\n")),
    "stops in the headers": Slow(b"GET /login HTTP/1.1\r\nHost: x\r\n"),
    "sends a form byte by byte": Slow(FORM + b"Content-Length: 9000\r\n\r\nemail=", _send(b"a")),
    "stops in a form": Slow(FORM + b"Content-Length: 9000\r\n\r\n" + b"a" * 4500),
    "waits to be asked for its form": Slow(
        FORM + b"Content-Length: 9000\r\nExpect: 100-continue\r\n\r\n"
    ),
    "sends an event byte by byte": Slow(HOOK + b"Content-Length: 9000\r\n\r\n{", _send(b" ")),
    "stops in an event": Slow(HOOK + b"Content-Length: 9000\r\n\r\n" + b" " * 4500),
    "sends chunks byte by byte": Slow(
        HOOK + b"Transfer-Encoding: chunked\r\n\r\n", _send(b"1\r\na\r\n")
    ),
    "sends one size of a chunk": Slow(HOOK + b"Transfer-Encoding: chunked\r\n\r\n", _send(b"0")),
    "sends trailers byte by byte": Slow(
        HOOK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", _send(b"a")
    ),
    "sends a second request byte by byte": Slow(OPEN + b"GET /", _send(b"a")),
    "does not read the answer": Slow(LARGE, receive_buffer=4096),
    "asks for many answers and reads none": Slow(LARGE * 20, receive_buffer=4096),
    "reads many answers byte by byte": Slow(LARGE * 20, lambda sock: sock.recv(1), 4096),
}


@contextmanager
def clients(console: ServedConsole, kind: Slow, number: int) -> Iterator[list[socket.socket]]:
    """Open this many connections at a time, until the end of the block."""
    stop = threading.Event()
    with ExitStack() as stack:
        sock = [
            stack.enter_context(console.connect(receive_buffer=kind.receive_buffer))
            for _ in range(number)
        ]
        for each in sock:
            each.sendall(kind.first)
        going_on = threading.Thread(target=_go_on, args=(sock, kind, stop))
        going_on.start()
        try:
            yield sock
        finally:
            stop.set()
            going_on.join()


def _go_on(sock: list[socket.socket], kind: Slow, stop: threading.Event) -> None:
    open_ones = list(sock)
    while not stop.wait(TICK):
        for each in tuple(open_ones):
            try:
                kind.then(each)
            except OSError:
                open_ones.remove(each)
