"""A receiver of webhooks, and a sandbox that sends them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

from tests.support.api_caller import Caller
from tests.support.databases import wait_for

SECRET = "between us two"
WITHIN = 10.0


class Receiver:
    """A receiver on a free loopback port.

    Each request gets the next status of ``answers``; 200 when there are no more. From request
    number ``holds_from`` on, responses wait for ``may_go_on``.
    """

    def __init__(self, port: int = 0) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.retry_after = ""
        self.holds_from: int | None = None
        self.may_go_on = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.posts.append((dict(self.headers), body))
                if receiver.holds_from is not None and len(receiver.posts) >= receiver.holds_from:
                    receiver.may_go_on.wait(WITHIN)
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.send_header("Location", receiver.url)
                if receiver.retry_after:
                    self.send_header("Retry-After", receiver.retry_after)
                self.end_headers()

            # A client that follows the redirect shows up as another post.
            do_GET = do_POST

            def log_message(self, *_words: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in list(self.posts)]

    @property
    def events(self) -> list[str]:
        return [each["event"] for each in self.bodies]

    def wait_for(self, count: int) -> None:
        wait_for(lambda: len(self.posts) >= count, f"{count} posts", WITHIN)
        assert len(self.posts) == count, self.events


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    made = Receiver(port)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(5)


@contextmanager
def posting(**options: Any) -> Iterator[Caller]:
    """Run a sandbox that sends webhooks, whose clock the test moves."""
    made = Caller(**options)
    made.hooks.waits = (0.01, 0.01, 0.01)
    with mock.patch("dashboard.sandbox.webhooks.POLL_SECONDS", 0.02):
        yield made
        made.hooks.close()


def counts(api: Caller) -> dict[str, int]:
    state = api.client.get("/sandbox/control/state").json
    assert state is not None
    found: dict[str, int] = state["webhooks"]
    return found


def wait_for_counts(api: Caller, sent: int, failed: int) -> None:
    wait_for(
        lambda: counts(api) == {"sent": sent, "failed": failed},
        f"{sent} sent and {failed} failed",
        WITHIN,
    )
