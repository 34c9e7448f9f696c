"""Requests that two servers may parse differently, at ``dashboard serve``'s gunicorn."""

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.processes import Processes, make_environ
from tests.support.sandbox import Sandbox

# The target of a smuggled request: no other response contains these words.
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWERED = b"\r\n\r\nok\n"


@pytest.fixture(scope="module")
def served(
    filled_store: Path, folder: Path, sandbox_server: Sandbox
) -> Iterator[tuple[str, int, Path]]:
    """The server's host, port and output."""
    shutil.copy(filled_store / "console.db", folder / "console.db")
    processes = Processes(
        make_environ(sandbox_server.url, folder, peliqan_webhook_secret="between the two of us")
    )
    log = folder / "log"
    try:
        with log.open("wb") as file:
            parts = urlsplit(processes.serve(stderr=file))
            yield parts.hostname or "", parts.port or 0, log
    finally:
        processes.end_all()


def send(served: tuple[str, int, Path], request: bytes, within: float = 1.0) -> bytes:
    """Return everything until the server closes or pauses."""
    with socket.create_connection(served[:2], timeout=within) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while piece := sock.recv(65536):
                found += piece
        except TimeoutError:
            pass
        except ConnectionResetError:
            pass
        return found


def statuses(response: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.[01] (\d{3})", response)]


def head(*lines: str, line: str = "POST /login HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: 127.0.0.1", *lines, "", ""]).encode("latin-1")


REFUSED = {
    "both lengths": head("Content-Length: 6", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    "both lengths, the other way round": head("Transfer-Encoding: chunked", "Content-Length: 3")
    + b"0\r\n\r\n"
    + HIDDEN,
    "two lengths": head("Content-Length: 0", f"Content-Length: {len(HIDDEN)}") + HIDDEN,
    "two lengths in one line": head(f"Content-Length: 0, {len(HIDDEN)}") + HIDDEN,
    "a length with a sign": head("Content-Length: +0") + HIDDEN,
    "a negative length": head("Content-Length: -1") + HIDDEN,
    "a length in hexadecimal": head("Content-Length: 0x0") + HIDDEN,
    "a length that is none": head("Content-Length: a") + HIDDEN,
    "an unknown coding": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n" + HIDDEN,
    "chunked twice": head("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n" + HIDDEN,
    "chunked and then something": head("Transfer-Encoding: chunked, identity")
    + b"0\r\n\r\n"
    + HIDDEN,
    "two codings": head("Transfer-Encoding: chunked", "Transfer-Encoding: identity")
    + b"0\r\n\r\n"
    + HIDDEN,
    "a coding in a vertical tab": head("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n" + HIDDEN,
    "a space before the colon": head("Content-Length : 0") + HIDDEN,
    "a folded line": head("X: a", " b", "Content-Length: 0") + HIDDEN,
    "a header without a name": head(": x") + HIDDEN,
    "a NUL in a header": head("X: a\0b") + HIDDEN,
    "a bare CR in a header": head("X: a\rContent-Length: 0") + HIDDEN,
    "a line feed in a header's name": b"GET /login HTTP/1.1\r\nHost: x\r\nX\nY: z\r\n\r\n" + HIDDEN,
    "a chunk whose size is none": head("Transfer-Encoding: chunked") + b"x\r\n\r\n" + HIDDEN,
    "a chunk with a sign": head("Transfer-Encoding: chunked") + b"-1\r\n\r\n" + HIDDEN,
    "no version": head(line="GET /login") + HIDDEN,
    "another version": head(line="GET /login HTTP/3.0") + HIDDEN,
    "a method that is none": head(line="G\x01T /login HTTP/1.1") + HIDDEN,
    "a line of many kilobytes": head(line=f"GET /{'a' * 70_000} HTTP/1.1") + HIDDEN,
    "more headers than anybody has": head(*(f"X-{n}: y" for n in range(2000))) + HIDDEN,
    "a header of many kilobytes": head("X: " + "y" * 70_000) + HIDDEN,
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_request_with_two_readings_is_refused_and_nothing_behind_it_is_read(
    served: tuple[str, int, Path], what: str
) -> None:
    response = send(served, REFUSED[what])
    assert ANSWERED not in response, response[:500]
    # The end of an unread body may be missing: a second response follows, and no more.
    assert all(400 <= status < 600 for status in statuses(response)), response[:500]


def test_the_body_of_one_request_is_never_the_next(served: tuple[str, int, Path]) -> None:
    """Well-formed requests whose body no view reads: the response comes before."""
    for line in (
        "POST /webhooks/peliqan HTTP/1.1",
        "POST /login HTTP/1.1",
        "GET /login HTTP/1.1",
        "PUT /nowhere HTTP/1.1",
    ):
        response = send(served, head(f"Content-Length: {len(HIDDEN)}", line=line) + HIDDEN)
        assert ANSWERED not in response, f"{line}: {response[:500]!r}"
        assert len(statuses(response)) == 1, line
        response = send(
            served,
            head("Transfer-Encoding: chunked", line=line)
            + b"%x\r\n" % len(HIDDEN)
            + HIDDEN
            + b"\r\n0\r\n\r\n",
        )
        assert ANSWERED not in response, f"{line}, in chunks: {response[:500]!r}"


def test_a_bare_line_feed_ends_no_head_that_others_read_on(served: tuple[str, int, Path]) -> None:
    response = send(served, b"GET /login HTTP/1.1\nHost: x\nContent-Length: 0\n\n" + HIDDEN)
    assert len(statuses(response)) <= 1, response[:500]
    assert ANSWERED not in response


def test_an_address_within_an_address_a_trace_and_an_upgrade_get_nothing(
    served: tuple[str, int, Path],
) -> None:
    assert statuses(send(served, head(line="TRACE / HTTP/1.1")))[0] in {400, 405}
    assert statuses(send(served, head(line="CONNECT evil.example:443 HTTP/1.1")))[0] >= 400
    assert statuses(
        send(served, head("Upgrade: h2c", "Connection: Upgrade", line="GET /login HTTP/1.1"))
    ) == [200]
    response = send(
        served, head("Connection: close", line="GET http://evil.example/login HTTP/1.1")
    )
    assert b"evil.example" not in response


def test_a_body_that_is_too_large_is_refused_before_it_is_kept(
    served: tuple[str, int, Path],
) -> None:
    for path, size in (("/webhooks/peliqan", 300_000), ("/login", 2_000_000)):
        response = send(
            served,
            head(
                f"Content-Length: {size}",
                "Content-Type: application/x-www-form-urlencoded",
                line=f"POST {path} HTTP/1.1",
            )
            + b"a" * 1000,
        )
        assert statuses(response)[0] in {400, 413}, response[:300]


def test_no_answer_says_which_versions_stand_behind_it(served: tuple[str, int, Path]) -> None:
    for line in ("GET /login HTTP/1.1", "GET /nowhere HTTP/1.1", "GET /healthz HTTP/1.1", "BAD"):
        response = send(served, head("Connection: close", line=line))
        assert not re.search(rb"gunicorn/|werkzeug|flask|python/?\d", response.lower()), response[
            :300
        ]


def test_what_was_refused_stands_in_the_log_on_lines_of_its_own(
    served: tuple[str, int, Path],
) -> None:
    send(
        served,
        b"GET /\x1b[31m HTTP/1.1\r\nX: y\rERROR forged\r\nBad Header\x1b[0m\nERROR forged: "
        b"z\r\n\r\n",
    )
    written = served[2].read_bytes()
    assert b"\x1b" not in written
    assert not [line for line in written.splitlines() if line.startswith(b"ERROR forged")]


def test_the_console_still_answers(served: tuple[str, int, Path]) -> None:
    assert ANSWERED in send(
        served, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
