"""Downloads by several kinds of client, and a table that can pause or fail in its middle."""

import http.client
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet
import requests

from dashboard.sandbox.route_helpers import refuse
from tests.support.databases import free_port, wait_for
from tests.support.nginx import Nginx
from tests.support.people import PASSWORD
from tests.support.processes import Processes, answering, make_environ
from tests.support.sandbox import Sandbox

LEDGER = 10011902
PAGE = 200
# HTTP version and headers by the client's name in these tests.
CLIENTS: dict[str, tuple[int, dict[str, str]]] = {
    "HTTP/1.0": (10, {}),
    "HTTP/1.1 with compression": (11, {"Accept-Encoding": "br, gzip"}),
    "HTTP/1.1 with one request a connection": (11, {"Connection": "close"}),
}


@dataclass
class Upstream:
    """Peliqan's rows of the ledger.

    There are ``rows``; page ``cut_at`` and later ones fail, or wait until ``opened``.
    """

    rows: int = 1000
    cut_at: int = 4
    fails: bool = False
    opened: threading.Event = field(default_factory=threading.Event)
    waiting: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def page(
        self, real: Callable[..., Any], tables: Any, table: Any, form: Any, number: int, size: int
    ) -> Any:
        if number >= self.cut_at and self.fails:
            refuse(404, "ERROR_TABLE_DOES_NOT_EXIST", "The table was deleted.")
        if number >= self.cut_at and not self.opened.is_set():
            with self.lock:
                self.waiting += 1
            self.opened.wait(60)
        # A shorter table: a filter would make the sandbox read all million rows for each page.
        return real(
            tables,
            replace(table, count=self.rows) if table.id == LEDGER else table,
            form,
            number,
            size,
        )


@dataclass(frozen=True)
class Received:
    """A client's result. ``error``: why it knows that the download is incomplete, or empty."""

    status: int
    body: bytes
    error: str = ""

    @property
    def looks_complete(self) -> bool:
        return self.status == 200 and not self.error


def download(url: str, path: str, client: str, cookie: str) -> Received:
    """Download as a client of this kind does."""
    number, headers = CLIENTS[client]
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection._http_vsn, connection._http_vsn_str = number, f"HTTP/{number // 10}.{number % 10}"  # type: ignore[attr-defined]
    status = 0
    try:
        connection.request("GET", path, headers={"Cookie": cookie, **headers})
        response = connection.getresponse()
        status = response.status
        return Received(status, response.read())
    except (http.client.HTTPException, OSError) as error:
        return Received(status, getattr(error, "partial", b""), type(error).__name__)
    finally:
        connection.close()


def count_rows(path: str, body: bytes) -> int:
    """Return the number of rows in a file of a table."""
    if ".parquet" in path:
        return int(pyarrow.parquet.read_table(io.BytesIO(body)).num_rows)
    return body.count(b"\n") - (".csv" in path)


@dataclass
class Served:
    """The console under gunicorn, nginx in front of it, and a signed-in user's cookie."""

    process: Any
    addresses: dict[str, str]
    nginx: Nginx
    cookie: str

    def all(self, paths: list[str]) -> Iterator[tuple[str, str, str]]:
        """Yield every path with every server address and every client."""
        return (
            (address, client, path)
            for path in paths
            for address in self.addresses
            for client in CLIENTS
        )

    def get(self, address: str, client: str, path: str) -> Received:
        return download(self.addresses[address], path, client, self.cookie)


@contextmanager
def serving(
    folder: Path, sandbox: Sandbox, nginx_folder: Path, *command: str, module: str = "dashboard"
) -> Iterator[Served]:
    """Serve with a command that has room for all clients; ``{port}`` in it is a free port.

    nginx's files are in ``nginx_folder``.
    """
    processes, port = (
        Processes(
            make_environ(
                sandbox.url, folder, dashboard_api_timeout=60, dashboard_api_concurrency=256
            )
        ),
        free_port(),
    )
    try:
        process = processes.start(
            *(word.format(port=port) for word in command), "--threads=128", module=module
        )
        url = answering(f"http://127.0.0.1:{port}", "/healthz")
        nginx = Nginx(nginx_folder, url)
        try:
            addresses = {
                "direct": url,
                "nginx": nginx.default,
                "nginx with HTTP/1.1 to the console": nginx.http11,
            }
            yield Served(process, addresses, nginx, sign_in(url))
        finally:
            nginx.stop()
    finally:
        processes.end_all()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sign_in(url: str) -> str:
    """Return the cookie of an administrator, who sees every export."""
    client = requests.Session()
    token = (
        client.get(f"{url}/login", timeout=20)
        .text.partition('name="csrf_token" value="')[2]
        .partition('"')[0]
    )
    client.post(
        f"{url}/login",
        data={"email": "adam@example.com", "password": PASSWORD, "csrf_token": token},
        timeout=20,
    )
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


def cut_in_the_middle(
    served: Served, upstream: Upstream, paths: list[str], cut: Callable[[], object]
) -> dict[str, Received]:
    """Download every path in every way at once; call ``cut`` when all exports are half done."""
    responses = list(served.all(paths))
    upstream.opened.clear()
    with ThreadPoolExecutor(len(responses)) as pool:
        found = {" | ".join(each): pool.submit(served.get, *each) for each in responses}
        exports = [each for each in responses if "/export." in each[2]]
        late = upstream.rows // PAGE - upstream.cut_at + 1
        wait_for(
            lambda: upstream.waiting >= len(exports) * late,
            "all exports are in the middle",
            within=90,
        )
        cut()
        return {name: each.result() for name, each in found.items()}


def falsely_complete(found: dict[str, Received], whole: dict[str, bytes], rows: int) -> list[str]:
    """Return the incomplete downloads that a client takes for complete, each with the reason."""
    wrong = []
    for name, received in found.items():
        path = name.rpartition(" | ")[2]
        if (
            received.looks_complete
            and "/export." in path
            and count_rows(path, received.body) != rows
        ):
            wrong.append(f"{name}: {len(received.body)} bytes of a part")
        if (
            received.looks_complete
            and "/export." not in path
            and received.body not in (whole[path], whole[f"{path} compressed"])
        ):
            wrong.append(f"{name}: {len(received.body)} bytes")
    return wrong
