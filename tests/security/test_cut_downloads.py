"""No interrupted download looks complete: each streamed route, with and without nginx."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response, request_finished
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.core.database import db
from dashboard.exports.models import Export
from dashboard.listing import csv_file
from dashboard.sandbox import query
from tests.security.downloads import (
    CLIENTS,
    LEDGER,
    Served,
    Upstream,
    children,
    cut_in_the_middle,
    download,
    falsely_complete,
    serving,
)
from tests.security.route_requests import RouteRequests
from tests.support.databases import wait_for
from tests.support.nginx import Nginx
from tests.support.people import Person
from tests.support.processes import answering
from tests.support.sandbox import Sandbox


@pytest.fixture
def upstream(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """Let all rows be readable until a test changes that."""
    found, real = Upstream(), query.page
    found.opened.set()
    monkeypatch.setattr(query, "page", lambda *args: found.page(real, *args))
    yield found
    found.opened.set()


@dataclass(frozen=True)
class Walked:
    """A response of one GET route or static file: its announced and its real length."""

    path: str
    coding: str
    status: int
    announced: str | None
    length: int
    streamed: bool


@pytest.fixture(scope="module")
def downloads(app: Flask, route_requests: RouteRequests) -> list[Walked]:
    """Every GET route and static file, uncompressed and compressed."""
    found, streams = list[Walked](), list[bool]()

    def note(_: Flask, response: Response, **__: Any) -> None:
        streams.append(response.is_streamed)

    client = Person(app.test_client(), "adam@example.com").client
    with request_finished.connected_to(note, app):
        for path in all_paths(app, route_requests):
            for coding in ("identity", "br, gzip, deflate, zstd"):
                with client.get(path, headers={"Accept-Encoding": coding}) as response:
                    result = (
                        response.status_code,
                        response.headers.get("Content-Length"),
                        len(response.get_data()),
                        streams[-1],
                    )
                    found.append(Walked(path, coding, *result))
    return found


@pytest.fixture(scope="module")
def streamed(downloads: list[Walked]) -> list[str]:
    """The streamed addresses, and the largest static file. Exports are of the ledger."""
    found = dict.fromkeys(each.path for each in downloads if each.streamed and each.status == 200)
    kinds = {path.rpartition("/")[2] for path in found}
    assert {"export.csv", "export.jsonl", "export.parquet", "file"} <= kinds
    return [
        "/static/vendor/tabler.min.css",
        *(re.sub(r"/tables/\d+/export", f"/tables/{LEDGER}/export", path) for path in found),
    ]


def all_paths(app: Flask, route_requests: RouteRequests) -> list[str]:
    """Return an address of every GET route and of every static file."""
    folder = Path(str(app.static_folder))
    static = [
        f"/static/{path.relative_to(folder)}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return [*(request.path for request in route_requests.all("GET")), *static]


@pytest.fixture
def served(app: Flask, folder: Path, sandbox: Sandbox, tmp_path: Path) -> Iterator[Served]:
    with serving(folder, sandbox, tmp_path, "serve", "--no-worker", "--port={port}") as found:
        yield found


def newest_entry(app: Flask) -> AuditEntry:
    with app.app_context():
        found = db.session.scalars(
            select(AuditEntry).where(AuditEntry.what == "export").order_by(AuditEntry.id.desc())
        ).first()
        assert found is not None
        db.session.expunge(found)
        return found


@pytest.fixture
def complete_downloads(served: Served, streamed: list[str]) -> dict[str, bytes]:
    """The complete responses of everything but exports, before any interruption."""
    return {
        f"{path}{suffix}": served.get("direct", client, path).body
        for path in streamed
        if "/export." not in path
        for suffix, client in (("", "HTTP/1.0"), (" compressed", "HTTP/1.1 with compression"))
    }


def test_every_answer_of_every_route_carries_its_length(downloads: list[Walked]) -> None:
    assert len(downloads) > 250
    assert [
        each
        for each in downloads
        if each.status not in {204, 304} and each.announced != str(each.length)
    ] == []


def test_without_a_cut_every_client_has_the_whole_of_everything(
    served: Served, upstream: Upstream, streamed: list[str], complete_downloads: dict[str, bytes]
) -> None:
    found = cut_in_the_middle(served, upstream, streamed, upstream.opened.set)
    assert falsely_complete(found, complete_downloads, upstream.rows) == []
    assert [name for name, received in found.items() if not received.looks_complete] == []


def test_no_client_takes_a_table_that_fails_in_the_middle_for_a_whole_one(
    served: Served, upstream: Upstream, streamed: list[str]
) -> None:
    upstream.fails = True
    for address, client, path in served.all([path for path in streamed if "/export." in path]):
        received = served.get(address, client, path)
        assert (received.status, b"not_found" in received.body) == (404, True), (
            address,
            client,
            path,
            received,
        )


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGQUIT], ids=["killed", "ended at once"]
)
def test_no_client_takes_the_answer_of_a_process_that_ended_for_a_whole_one(
    number: signal.Signals,
    served: Served,
    upstream: Upstream,
    streamed: list[str],
    complete_downloads: dict[str, bytes],
) -> None:
    def end() -> None:
        for child in children(served.process.pid):
            os.kill(child, number)
        upstream.opened.set()

    found = cut_in_the_middle(served, upstream, streamed, end)
    assert falsely_complete(found, complete_downloads, upstream.rows) == []
    if number == signal.SIGKILL:
        # With the other signal a file may be complete before the process ends.
        assert not any(
            received.looks_complete for name, received in found.items() if "/export." in name
        )


def test_no_client_takes_what_a_restart_could_not_wait_for_for_a_whole_answer(
    app: Flask,
    folder: Path,
    sandbox: Sandbox,
    upstream: Upstream,
    streamed: list[str],
    request: pytest.FixtureRequest,
) -> None:
    request.getfixturevalue("monkeypatch").chdir(Path(__file__).parents[2])
    tmp_path: Path = request.getfixturevalue("tmp_path")
    impatient = (
        "wsgi:app",
        "--bind=127.0.0.1:{port}",
        "--graceful-timeout=1",
        "--no-control-socket",
    )
    with serving(folder, sandbox, tmp_path, *impatient, module="gunicorn") as served:

        def end() -> None:
            served.process.send_signal(signal.SIGTERM)
            served.process.wait(60)

        found = cut_in_the_middle(
            served, upstream, [path for path in streamed if "/export." in path], end
        )
    assert [name for name, received in found.items() if received.looks_complete] == []


def test_a_restart_in_the_middle_of_five_thousand_rows_finishes_them_for_every_client(
    served: Served, upstream: Upstream, streamed: list[str], complete_downloads: dict[str, bytes]
) -> None:
    upstream.rows, upstream.cut_at = 5000, 18

    def restart() -> None:
        served.process.send_signal(signal.SIGTERM)
        upstream.opened.set()

    paths = [
        path for path in streamed if "/export." not in path or path.endswith((".csv", ".jsonl"))
    ]
    found = cut_in_the_middle(served, upstream, paths, restart)
    assert falsely_complete(found, complete_downloads, upstream.rows) == []
    assert [name for name, received in found.items() if not received.looks_complete] == []
    assert served.process.wait(60) == 0


def test_a_process_that_is_killed_while_it_sends_has_announced_more_than_came(
    served: Served, app: Flask, folder: Path, streamed: list[str]
) -> None:
    with app.app_context():
        for export in db.session.scalars(select(Export)):
            # More than the buffers between a process and a client that does not read.
            (folder / "exports" / export.name).write_bytes(b"x" * 50_000_000)
    (path,) = (path for path in streamed if path.startswith("/exports/"))
    for version in ("1.0", "1.1"):
        with socket.create_connection(
            urlsplit(served.addresses["direct"]).netloc.split(":"), timeout=30
        ) as sock:
            sock.sendall(
                f"GET {path} HTTP/{version}\r\nHost: console\r\n"
                f"Cookie: {served.cookie}\r\n\r\n".encode()
            )
            received = sock.recv(65536)
            [child] = children(served.process.pid)
            os.kill(child, signal.SIGKILL)
            while piece := read_on(sock):
                received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        assert b"200 OK" in head
        assert b"content-length: 50000000" in head.lower()
        assert len(body) < 50_000_000
        answering(served.addresses["direct"], "/healthz")


def read_on(connection: socket.socket) -> bytes:
    """Return the next piece; empty after the end or an error."""
    try:
        return connection.recv(1_000_000)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("client", CLIENTS)
def test_nginx_lets_every_client_know_of_an_answer_that_is_shorter_than_its_length(
    client: str, tmp_path: Path
) -> None:
    """Check the assumption of all these tests."""
    with socket.create_server(("127.0.0.1", 0)) as short:
        nginx = Nginx(tmp_path, f"http://127.0.0.1:{short.getsockname()[1]}")
        try:
            for address in (nginx.default, nginx.http11):
                with ThreadPoolExecutor(1) as pool:
                    received = pool.submit(download, address, "/", client, "")
                    sock, _ = short.accept()
                    with sock:
                        sock.recv(65536)
                        sock.sendall(
                            b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n"
                            b"Content-Length: 1000\r\n\r\nid,Name\r\n"
                        )
                    assert (received.result().status, received.result().error) == (
                        200,
                        "IncompleteRead",
                    )
        finally:
            nginx.stop()


def test_a_proxy_that_waits_no_longer_has_an_error_for_its_client_and_ends_the_reading(
    served: Served, upstream: Upstream, streamed: list[str], app: Flask, folder: Path
) -> None:
    before = set(folder.glob("export-*"))
    for path in (path for path in streamed if "/export." in path):
        upstream.opened.clear()
        assert download(served.nginx.impatient, path, "HTTP/1.0", served.cookie).status == 504
        upstream.opened.set()
        wait_for(lambda: newest_entry(app).settled_at, "the end is in the audit trail")
        entry = newest_entry(app)
        assert entry.result == "failed"
        assert "The client closed the connection before the file was made." in entry.detail
    assert set(folder.glob("export-*")) <= before


def test_a_list_with_more_rows_than_its_csv_file_may_have_is_refused_and_not_cut(
    app: Flask, route_requests: RouteRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, refused, most = Person(app.test_client(), "adam@example.com").client, 0, 2
    monkeypatch.setattr(csv_file, "MOST_CSV_ROWS", most)
    paths = {request.path for request in route_requests.all("GET")}
    for path in sorted(
        path
        for path in paths
        if path.endswith(".json") and f"{path.removesuffix('.json')}.csv" in paths
    ):
        listed = client.get(path).json
        if not (isinstance(listed, dict) and {"items", "total", "per_page"} <= set(listed)):
            continue
        response = client.get(f"{path.removesuffix('.json')}.csv")
        if "-page-" in response.headers.get("Content-Disposition", ""):
            # One page of a table's rows, as its name says.
            continue
        assert response.status_code == (400 if listed["total"] > most else 200), path
        if listed["total"] > most:
            refused += 1
            assert (
                f"The list has {listed['total']:,} rows, and a CSV file holds 2 at most."
                in response.json["detail"]
            )
    assert refused > 4
