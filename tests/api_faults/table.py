"""The tables of API routes and of faults, one line each."""

import gzip
import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from dashboard import peliqan
from dashboard.peliqan import Peliqan, PeliqanError
from tests.api_faults.server import FaultyRequest, Play, http

PARTNER, CUSTOMER = "partner-secret-0123456789", "customer-secret-9876543210"
ACCOUNT, CONNECTION, BANK, DATABASE, TABLE, ROW, RUN = 1, 7, 8, 70, 700, 1, 9
OTHER_ACCOUNT = 2
STARTED, ENDED = "2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z"
PATIENCE, IN_NO_TIME = 20.0, 0.3


@dataclass(frozen=True)
class Case:
    """A route: the call and a good response.

    ``needs``: the required fields; all others may be missing or null. ``paged``: it is read page
    by page. ``plain``: text alone is a response, too.
    """

    name: str
    call: Callable[[Peliqan], Any]
    good: Any
    needs: frozenset[str] = frozenset()
    paged: bool = False
    plain: bool = False


def of(account: Callable[[peliqan.AccountApi], Any]) -> Callable[[Peliqan], Any]:
    """Return a call with a customer's token."""
    return lambda api: account(api.for_account(ACCOUNT))


def server(id: int, **more: Any) -> dict[str, Any]:
    fields = {
        "id": id,
        "name": f"Connection {id}",
        "server_type": "exact",
        "health_status": "OK",
        "is_datawarehouse": False,
    }
    return {
        **fields,
        "is_target": False,
        "target": 99,
        "target_schema": {"schema_name": "exact_7"},
        "run_interval": 3600,
        "disable_scheduler": False,
        "auth_type": "oauth2",
        **more,
    }


LOAD = {"name": "exact_invoices", "records": 3}
A_RUN = {
    "id": RUN,
    "status": "COMPLETED",
    "timestamp_start": STARTED,
    "timestamp_end": ENDED,
    "tables": [LOAD],
    "error": "",
}
A_ROW = {"id": ROW, "order": "1.00", "Name": "Ada", "_sdc_received_at": STARTED}
FIELDS = [
    {"id": 1, "name": "Name", "type": "text", "primary": True, "order": 0},
    {"id": 2, "name": "_sdc_received_at", "type": "date", "primary": False, "order": 1},
]
SERVERS = [server(CONNECTION), server(BANK, server_type="saltedge_bank"), server(99, name="dw_1",
    is_datawarehouse=True, target=None)]  # fmt: skip
NDJSON = b"\n".join(
    json.dumps(line).encode()
    for line in ({"columns": [["one", "int"]]}, {"records": [[1]]}, {"status": "success"})
)
ACCOUNTS = [
    {"id": ACCOUNT, "name": "One", "external_id": "cust-1"},
    {"id": OTHER_ACCOUNT, "name": "Two", "external_id": "cust-2"},
]

CASES = (
    Case("sub_accounts", lambda api: list(api.accounts()), {"data": ACCOUNTS, "next": None},
        frozenset({"data", "data.id"}), paged=True),
    Case("sub_account", lambda api: api.account("cust-1"), ACCOUNTS[0], frozenset({"id"})),
    Case("identity", lambda api: api._identity(ACCOUNT), {"token": CUSTOMER}, frozenset({"token"})),
    Case("integrate", lambda api: api.integration_token("cust-1"), {"integration_token": "short"},
        frozenset({"integration_token"})),
    Case("servers", of(lambda api: api.connections()), SERVERS, frozenset({"id"}), paged=True),
    Case("server", of(lambda api: api.connection(CONNECTION)), SERVERS[0], frozenset({"id"})),
    Case("syncdb", of(lambda api: api.start_sync(CONNECTION)),
        {"run_data": [{"pipeline_run_id": RUN, "task_id": "t"}], "detail": ""}),
    Case("syncdb_status", of(lambda api: api.sync_status(CONNECTION)), {"running": False,
        "status": "COMPLETED"}, frozenset({"running"})),
    Case("runs", of(lambda api: api.runs(CONNECTION)), {"data": [A_RUN]}, frozenset({"data",
        "data.id"})),
    Case("pipeline_runs", of(lambda api: api.run(CONNECTION, RUN)), {"data": [A_RUN]},
        frozenset({"data", "data.id"})),
    Case("run_logs", of(lambda api: api.run_logs(RUN)), {"logs": "It went well."},
        frozenset({"logs"}), plain=True),
    Case("invite", of(lambda api: api.invite("xero")), {"url": "https://example.com/i"},
        frozenset({"url"})),
    Case("reauthorise", of(lambda api: api.reauthorise(CONNECTION)),
        {"auth_uri": "https://example.com/a"}, frozenset({"auth_uri"})),
    Case("saltedge_refresh", of(lambda api: api.saltedge_refresh(BANK)),
        {"url": "https://example.com/b"}, frozenset({"url"})),
    Case("applications", of(lambda api: api.databases()), [{"id": DATABASE, "name": "dw",
        "type": "database"}], frozenset({"id"})),
    Case("default_dw_info", of(lambda api: api.warehouse()), {"server_id": 99,
        "server_name": "dw_1"}, frozenset({"server_name"})),
    Case("proxy_db",
        of(lambda api: list(api.query("select 1", read_timeout=api._transport._timeout[1]))),
        NDJSON),
    Case("tables", of(lambda api: api.tables(DATABASE)), [{"id": TABLE, "name": "exact_invoices",
        "database_id": DATABASE, "order": 1}], frozenset({"id"})),
    Case("table", of(lambda api: api.table(TABLE)), {"id": TABLE, "name": "exact_invoices",
        "database_id": DATABASE}, frozenset({"id"})),
    Case("fields", of(lambda api: api.columns(TABLE)), FIELDS, frozenset({"name"})),
    Case("rows", of(lambda api: api.rows(TABLE)), {"count": 1, "next": None, "results": [A_ROW]},
        frozenset({"count", "results"})),
    Case("row", of(lambda api: api.row(TABLE, ROW)), A_ROW),
)  # fmt: skip
BY_NAME = {case.name: case for case in CASES}
GOOD = {case.name: case.good for case in CASES}


# Routes whose result is also available from other routes.
SECOND_WAYS = {
    "sub_account": ("sub_accounts",),
    "server": ("servers",),
    "syncdb_status": ("runs",),
    "pipeline_runs": ("runs",),
    "default_dw_info": ("servers",),
    "table": ("applications", "tables"),
}


@dataclass(frozen=True)
class Fault:
    """A fault of the API.

    ``error``: what the client raises; None: nothing. ``again``: a safe read is retried once.
    ``unknown``: a request may have started its work. ``impatient``: the wait is the fault.
    ``unrenewed``: the error where a refused token is not renewed. ``only``: the affected routes.
    """

    name: str
    play: Play
    error: type[PeliqanError] | None
    again: bool = False
    unknown: bool = False
    impatient: bool = False
    unrenewed: type[PeliqanError] | None = None
    only: str = ""

    def leaves_another_way(self, route: str) -> bool:
        """Return whether other routes provide the same data."""
        return route in SECOND_WAYS and self.error in (
            peliqan.Refused,
            peliqan.Forbidden,
            peliqan.NotFound,
        )


def says(body: Any = b"", status: int = 200, **headers: str) -> Play:
    """Return a fault that always sends this response."""
    content = http(
        body if isinstance(body, bytes) else json.dumps(body).encode(), status, **headers
    )
    return lambda request: request.send(content)


def refuses(status: int, **headers: str) -> Play:
    """Return a fault in Baserow's words."""
    return says({"error": "ERROR_X", "detail": f"In their words: {status}."}, status, **headers)


def drips(beginning: bytes) -> Play:
    """Send a byte at a time, each within the read timeout, until the client leaves."""

    def play(request: FaultyRequest) -> None:
        request.send(beginning)
        while not request.wait(0.06):
            request.send(b"x")

    return play


def half_then_nothing(request: FaultyRequest) -> None:
    request.send(http(request.good[: len(request.good) // 2], length=len(request.good)))
    request.wait()


def resets(request: FaultyRequest) -> None:
    """Reset the connection in the middle of the body."""
    request.send(http(b'{"data": [', length=1000))
    request.wait(0.03)
    request.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def refuses_once(request: FaultyRequest) -> None:
    request.send(
        http(b'{"detail": "Old token."}', 401) if request.number == 1 else http(request.good)
    )


def as_json(request: FaultyRequest) -> Any:
    """Parse the good response; None for lines of JSON, which have no items or pages."""
    if request.good != NDJSON:
        return json.loads(request.good)
    request.send(http(request.good))
    return None


def twice_the_same(request: FaultyRequest) -> None:
    """Return a response in which each list has its first item twice."""
    if (body := as_json(request)) is None:
        return
    key = next(
        (
            key
            for key in ("data", "results")
            if isinstance(body, dict) and isinstance(body.get(key), list)
        ),
        None,
    )
    if key is not None:
        body[key] = [body[key][0], *body[key]]
    elif isinstance(body, list):
        body = [body[0], *body]
    request.send(http(json.dumps(body).encode()))


def never_ends(request: FaultyRequest) -> None:
    if (body := as_json(request)) is None:
        return
    items = body if isinstance(body, list) else body.get("data", body.get("results"))
    request.send(http(json.dumps({"data": items, "next": "more"}).encode()))


BOMB = gzip.compress(b" " * (40 << 20))
ELSEWHERE = f"http://user:{CUSTOMER}@elsewhere.example.com/steal?token={CUSTOMER}"
HTML = b"<!doctype html><title>Secret inner page</title>"

FAULTS = (
    Fault("says nothing", lambda request: request.wait() and None, peliqan.TimedOut, again=True,
        unknown=True, impatient=True),
    Fault("falls silent after half a body", half_then_nothing, peliqan.TimedOut, unknown=True,
        impatient=True),
    Fault("drips its first line", drips(b"HTTP/1.1 200 "), peliqan.TimedOut, again=True,
        unknown=True, impatient=True),
    Fault("drips its headers", drips(b"HTTP/1.1 200 OK\r\nX-Slow: "), peliqan.TimedOut, again=True,
        unknown=True, impatient=True),
    Fault("drips its body", drips(http(length=100_000)), peliqan.TimedOut, unknown=True,
        impatient=True),
    Fault("drips the length of a chunk",
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;"), peliqan.TimedOut,
        unknown=True, impatient=True),
    Fault("hangs up", lambda request: None, peliqan.Unreachable, again=True, unknown=True),
    Fault("resets the connection", resets, peliqan.Unreachable, unknown=True),
    Fault("is cut off", says(b'{"data": ['), peliqan.BrokenAnswer, unknown=True),
    Fault("ends before its length", lambda request: request.send(http(b"[", length=1000)),
        peliqan.BrokenAnswer, unknown=True),
    Fault("points nowhere", says(b"", 302, Location="http://[bad"), peliqan.BrokenAnswer,
        unknown=True),
    Fault("points elsewhere", says(b"", 301, Location=ELSEWHERE), peliqan.BrokenAnswer,
        unknown=True),
    Fault("400", refuses(400), peliqan.Refused),
    Fault("400, already running", says({"error": "ERROR_PIPELINE_ALREADY_RUNNING"}, 400),
        peliqan.Busy),
    Fault("401 once", refuses_once, None, unrenewed=peliqan.NotAuthorised),
    Fault("401 for ever", refuses(401), peliqan.NotAuthorised),
    Fault("403", refuses(403), peliqan.Forbidden),
    Fault("404", refuses(404), peliqan.NotFound),
    Fault("405", refuses(405), peliqan.Refused),
    Fault("409", refuses(409), peliqan.Busy),
    Fault("429", refuses(429), peliqan.RateLimited, again=True),
    Fault("429, for a moment", refuses(429, Retry_After="0"), peliqan.RateLimited, again=True),
    Fault("429, for an hour", refuses(429, Retry_After="3600"), peliqan.RateLimited),
    Fault("500", refuses(500), peliqan.ServerError, unknown=True),
    Fault("500, and drips why", drips(http(status=500, length=100_000)), peliqan.ServerError,
        unknown=True, impatient=True),
    Fault("502", says(HTML, 502), peliqan.ServerError, again=True, unknown=True),
    Fault("503", refuses(503), peliqan.ServerError, again=True, unknown=True),
    Fault("503, for an hour", refuses(503, Retry_After="3600"), peliqan.ServerError, unknown=True),
    Fault("504", says(HTML, 504), peliqan.ServerError, again=True, unknown=True),
    Fault("a web page", says(HTML), peliqan.BrokenAnswer, unknown=True),
    Fault("nothing at all", says(b""), peliqan.BrokenAnswer, unknown=True),
    Fault("a word", says("words"), peliqan.BrokenAnswer, unknown=True),
    Fault("a number too long", says(b"[" + b"9" * 5000 + b"]"), peliqan.BrokenAnswer, unknown=True),
    Fault("nested too deeply", says(b"[" * 100_000), peliqan.BrokenAnswer, unknown=True),
    Fault("no UTF-8", says(b'{"name": "\xff\xfe"}'), peliqan.BrokenAnswer, unknown=True),
    Fault("fifty megabytes", says(b'"' + b"x" * (50 << 20) + b'"'), peliqan.BrokenAnswer,
        unknown=True),
    Fault("a bomb", says(BOMB, Content_Encoding="gzip"), peliqan.BrokenAnswer, unknown=True),
    Fault("no gzip", says(b"x" * 99, Content_Encoding="gzip"), peliqan.BrokenAnswer, unknown=True),
    Fault("an id twice", twice_the_same, None, only="lists"),
    Fault("pages without end", never_ends, peliqan.BrokenAnswer, only="paged"),
)  # fmt: skip


@contextmanager
def nobody() -> Iterator[str]:
    """Return an address without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def no_such_name() -> Iterator[str]:
    """Return an invalid host name."""
    yield "http://nowhere.example.com"


@contextmanager
def full_house() -> Iterator[str]:
    """Return a listener that accepts no connection and whose queue is full."""
    with socket.socket() as listener, ExitStack() as held:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


# Without a connection no request was sent: certainly nothing was started.
UNREACHED = (
    ("nobody listens", nobody, peliqan.Unreachable),
    ("no such name", no_such_name, peliqan.Unreachable),
    ("nobody takes the connection", full_house, peliqan.TimedOut),
)
