"""Slow clients delay nobody and are disconnected soon; with sockets at a served console."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.security.served_console import (
    COMMANDS,
    ServedConsole,
    child_of,
    receive_all,
    serving,
    status_of,
)
from tests.security.slow_clients import FORM, HOOK, KINDS, LARGE, clients
from tests.support.databases import wait_for
from tests.support.sandbox import Sandbox

# Requests of other clients meanwhile, and their expected status.
ORDINARY = {
    b"GET /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": 200,
    b"GET /static/console.css HTTP/1.0\r\n\r\n": 200,
    FORM + b"Connection: close\r\nContent-Length: 3\r\n\r\na=b": 400,
    HOOK + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}": 401,
}
PROMPT = 2.0


@pytest.fixture(scope="module")
def console_folder(filled_store: Path, folder: Path) -> Path:
    shutil.copy(filled_store / "console.db", folder / "console.db")
    return folder


@pytest.fixture(scope="module")
def console(
    request: pytest.FixtureRequest, console_folder: Path, sandbox_server: Sandbox
) -> Iterator[ServedConsole]:
    with serving(
        request.param,
        sandbox_server.url,
        console_folder,
        peliqan_webhook_secret="between the two of us",
    ) as found:
        yield found


@pytest.fixture(scope="module")
def quick(console_folder: Path, sandbox_server: Sandbox) -> Iterator[ServedConsole]:
    """A console with deadlines of one second."""
    settings = {"peliqan_webhook_secret": "between the two of us"}
    with serving(
        "dashboard serve", sandbox_server.url, console_folder, quick=True, **settings
    ) as found:
        yield found


def sockets(console: ServedConsole) -> int:
    """Return the number of open connections of the worker process, listeners included."""
    found = 0
    for each in Path(f"/proc/{child_of(console.pid)}/fd").iterdir():
        try:
            found += str(each.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def memory(console: ServedConsole) -> int:
    """Return the memory of the worker process in bytes."""
    return (
        int(
            re.findall(
                r"VmRSS:\s*(\d+)", Path(f"/proc/{child_of(console.pid)}/status").read_text()
            )[0]
        )
        * 1024
    )


def ask_for_all(console: ServedConsole, within: float = PROMPT) -> None:
    for request, status in ORDINARY.items():
        started_at = time.monotonic()
        assert status_of(console.request(request, timeout=within)) == status, request
        assert time.monotonic() - started_at < within, request


@pytest.mark.parametrize("console", COMMANDS, indirect=True, scope="module")
@pytest.mark.parametrize("what", KINDS)
def test_slow_clients_keep_nobody_waiting(console: ServedConsole, what: str) -> None:
    for number in (16, 64, 200):
        with clients(console, KINDS[what], number):
            ask_for_all(console)


@pytest.mark.parametrize("console", COMMANDS, indirect=True, scope="module")
def test_slow_clients_of_all_kinds_together_keep_nobody_waiting(console: ServedConsole) -> None:
    with ExitStack() as stack:
        for kind in KINDS.values():
            stack.enter_context(clients(console, kind, 20))
        ask_for_all(console)


def test_every_slow_client_is_let_go_in_time(quick: ServedConsole) -> None:
    wait_for(lambda: sockets(quick) < 10, "nobody is connected")
    before = sockets(quick)
    with ExitStack() as stack:
        for kind in KINDS.values():
            stack.enter_context(clients(quick, kind, 5))
        wait_for(lambda: sockets(quick) >= before + 5 * len(KINDS) - 10, "all are connected")
        # gunicorn allows 30 seconds between two requests of a connection: no client here is there.
        wait_for(lambda: sockets(quick) <= before, "all were let go", within=15)


@pytest.mark.parametrize(
    "what",
    [
        "stops in the headers",
        "sends headers line by line",
        "stops in a form",
        "sends chunks byte by byte",
    ],
)
def test_a_request_that_took_too_long_is_answered_with_a_page(
    quick: ServedConsole, what: str
) -> None:
    with clients(quick, KINDS[what], 1) as [sock]:
        response = receive_all(sock)
    assert status_of(response) == 408
    assert b"That request took too long to arrive" in response
    assert b"send it again" in response


def test_a_slow_download_that_goes_on_is_whole(quick: ServedConsole) -> None:
    """It takes three times the limit for a client that reads nothing, or less than 64 kB."""
    whole = quick.request(LARGE.replace(b"1.1\r\nHost: x", b"1.0")).partition(b"\r\n\r\n")[2]
    assert len(whole) > 600_000
    found, started_at = b"", time.monotonic()
    with quick.connect(receive_buffer=16_384) as sock:
        sock.sendall(LARGE.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        while piece := sock.recv(16_384):
            found += piece
            # At most 200 kB a second, by the time since the start: independent of the machine.
            time.sleep(max(0.0, started_at + len(found) / 200_000 - time.monotonic()))
    assert time.monotonic() - started_at > 2.5
    assert found.partition(b"\r\n\r\n")[2] == whole


@pytest.mark.parametrize("console", COMMANDS, indirect=True, scope="module")
def test_the_connections_of_a_process_have_a_bound_and_new_ones_are_taken(
    console: ServedConsole,
) -> None:
    before = sockets(console)
    with (
        clients(console, KINDS["says nothing"], 450),
        clients(console, KINDS["stops in a form"], 450),
    ):
        ask_for_all(console)
        assert sockets(console) <= before + 500


@pytest.mark.parametrize("console", COMMANDS, indirect=True, scope="module")
def test_the_bodies_that_are_waited_for_have_a_bound_in_memory(console: ServedConsole) -> None:
    before = memory(console)
    with ExitStack() as stack:
        for _ in range(200):
            sock = stack.enter_context(console.connect())
            sock.sendall(FORM + b"Content-Length: 1000000\r\n\r\n" + b"a" * 990_000)
        # The client first has to read what was sent: 200 MB.
        ask_for_all(console, within=20)
        assert memory(console) - before < 120_000_000


@pytest.mark.parametrize("console", COMMANDS, indirect=True, scope="module")
def test_half_a_body_is_not_acted_upon(console: ServedConsole) -> None:
    for head in (FORM, HOOK):
        for body in (
            b"Content-Length: 100\r\n\r\n" + b" " * 50,
            b"Transfer-Encoding: chunked\r\n\r\n32\r\n" + b" " * 50,
        ):
            with console.connect() as sock:
                sock.sendall(head + body)
                sock.shutdown(1)
                response = receive_all(sock)
            assert status_of(response) == 400
            assert b"That request is incomplete" in response


CHUNKS = {
    "a size that is none": (400, b"x\r\n\r\n"),
    "a size with a sign": (400, b"-1\r\n\r\n"),
    "no end of a chunk": (400, b"1\r\nabc\r\n0\r\n\r\n"),
    "an extension that is none": (400, b"1; =\r\na\r\n0\r\n\r\n"),
    "a size of 9,000 digits": (400, b"0" * 9000),
    "a trailer that is none": (400, b"0\r\nnone\r\n\r\n"),
    "a chunk of 2 MB": (413, b"200000\r\n"),
    "2 MB of chunks of a byte": (413, b"1\r\na\r\n" * 350_000),
    "200 kB of trailers": (413, b"0\r\n" + b"X: y\r\n" * 35_000),
}


@pytest.mark.parametrize("console", COMMANDS, indirect=True, scope="module")
@pytest.mark.parametrize("what", CHUNKS)
def test_chunks_that_cannot_be_read_are_the_clients_mistake(
    console: ServedConsole, what: str
) -> None:
    """Errors of clients must not be the console's, which page its operator."""
    status, body = CHUNKS[what]
    for head in (FORM, HOOK, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n"):
        with console.connect() as sock:
            with suppress(OSError):
                sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
            assert status_of(sock.recv(65536)) == status, head


@pytest.mark.parametrize("console", COMMANDS, indirect=True, scope="module")
def test_requests_one_behind_the_other_and_in_pieces_are_each_answered(
    console: ServedConsole,
) -> None:
    """Only the server decides where a request ends, whatever its way."""
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    form = FORM + b"Content-Length: 3\r\n\r\na=b"
    chunked = FORM + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\na=\r\n1\r\nb\r\n0\r\nX: y\r\n\r\n"
    line = [
        get,
        form,
        chunked,
        HOOK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        get,
        LARGE,
    ]
    statuses = [200, 400, 400, 401, 200, 200, 200]
    whole = b"".join(line) + get.replace(b"Host: x", b"Host: x\r\nConnection: close")
    for size in (len(whole), 1000, 7, 1):
        with console.connect() as sock:
            for at in range(0, len(whole), size):
                sock.sendall(whole[at : at + size])
            response = receive_all(sock)
        assert [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", response)] == statuses, size
