"""An API on a raw socket, which responds well or as a fault says, and counts requests."""

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dashboard.peliqan.routes import ROUTES

PATHS = [
    (route.method, re.compile(re.sub(r"{\w+}", r"\\d+", route.path) + "$"), route.name)
    for route in ROUTES
]


def http(body: bytes = b"", status: int = 200, length: int | None = None, **headers: str) -> bytes:
    """Return a response as bytes."""
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def as_bytes(response: Any) -> bytes:
    """Return JSON as it is sent; bytes unchanged."""
    return response if isinstance(response, bytes) else json.dumps(response).encode()


@dataclass(frozen=True)
class FaultyRequest:
    """A request that gets a fault.

    ``good``: the good response; ``number``: the number of the request on its route, from 1.
    """

    sock: socket.socket
    good: bytes
    number: int
    server: "RawServer"

    def send(self, content: bytes) -> None:
        """Send it all, or as much as the client reads."""
        self.sock.sendall(content)

    def wait(self, seconds: float = 10) -> bool:
        """Wait; return True at the end of the test."""
        return self.server.over.wait(seconds)


Play = Callable[[FaultyRequest], None]


class RawServer:
    """An API on a raw socket.

    ``good``: responses by route, or functions of the path. ``on``: routes with a fault.
    """

    def __init__(self, good: Mapping[str, Any]) -> None:
        self.good = dict(good)
        self.on: dict[str, Play] = {}
        self.request_counts: Counter[str] = Counter()
        self.tokens: set[str] = set()
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    @contextmanager
    def misbehaving(self, play: Play, *names: str) -> Iterator[None]:
        """Give these routes a fault inside the block; reset the counters."""
        self.over.clear()
        self.request_counts.clear()
        self.on = dict.fromkeys(names, play)
        try:
            yield
        finally:
            self.on = {}
            self.over.set()

    @contextmanager
    def answering(self, **good: Any) -> Iterator[None]:
        """Give these routes other responses inside the block."""
        before, self.good = self.good, {**self.good, **good}
        self.request_counts.clear()
        try:
            yield
        finally:
            self.good = before

    def close(self) -> None:
        """Close the socket."""
        self.over.set()
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            method, path, head = self._read(sock)
            name = next(
                (
                    name
                    for known_method, pattern, name in PATHS
                    if known_method == method and pattern.match(path)
                ),
                None,
            )
            if name is None:
                sock.sendall(http(b'{"error": "ERROR_NO_SUCH_ROUTE"}', 404))
                return
            with self._lock:
                self.request_counts[name] += 1
                number = self.request_counts[name]
                self.tokens.update(re.findall(r"JWT (\S+)", head))
            good = as_bytes(self.good[name](path) if callable(self.good[name]) else self.good[name])
            if name in self.on:
                self.on[name](FaultyRequest(sock, good, number, self))
            else:
                sock.sendall(http(good))

    @staticmethod
    def _read(sock: socket.socket) -> tuple[str, str, str]:
        sock.settimeout(10)
        received = b""
        while b"\r\n\r\n" not in received:
            received += sock.recv(65536)
        head, body = received.split(b"\r\n\r\n", 1)
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        while found and len(body) < int(found[1]):
            body += sock.recv(65536)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        return method, target.split("?")[0], head.decode("latin-1")
