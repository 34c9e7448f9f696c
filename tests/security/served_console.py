"""The two documented commands that serve the console, as processes for tests with sockets."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest

from tests.support.databases import free_port
from tests.support.processes import Processes, answering, make_environ

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "dashboard serve": ("dashboard", "serve", "--no-worker", "--port={port}"),
    "gunicorn wsgi:app": ("gunicorn", "wsgi:app", "--bind=127.0.0.1:{port}", "--no-control-socket"),
}


@dataclass(frozen=True)
class ServedConsole:
    """A served console: where it listens, and the process of its master."""

    host: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self, timeout: float = 5, receive_buffer: int | None = None) -> socket.socket:
        """Open a connection; ``receive_buffer`` in bytes, for clients that read slowly."""
        sock = socket.socket()
        sock.settimeout(timeout)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect((self.host, self.port))
        return sock

    def request(self, request: bytes, timeout: float = 5) -> bytes:
        """Send a request on its own connection; return everything until the server closes."""
        with self.connect(timeout) as sock:
            sock.sendall(request)
            return receive_all(sock)


def receive_all(sock: socket.socket) -> bytes:
    """Read to the end; TimeoutError or ConnectionResetError where there is none."""
    found = b""
    while piece := sock.recv(65536):
        found += piece
    return found


def status_of(response: bytes) -> int:
    """Return the status of the first response; 0 where there is none."""
    found = re.match(rb"HTTP/1\.[01] (\d{3})", response)
    return int(found[1]) if found else 0


def child_of(pid: int) -> int:
    """Return the only worker process of a master."""
    [child] = (int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return child


@contextmanager
def serving(
    console: str,
    api_url: str,
    folder: Path,
    *more: str,
    stderr: IO[bytes] | None = None,
    quick: bool = False,
    **settings: object,
) -> Iterator[ServedConsole]:
    """Serve the console in ``folder``; ``quick``: with deadlines of one second."""
    environ = {**make_environ(api_url, folder, **settings), "FORWARDED_ALLOW_IPS": "*"}
    processes, port, working_directory = Processes(environ), free_port(), Path.cwd()
    module, *words = (*(word.format(port=port) for word in COMMANDS[console]), *more)
    os.chdir(ROOT)
    try:
        if quick:
            process = processes.start(
                module, *words, module="tests.security.short_deadlines", stderr=stderr
            )
        else:
            process = processes.start(*words, module=module, stderr=stderr)
        os.chdir(working_directory)
        parts = urlsplit(answering(f"http://127.0.0.1:{port}", "/healthz"))
        yield ServedConsole(parts.hostname or "", parts.port or 0, process.pid)
    finally:
        os.chdir(working_directory)
        processes.end_all()


each_command = pytest.mark.parametrize("console", COMMANDS, indirect=True, scope="module")
