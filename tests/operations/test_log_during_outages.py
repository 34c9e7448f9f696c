"""Log lines of worker and server during an outage: one at its start, one at its end."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.databases import Servers, wait_for
from tests.support.processes import Processes, make_environ
from tests.support.sandbox import Sandbox
from tests.support.visits import sign_in

SECONDS = 2
NAMES = {"redis": "Redis", "postgresql": "The database"}


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Return a process's output without the access log."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [
        each
        for each in found
        if each["logger"] != "dashboard.telemetry.access_log" and each["level"] != "INFO"
    ]


def says(words: str) -> Callable[[Path], bool]:
    return lambda log: words in log.read_text()


def worker_is_at_work(url: str) -> bool:
    return bool(requests.get(f"{url}/readyz", timeout=60).json()["checks"]["worker"] == "ok")


@contextmanager
def visiting(url: str, session: requests.Session) -> Iterator[list[int]]:
    """Open pages and sign in repeatedly; return the statuses."""
    over, found = threading.Event(), list[int]()

    def visit() -> None:
        while not over.wait(0.1):
            for path in ("/connections", "/connections.json", "/readyz"):
                found.append(session.get(url + path, timeout=60).status_code)
            form = {"email": "olga@example.com", "password": "x"}
            found.append(requests.post(f"{url}/login", data=form, timeout=60).status_code)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join(60)


@pytest.mark.parametrize("which", ["redis", "postgresql"])
def test_a_server_that_is_away_is_a_line_at_the_beginning_and_one_at_the_end(
    store: dict[str, str], servers: Servers, sandbox: Sandbox, tmp_path: Path, which: str
) -> None:
    processes = Processes(
        make_environ(sandbox.url, tmp_path, **store, dashboard_refresh_interval=5)
    )
    logs = {name: tmp_path / f"{name}.log" for name in ("serve", "worker")}
    with logs["serve"].open("wb") as of_serve, logs["worker"].open("wb") as of_worker:
        try:
            url = processes.serve(stderr=of_serve)
            processes.start("worker", stderr=of_worker)
            session = sign_in(url)
            server = getattr(servers, which)
            wait_for(lambda: worker_is_at_work(url), "the worker works", within=60)
            with visiting(url, session) as answers:
                wait_for(lambda: len(answers) > 8, "pages are shown")
                server.stop()
                started_at = time.monotonic()
                wait_for(
                    lambda: all(map(says("does not answer"), logs.values())),
                    "both notice",
                    within=60,
                )
                # Each of the worker's 14 threads has tried several times.
                wait_for(
                    lambda: time.monotonic() - started_at > SECONDS,
                    "it was away so long",
                    within=60,
                )
                away = time.monotonic() - started_at
                server.start()
                number = len(answers)
                wait_for(
                    lambda: all(map(says("answers again after"), logs.values())),
                    "both notice again",
                    within=60,
                )
                wait_for(lambda: len(answers) > number + 20, "pages are shown again", within=60)
        finally:
            processes.end_all()
    for name, log in logs.items():
        first, last = [each["message"] for each in lines_of(log)]
        assert first.startswith(f"{NAMES[which]} does not answer ("), name
        seconds = re.fullmatch(rf"{NAMES[which]} answers again after (\d+) seconds\.", last)
        assert seconds is not None, last
        assert int(seconds[1]) <= away + 30
    assert set(answers) <= {200, 302, 400, 429, 503}
