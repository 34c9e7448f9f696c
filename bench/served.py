"""The console's processes as an operator starts them, over a store of one's own; and somebody who signs in to them."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from bs4 import BeautifulSoup

from bench.fleet import EMAIL, PASSWORD
from dashboard.app import create_app
from dashboard.cli.shared import upgrade_schema
from dashboard.settings import read_settings
from tests.engines import Servers, free_port, wait_for

TOKEN = "sandbox-partner-token"


class Site:
    """One store with its settings; its processes end with ``ended``."""

    def __init__(self, folder: Path, database_url: str = "", redis_url: str = "", **settings: object) -> None:
        self.environ = {
            "PATH": os.environ["PATH"],
            "SECRET_KEY": "k" * 40,
            "PELIQAN_API_URL": "http://127.0.0.1:1",
            "PELIQAN_PARTNER_TOKEN": TOKEN,
            "DASHBOARD_DATA": str(folder),
            "DASHBOARD_INSECURE_COOKIES": "yes",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            **{name.upper(): str(value) for name, value in settings.items()},
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self.app = create_app(read_settings(self.environ, Path(os.devnull)))
        upgrade_schema(self.app)

    def start(self, *command: str, module: str = "dashboard") -> subprocess.Popen[bytes]:
        """A process with this store's settings; what it complains of is shown."""
        process = subprocess.Popen([sys.executable, "-m", module, *command], env=self.environ, stdout=subprocess.DEVNULL)
        self._running.append(process)
        return process

    def serve(self, *more: str) -> str:
        """The console without a worker; its address."""
        port = free_port()
        self.start("serve", "--no-worker", f"--port={port}", *more)
        return wait_until_it_answers(f"http://127.0.0.1:{port}", "/healthz")

    def sandbox(self, accounts: int, latency_ms: float) -> str:
        """The stand-in for the API; its address, which becomes this store's."""
        port = free_port()
        self.start("sandbox", f"--port={port}", f"--accounts={accounts}", f"--latency-ms={latency_ms:g}")
        self.environ["PELIQAN_API_URL"] = wait_until_it_answers(f"http://127.0.0.1:{port}", "/sandbox/control/state")
        self.app = create_app(read_settings(self.environ, Path(os.devnull)))
        return self.environ["PELIQAN_API_URL"]

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """By its own handle."""
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_all(self) -> None:
        """Everything that was started here, the newest first."""
        for process in reversed(self._running):
            self.end(process)


@contextmanager
def site(servers: Servers | None = None, **settings: object) -> Iterator[Site]:
    """A new store: on SQLite, or on these servers. Gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="console-bench-") as folder:
        name = Path(folder).name
        urls = (servers.postgresql.create(name), servers.redis.url) if servers is not None else ("", "")
        made = Site(Path(folder), *urls, **settings)
        try:
            yield made
        finally:
            made.end_all()
            if servers is not None:
                servers.redis.client.flushall()
                servers.postgresql.drop(name)


def wait_until_it_answers(url: str, path: str) -> str:
    """The address, once it does."""

    def answers() -> bool:
        try:
            return requests.get(url + path, timeout=5).status_code < 500
        except requests.ConnectionError:
            return False

    wait_for(answers, f"{url} answers")
    return url


def sign_in(url: str) -> requests.Session:
    """A browser's session of the one person there is."""
    session = requests.Session()
    page = BeautifulSoup(session.get(f"{url}/login", timeout=30).text, "html.parser")
    field = page.find("input", {"name": "csrf_token"})
    assert field is not None
    form = {"email": EMAIL, "password": PASSWORD, "csrf_token": str(field["value"])}  # type: ignore[index]
    answer = session.post(f"{url}/login", data=form, timeout=30, allow_redirects=False)
    assert answer.status_code == 302, answer.text[:500]
    return session


def seconds(session: requests.Session, url: str) -> float:
    """How long a page takes, to its last byte."""
    began = time.perf_counter()
    answer = session.get(url, timeout=60)
    took = time.perf_counter() - began
    assert answer.status_code == 200, f"{url}: {answer.status_code}"
    return took
