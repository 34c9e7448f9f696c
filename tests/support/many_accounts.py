"""A small API of many accounts that can each fail in several ways, and be slow as a whole."""

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

STARTED, ENDED = "2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z"
WAYS = ("500", "502", "503", "reset", "hangs")
PAGE = 200


class ManyAccounts(ThreadingHTTPServer):
    """An API of many accounts.

    ``broken``: how accounts fail (one of ``WAYS``), on the routes in ``on``. ``down``: how
    everything fails from request number ``down_from`` for connections on. ``workers``: how many
    requests are processed at once, each for ``seconds``; the others wait, as behind gunicorn, even
    if their client has left.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, accounts: int, *, workers: int | None = None, seconds: float = 0.0, rows: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.ids = list(range(1, accounts + 1))
        self.broken: dict[int, str] = {}
        self.on: set[str] = {"servers"}
        self.down: str | None = None
        self.down_from = 0
        self.seconds, self.rows = seconds, rows
        self.calls: Counter[str] = Counter()
        self.over = threading.Event()
        self.working: Any = threading.Semaphore(workers) if workers else nullcontext()

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that close the connection: the tests provoke that."""

    def answer(self, path: str, query: dict[str, list[str]], account: int) -> tuple[str, Any]:
        """Return the route's name and the content of its successful response."""
        if path == "/api/partner/sub-accounts/":
            size, page = int(query["per_page"][0]), int(query["page"][0])
            some = self.ids[(page - 1) * size : page * size]
            listed = [
                {"id": each, "name": f"Customer {each}", "external_id": f"cust-{each}"}
                for each in some
            ]
            return "sub_accounts", {"data": listed, "next": page * size < len(self.ids) or None}
        if path == "/api/partner/sub-account/identity/":
            return "identity", {"token": f"customer-{query['account_id'][0]}"}
        if path == "/api/servers/":
            connection = {
                "id": account * 10,
                "name": "ERP",
                "server_type": "exact",
                "health_status": "OK",
                "run_interval": 3600,
            }
            return "servers", [connection]
        if path.endswith("/runs/"):
            run = {
                "id": account,
                "status": "COMPLETED",
                "timestamp_start": STARTED,
                "timestamp_end": ENDED,
                "tables": [],
            }
            return "runs", {"data": [run]}
        page = int(query["page"][0])
        rows = [
            {"id": each} for each in range((page - 1) * PAGE + 1, min(page * PAGE, self.rows) + 1)
        ]
        return "rows", {
            "count": self.rows,
            "next": "x" if page * PAGE < self.rows else None,
            "results": rows,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ManyAccounts

    def do_GET(self) -> None:
        parts, server = urlsplit(self.path), self.server
        query = parse_qs(parts.query)
        _, _, token = self.headers["Authorization"].partition("customer-")
        account = int(token or query.get("account_id", ["0"])[0])
        route, body = server.answer(parts.path, query, account)
        server.calls[route] += 1
        is_down = server.calls["servers"] >= server.down_from
        way = (server.down if is_down else None) or (
            server.broken.get(account) if route in server.on else None
        )
        with server.working:
            if server.seconds:
                server.over.wait(server.seconds)
            with suppress(OSError):
                self._answer(way, body)

    def _answer(self, way: str | None, body: Any) -> None:
        if way == "hangs":
            self.server.over.wait(60)
        if way in {"hangs", "reset"}:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        content = json.dumps({"error": "ERROR_INTERNAL"} if way else body).encode()
        self.send_response(int(way or 200))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Suppress the log."""


@contextmanager
def many_accounts(accounts: int, **more: Any) -> Iterator[ManyAccounts]:
    """Run such an API."""
    made = ManyAccounts(accounts, **more)
    thread = threading.Thread(
        target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        made.shutdown()
        made.server_close()
        thread.join(5)


def elapsed(since: float) -> float:
    """Return the seconds since a time of ``time.monotonic``."""
    return time.monotonic() - since
