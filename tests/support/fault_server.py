"""A server on a loopback port with scripted responses, which records its requests."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dashboard import peliqan

PARTNER = "partner-secret-0123456789"
CUSTOMER = "customer-secret-9876543210"


@dataclass(frozen=True)
class RecordedRequest:
    """A request, with the client's port, which identifies the connection."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    port: int


@dataclass
class Answer:
    """A response. ``body`` is sent as JSON unless it is bytes; ``raw`` writes to the socket."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: Callable[[Any], None] | None = None


class FaultServer(ThreadingHTTPServer):
    """A server of scripted responses.

    ``say(path, first, second, ...)`` sets the responses in turn; the last one repeats.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[RecordedRequest] = []
        self.stopped = threading.Event()
        self._answers: dict[str, list[Answer]] = defaultdict(
            lambda: [Answer({"detail": "Not found."}, 404)]
        )
        self.say("/api/partner/sub-account/identity/", Answer({"token": CUSTOMER}))

    def say(self, path: str, *answers: Answer) -> None:
        self._answers[path] = list(answers)

    def next(self, path: str) -> Answer:
        answers = self._answers[path]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def count(self, path: str) -> int:
        return sum(each.path == path for each in self.requests)

    def client(self, token: str = PARTNER, **more: Any) -> peliqan.Peliqan:
        """Return a client with short timeouts and no waits."""
        tokens = more.pop("tokens", None) or peliqan.MemoryTokens()
        options = peliqan.ClientOptions(**{"read_timeout": 0.3, "backoff": 0.0, **more})
        return peliqan.Peliqan(self.url, token, tokens=tokens, options=options)

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that close the connection: the tests provoke that."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(
            RecordedRequest(
                parts.path, parse_qs(parts.query), dict(self.headers), self.client_address[1]
            )
        )
        response = self.server.next(parts.path)
        if response.raw:
            self.close_connection = True
            with suppress(OSError):
                response.raw(self.wfile)
            return
        body = (
            response.body
            if isinstance(response.body, bytes)
            else json.dumps(response.body).encode()
        )
        self.send_response(response.status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **response.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


def html(status: int = 200) -> Answer:
    return Answer(
        b"<!doctype html><title>Secret inner page</title>", status, {"Content-Type": "text/html"}
    )


@contextmanager
def run(server: FaultServer) -> Iterator[FaultServer]:
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.stopped.set()
        server.server_close()
        thread.join(5)
