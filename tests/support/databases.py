"""PostgreSQL and Redis servers for tests, on free loopback ports in a temporary folder."""

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
# Memory instead of a disk where there is enough: each test copies a database, which takes a disk
# ten times as long.
MEMORY, ENOUGH = Path("/dev/shm"), 3 * 1024**3


def fast_folder() -> Path | None:
    """Return a folder in memory for short-lived files; None: use the usual temporary folder."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH else None


def free_port() -> int:
    """Return a port without a listener, below the range of outgoing connections."""
    while True:
        port = random.randrange(10_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def wait_for(condition: Callable[[], object], what: str, within: float = START_WITHIN) -> None:
    """Poll until the condition holds. AssertionError after ``within`` seconds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within:g} s: {what}"
        time.sleep(0.02)


class Server:
    """A server process that can be stopped and started again with its port and data."""

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
            # PostgreSQL exits while processes of a killed predecessor still run.
            self._begin()
        return self.answers()

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)
            self.process = None


def accepts_connections(url: str) -> bool:
    """Return whether a connection to the database is possible, through a pooler or not."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


class PostgreSQL(Server):
    """PostgreSQL without fsync: no data outlives the tests."""

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
            # SIGINT is PostgreSQL's fast shutdown: it disconnects all clients.
            self.process.send_signal(signal.SIGINT)
        super().stop()

    def url(self, name: str) -> str:
        return f"postgresql://console@127.0.0.1:{self.port}/{name}"

    def answers(self) -> bool:
        return accepts_connections(self.url("postgres"))

    def create(self, name: str, like: str = "template1", locale: str = "") -> str:
        """Create a database as a copy of ``like`` and return its address.

        ``locale``: SQL that says how it compares text.
        """
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
    """A PostgreSQL and a Redis server."""

    def __init__(self, postgresql: PostgreSQL, redis: Redis) -> None:
        self.postgresql, self.redis = postgresql, redis

    def revive(self) -> None:
        """Start again a server that a test stopped."""
        for server in (self.postgresql, self.redis):
            if server.process is None:
                server.start()


@contextmanager
def run_servers() -> Iterator[Servers]:
    """Start both servers; stop them and delete their files at the end."""
    folders = [
        Path(tempfile.mkdtemp(prefix=f"console-{name}-", dir=fast_folder()))
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
    """Return a program's path.

    Debian keeps PostgreSQL's programs out of the PATH, and PgBouncer out of that of users other
    than root.
    """
    folders = sorted(
        glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4])
    )
    found = shutil.which(
        name, path=os.pathsep.join([os.environ["PATH"], *reversed(folders), "/usr/sbin"])
    )
    assert found, f"{name} is missing: scripts/need-programs says what to install"
    return found
