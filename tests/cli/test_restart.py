"""Stop and restart of `dashboard serve` and `dashboard worker`: no request is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from flask import Flask
from sqlalchemy import func, select

from dashboard.core.database import db
from dashboard.fleet.models import AccountRefreshState
from dashboard.refresh import passes
from tests.support.clock import Clock
from tests.support.databases import free_port, wait_for
from tests.support.people import PASSWORD
from tests.support.processes import Processes, answering, make_environ
from tests.support.sandbox import Sandbox


@pytest.fixture
def machines(store: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> Iterator[Processes]:
    found = Processes(make_environ(sandbox.url, tmp_path, dashboard_api_concurrency=2, **store))
    yield found
    found.end_all()


class Visitors:
    """Send requests, each on a new connection as through a proxy; record the failed ones."""

    def __init__(self, url: str) -> None:
        self.url, self.answers, self.failures = url, 0, list[str]()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(3)]

    def _visit(self) -> None:
        while not self._stop.is_set():
            try:
                response = requests.get(
                    f"{self.url}/login", headers={"Connection": "close"}, timeout=30
                )
                if response.status_code != 200:
                    self.failures.append(str(response.status_code))
            except requests.RequestException as error:
                self.failures.append(type(error).__name__)
            self.answers += 1
            self._stop.wait(0.01)

    def came_since(self, number: int, before: int) -> Callable[[], bool]:
        return lambda: self.answers >= before + number

    @contextmanager
    def coming(self) -> Iterator["Visitors"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(40)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_second_server_takes_over_and_every_request_is_answered(machines: Processes) -> None:
    port = free_port()
    first = machines.start("serve", "--no-worker", f"--port={port}")
    url = answering(f"http://127.0.0.1:{port}", "/healthz")
    with Visitors(url).coming() as visitors:
        wait_for(visitors.came_since(20, 0), "visitors come")
        first.send_signal(signal.SIGUSR2)

        def second() -> int | None:
            """Return a server that is a child of the first and has its own worker."""
            return next((each for each in children(first.pid) if children(each)), None)

        wait_for(lambda: second() is not None, "the second server has started")
        heir = second()
        assert heir is not None
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
        wait_for(visitors.came_since(20, visitors.answers), "the second answers")
    try:
        assert visitors.failures == []
        # Without its parent, it can be replaced as well.
        assert requests.get(f"{url}/healthz", timeout=30).ok
    finally:
        os.kill(heir, signal.SIGTERM)
        wait_for(
            lambda: (
                not Path(f"/proc/{heir}").exists()
                or "Z" in Path(f"/proc/{heir}/stat").read_text().split()[2]
            ),
            "it ends",
        )


def test_a_service_that_restarts_on_a_socket_of_systemds_loses_no_request(
    machines: Processes,
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as held:
        number = held.fileno()
        # As systemd passes it on: file descriptor 3, and the process that it is for.
        script = f'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&{number}'

        def start() -> subprocess.Popen[bytes]:
            words = [
                "/bin/bash",
                "-c",
                script,
                "serve",
                sys.executable,
                "-m",
                "dashboard",
                "serve",
                "--no-worker",
            ]
            return subprocess.Popen(
                words, env=dict(machines.environ), pass_fds=[number], stdout=subprocess.DEVNULL
            )

        running = start()
        try:
            url = f"http://127.0.0.1:{held.getsockname()[1]}"
            # Accepted at once, and answered when the service has started.
            assert requests.get(f"{url}/healthz", timeout=60).ok
            with Visitors(url).coming() as visitors:
                wait_for(visitors.came_since(20, 0), "visitors come")
                running.send_signal(signal.SIGTERM)
                assert running.wait(60) == 0
                running = start()
                wait_for(visitors.came_since(20, visitors.answers), "the next one answers")
            assert visitors.failures == []
        finally:
            running.terminate()
            running.wait(60)


def test_what_is_under_way_is_answered_before_the_end(
    machines: Processes, sandbox: Sandbox
) -> None:
    url = machines.serve()
    server = machines.newest
    visitor = requests.Session()
    token = (
        visitor.get(f"{url}/login", timeout=20)
        .text.partition('name="csrf_token" value="')[2]
        .partition('"')[0]
    )
    signed_in = visitor.post(
        f"{url}/login",
        data={"email": "olga@example.com", "password": PASSWORD, "csrf_token": token},
        timeout=20,
    )
    assert signed_in.ok
    sandbox.fault("tables", delay_ms=1500)
    before = sandbox.state()["calls"].get("tables", 0)
    answers: list[requests.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(
            visitor.get(f"{url}/accounts/1001/databases/10011", timeout=30)
        )
    )
    asking.start()
    wait_for(lambda: sandbox.state()["calls"].get("tables", 0) > before, "the page asks Peliqan")
    server.send_signal(signal.SIGTERM)
    asking.join(30)
    assert [response.status_code for response in answers] == [200]
    assert server.wait(60) == 0


def test_a_changed_env_file_is_read_at_sighup_and_a_broken_one_changes_nothing(
    machines: Processes, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".env").write_text("DASHBOARD_METRICS_TOKEN=first-token\n")
    port, log = free_port(), tmp_path / "log"
    environ = {**machines.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "dashboard", "serve", "--no-worker", f"--port={port}"],
            env=environ,
            cwd=home,
            stderr=output,
        )
    try:
        url = answering(f"http://127.0.0.1:{port}", "/healthz")

        def opens(token: str) -> bool:
            return requests.get(
                f"{url}/metrics",
                headers={"Authorization": f"Bearer {token}", "Connection": "close"},
                timeout=5,
            ).ok

        assert opens("first-token")
        (home / ".env").write_text("DASHBOARD_METRICS_TOKEN=second-token\n")
        server.send_signal(signal.SIGHUP)
        wait_for(
            lambda: opens("second-token") and not opens("first-token"), "the new settings hold"
        )
        (home / ".env").write_text(
            "DASHBOARD_METRICS_TOKEN=third-token\nDASHBOARD_REFRESH_INTERVAL=soon\n"
        )
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: "Everything stays as it was" in log.read_text(), "it is said")
        assert "DASHBOARD_REFRESH_INTERVAL" in log.read_text()
        wait_for(lambda: opens("second-token"), "and it goes on")
        assert server.poll() is None
        assert all(json.loads(line)["level"] for line in log.read_text().splitlines())
    finally:
        server.terminate()
        server.wait(60)


def test_a_worker_that_is_asked_to_end_writes_down_what_it_has_in_hand(
    machines: Processes, sandbox: Sandbox, app: Flask, clock: Clock
) -> None:
    sandbox.fault("servers", delay_ms=300)
    with app.app_context():
        started_at = passes.start_or_join(clock()).started_at
        db.session.remove()
    before = sandbox.state()["calls"].get("servers", 0)
    worker = machines.start("worker")
    wait_for(lambda: sandbox.state()["calls"].get("servers", 0) - before >= 6, "it reads")
    worker.send_signal(signal.SIGTERM)
    began_to_end = time.monotonic()
    assert worker.wait(60) == 0
    assert time.monotonic() - began_to_end < 15
    requests = sandbox.state()["calls"]["servers"] - before
    with app.app_context():
        tried = db.session.scalar(
            select(func.count()).where(AccountRefreshState.tried_at >= started_at)
        )
    assert tried == requests < 60
