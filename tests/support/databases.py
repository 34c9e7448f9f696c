"""Real PostgreSQL and Redis servers of one's own: on free loopback ports, in a temporary folder, ended by their own handle."""

import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis

from dashboard.cli.serve import end

START_WITHIN = 60.0
# Memory that looks like a disk, where there is some: a database is copied for every test, which takes a disk ten times as long.
MEMORY, ENOUGH = Path("/dev/shm"), 3 * 1024**3


def quick_place() -> Path | None:
    """Where files that outlive nothing are kept: memory, or None for wherever temporary files are."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH else None


def free_port() -> int:
    """A port that nobody listens on: below those that go to outgoing connections, one of which might take it meanwhile."""
    while True:
        port = random.randrange(10_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def wait_for(condition: Callable[[], object], what: str, within: float = START_WITHIN) -> None:
    """Look again and again until it is so; AssertionError when it is not within so many seconds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within:g} s: {what}"
        time.sleep(0.02)


class Server:
    """A server process that can be ended and started again on the same port, with what it kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        self._begin()
        wait_for(self._is_up, f"{self.command()[0]} answers")

    def _begin(self) -> None:
        # PostgreSQL refuses to run as root.
        account = "postgres" if os.geteuid() == 0 else None
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, user=account, cwd=self.folder
            )

    def _is_up(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            # PostgreSQL gives up where what a killed one had begun is still ending.
            self._begin()
        return self.answers()

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)
            self.process = None


def accepts_connections(url: str) -> bool:
    """Whether one can connect to a database, through a pooler or not."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


class PostgreSQL(Server):
    """PostgreSQL without fsync: nothing here outlives the tests."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        account = "postgres" if os.geteuid() == 0 else None
        prepare = [
            find_program("initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "console",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        done = subprocess.run(
            [*prepare, "--no-sync"],
            capture_output=True,
            text=True,
            user=account,
            cwd=folder,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [
            find_program("postgres"),
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
            *options,
        ]

    def stop(self) -> None:
        if self.process is not None:
            # Fast: those who are connected are sent away.
            self.process.send_signal(signal.SIGINT)
        super().stop()

    def url(self, name: str) -> str:
        return f"postgresql://console@127.0.0.1:{self.port}/{name}"

    def answers(self) -> bool:
        return accepts_connections(self.url("postgres"))

    def create(self, name: str, like: str = "template1", locale: str = "") -> str:
        """A new database, with what ``like`` has in it; its address. ``locale``: how it is to compare text, in SQL."""
        template = "template0" if locale else like
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy {locale}')
        return self.url(name)

    def drop(self, name: str) -> None:
        self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


class Redis(Server):
    """Redis that writes nothing to disk."""

    def command(self) -> list[str]:
        return [
            find_program("redis-server"),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=30)

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


class Servers:
    """Both of them."""

    def __init__(self, postgresql: PostgreSQL, redis: Redis) -> None:
        self.postgresql, self.redis = postgresql, redis

    def revive(self) -> None:
        """Start again what a test ended."""
        for server in (self.postgresql, self.redis):
            if server.process is None:
                server.start()


@contextmanager
def run_servers() -> Iterator[Servers]:
    """Both, started; ended and forgotten afterwards."""
    folders = [
        Path(tempfile.mkdtemp(prefix=f"console-{name}-", dir=quick_place()))
        for name in ("postgresql", "redis")
    ]
    if os.geteuid() == 0:
        for folder in folders:
            shutil.chown(folder, "postgres")
    started: list[Server] = []
    try:
        postgresql, redis = PostgreSQL(folders[0]), Redis(folders[1])
        for server in (postgresql, redis):
            started.append(server)
            server.start()
        yield Servers(postgresql, redis)
    finally:
        for each in reversed(started):
            each.stop()
        for folder in folders:
            shutil.rmtree(folder)


def find_program(name: str) -> str:
    """Return a program's path; Debian keeps PostgreSQL's programs, and PgBouncer for everybody but root, out of the PATH."""
    places = sorted(
        glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4])
    )
    found = shutil.which(
        name, path=os.pathsep.join([os.environ["PATH"], *reversed(places), "/usr/sbin"])
    )
    assert found, f"{name} is missing: scripts/need-programs says what to install"
    return found
