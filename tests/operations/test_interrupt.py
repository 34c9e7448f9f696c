"""Ctrl-C: SIGINT reaches the whole process group, and all processes stop without an error."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support.databases import free_port, wait_for
from tests.support.processes import make_environ
from tests.support.sandbox import Sandbox

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def engine() -> str:
    """The engine: SQLite."""
    return "embedded"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(log: Path, store: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> Iterator[Start]:
    """Start a command in its own process group, as a shell does."""
    started = []

    def start_process(*words: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dashboard", *words],
                env=make_environ(sandbox.url, tmp_path, **store),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start_process
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def children(pid: int) -> list[int]:
    found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [below for child in found for below in children(child)]


def has_ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def interrupt(process: subprocess.Popen[bytes], log: Path) -> str:
    """Press Ctrl-C; return what was printed from then on."""
    family, before = children(process.pid), len(log.read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) in {0, 130}
    wait_for(lambda: all(map(has_ended, family)), "all processes have ended", within=60)
    return log.read_text()[before:].strip()


def test_ctrl_c_ends_a_demo_in_order(start: Start, log: Path) -> None:
    # At once, while sandbox and worker still start.
    process = start("demo", "--accounts=20", f"--port={free_port()}")
    wait_for(lambda: "Ctrl-C ends all" in log.read_text(), "the demo prints its address", within=60)
    assert interrupt(process, log) == ""


@pytest.mark.parametrize("command", ["serve", "sandbox"])
def test_ctrl_c_ends_a_server_in_order_while_browsers_hold_connections(
    start: Start, log: Path, command: str
) -> None:
    port = free_port()
    process = start(command, f"--port={port}")
    with requests.Session() as browser:

        def answers() -> bool:
            try:
                return browser.get(f"http://127.0.0.1:{port}/login", timeout=20).status_code < 500
            except requests.ConnectionError:
                return False

        wait_for(answers, "it answers", within=60)
        assert interrupt(process, log) == ""


# A worker that gets SIGTERM, or Ctrl-C at the server, right after its start.
ASKED_AT_ONCE = """
import os
import signal

worker_class = "{worker}"
workers = 1
loglevel = "warning"
control_socket_disable = True
graceful_timeout = 30


def post_fork(server, worker):
    if not os.path.exists("asked"):
        open("asked", "w").close()
        os.kill(os.getpid(), signal.{name})


def child_exit(server, worker):
    open("ended", "w").close()
"""
APPLICATION = (
    "def app(environ, start_response):\n    start_response('204 No Content', [])\n    return []\n"
)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGQUIT"])
@pytest.mark.parametrize(
    "worker", ["dashboard.http.worker.Worker", "dashboard.sandbox.server.Worker"]
)
def test_a_worker_asked_to_end_before_it_has_handlers_ends(
    tmp_path: Path, worker: str, name: str
) -> None:
    (tmp_path / "settings.py").write_text(ASKED_AT_ONCE.format(worker=worker, name=name))
    (tmp_path / "application.py").write_text(APPLICATION)
    words = ["-c", "settings.py", "-b", f"127.0.0.1:{free_port()}", "application:app"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *words], cwd=tmp_path, env=environ
    ) as process:
        try:
            wait_for((tmp_path / "ended").exists, "the worker has ended", within=20)
        finally:
            process.terminate()
            assert process.wait(20) == 0
