"""Cookies, headers and addresses that are too large get an error page, also behind nginx."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.security.served_console import COMMANDS, ServedConsole, serving, status_of
from tests.support.nginx import Nginx
from tests.support.sandbox import Sandbox

KB = 1024


@pytest.fixture(scope="module", params=[*COMMANDS, "nginx"])
def way(
    request: pytest.FixtureRequest,
    filled_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
    sandbox_server: Sandbox,
) -> Iterator[ServedConsole]:
    """A console served by both commands, and behind nginx by ``deploy/nginx.conf``."""
    folder, nginx = tmp_path_factory.mktemp("served"), None
    shutil.copy(filled_store / "console.db", folder / "console.db")
    command = "dashboard serve" if request.param == "nginx" else request.param
    with serving(command, sandbox_server.url, folder, peliqan_webhook_secret="secret") as found:
        if request.param == "nginx":
            nginx = Nginx(tmp_path_factory.mktemp("nginx"), found.url)
            found = ServedConsole("127.0.0.1", int(nginx.deployed.rpartition(":")[2]), 0)
        try:
            yield found
        finally:
            if nginx:
                nginx.stop()


def head(*lines: str, line: str = "GET /login HTTP/1.1") -> bytes:
    return "\r\n".join(
        [line, "Host: console.example", "Connection: close", *lines, "", ""]
    ).encode()


def cookies(size: int) -> str:
    """Return cookies of 2 kB each in one header, as many applications of one domain set them."""
    return "Cookie: " + "; ".join(f"app{n}={'x' * (2 * KB - 10)}" for n in range(size // (2 * KB)))


FINE = {
    "16 kB of cookies": head(cookies(16 * KB)),
    "30 kB of cookies": head(cookies(30 * KB)),
    "an address of 16 kB": head(line=f"GET /login?next={'a' * 16 * KB} HTTP/1.1"),
    "200 headers": head(*(f"X-{n}: {'y' * 50}" for n in range(200))),
}
TOO_LARGE = {
    "100 kB of cookies": (431, head(cookies(100 * KB))),
    "5 MB of cookies": (431, head(cookies(5000 * KB))),
    "a header of 200 kB": (431, head("X: " + "y" * 200 * KB)),
    "100,000 headers": (431, head(*(f"X-{n}: y" for n in range(100_000)))),
    "an address of 100 kB": (414, head(line=f"GET /login?next={'a' * 100 * KB} HTTP/1.1")),
    "an address of 5 MB": (414, head(line=f"GET /login?next={'a' * 5000 * KB} HTTP/1.1")),
    "a form with 100 kB of cookies": (
        431,
        head(cookies(100 * KB), "Content-Length: 9", line="POST /login HTTP/1.1") + b"a" * 9,
    ),
    "an event with 100 kB of headers": (
        431,
        head(cookies(100 * KB), "Content-Length: 2", line="POST /webhooks/peliqan HTTP/1.1"),
    ),
}
SAYS = {
    431: (b"too many cookies", b"Delete the cookies of this address", b"other applications"),
    414: (b"address is too long", b"Shorten the search"),
}


def send(console: ServedConsole, request: bytes) -> bytes:
    """Return the response to a client that keeps sending: a reset must not lose it."""
    with console.connect(10) as sock:
        # The server stops reading at some point; its response is readable all the same.
        with suppress(OSError):
            sock.sendall(request)
        found = b""
        try:
            while piece := sock.recv(65536):
                found += piece
        except ConnectionResetError:
            assert len(request) > 1000 * KB, "the answer was cut by a reset"
        return found


@pytest.mark.parametrize("what", FINE)
def test_what_a_browser_may_have_collected_is_read(way: ServedConsole, what: str) -> None:
    response = send(way, FINE[what])
    assert status_of(response) == 200
    assert b'name="password"' in response


@pytest.mark.parametrize("what", TOO_LARGE)
def test_what_is_larger_is_answered_with_a_page_that_says_what_to_do(
    way: ServedConsole, what: str
) -> None:
    status, sent = TOO_LARGE[what]
    response = send(way, sent)
    top, _, page = response.partition(b"\r\n\r\n")
    assert status_of(response) == status
    assert b"text/html" in top
    assert [text for text in SAYS[status] if text not in page] == []
    assert b"nginx/" not in top


def test_after_a_refusal_nothing_of_the_same_connection_is_answered(way: ServedConsole) -> None:
    response = send(way, TOO_LARGE["100 kB of cookies"][1] + head(line="GET /healthz HTTP/1.1"))
    assert response.count(b"HTTP/1.1 ") == 1
    assert b"\r\n\r\nok\n" not in response
