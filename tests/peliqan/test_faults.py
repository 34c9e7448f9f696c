"""What the service makes of everything that can go wrong, against the sandbox and against scripted sockets."""

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dashboard import peliqan
from dashboard.peliqan.http import parse
from dashboard.peliqan.models import AccountPage, Connection, Run, SyncStarted, SyncStatus
from dashboard.peliqan.retries import retry_wait
from dashboard.peliqan.routes import ROUTES
from tests.conftest import TOKEN, Sandbox


def client(url: str, **more: Any) -> peliqan.Peliqan:
    return peliqan.Peliqan(url, TOKEN, tokens=peliqan.MemoryTokens(), **{"read_timeout": 1.0, "backoff": 0.0, **more})


@contextmanager
def scripted(reply: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that lets ``reply`` misbehave on each connection; gives its address and the requests it saw."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                seen.append(connection.recv(65536))
                with suppress(OSError):
                    reply(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


STATUSES = [
    (400, peliqan.Refused, False),
    (403, peliqan.Forbidden, False),
    (404, peliqan.NotFound, False),
    (409, peliqan.Busy, False),
    (422, peliqan.Refused, False),
    (429, peliqan.RateLimited, True),
    (500, peliqan.ServerError, False),
    (502, peliqan.ServerError, True),
    (503, peliqan.ServerError, True),
    (504, peliqan.ServerError, True),
]


@pytest.mark.parametrize(("status", "kind", "retried"), STATUSES)
def test_a_status_is_its_error_and_a_safe_read_is_retried_where_that_may_help(
    sandbox: Sandbox, status: int, kind: type[peliqan.PeliqanError], retried: bool
) -> None:
    sandbox.fault("sub_accounts", status=status, body={"error": "ERROR_X", "detail": "In their words."})
    with pytest.raises(kind) as caught:
        client(sandbox.url).account_page()
    assert (caught.value.status, caught.value.route, caught.value.error) == (status, "sub_accounts", "ERROR_X")
    assert "In their words." in caught.value.explained
    assert sandbox.state()["calls"]["sub_accounts"] == (4 if retried else 1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_starting_a_sync_is_sent_once_whatever_the_answer(sandbox: Sandbox, status: int) -> None:
    api = client(sandbox.url).for_account(1001)
    api.connections()
    sandbox.fault("syncdb", status=status)
    with pytest.raises(peliqan.PeliqanError) as caught:
        api.start_sync(100102)
    assert sandbox.state()["calls"]["syncdb"] == 1
    assert caught.value.outcome_unknown is (status >= 500)


@pytest.mark.parametrize("kind", ["truncated", "html", "wrong_type", "redirect", "oversized", "empty"])
@pytest.mark.parametrize("call", ["reads", "starts"])
def test_an_answer_that_cannot_be_read_is_broken_and_no_traceback(sandbox: Sandbox, kind: str, call: str) -> None:
    connection = sandbox.healthy
    api = client(sandbox.url, read_timeout=5.0).for_account(connection.account_id)
    api.connections()
    sandbox.fault("runs" if call == "reads" else "syncdb", kind=kind)
    if (kind, call) == ("wrong_type", "starts"):
        assert api.start_sync(connection.id).first_run_id is None
        return
    with pytest.raises(peliqan.BrokenAnswer) as caught:
        api.runs(connection.id) if call == "reads" else api.start_sync(connection.id)
    assert caught.value.outcome_unknown is (call == "starts")
    if kind == "redirect":
        assert "127.0.0.2" in caught.value.explained


def test_no_redirect_is_followed(sandbox: Sandbox) -> None:
    with scripted(lambda connection: None) as (other, seen):
        answer = f"HTTP/1.1 301 Moved\r\nLocation: {other}/steal\r\nContent-Length: 0\r\n\r\n".encode()
        with scripted(lambda connection: connection.sendall(answer)) as (url, _), pytest.raises(peliqan.BrokenAnswer):
            client(url).account_page()
        assert seen == []


def test_nobody_listening_is_unreachable_and_certainly_not_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(peliqan.Unreachable) as caught:
        client(f"http://127.0.0.1:{port}").integration_token("cust-1")
    assert caught.value.outcome_unknown is False


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    with pytest.raises(peliqan.Unreachable):
        client("http://nowhere.example.com", retries=0).account_page()


def test_a_connection_that_breaks_leaves_a_side_effect_unknown() -> None:
    with scripted(lambda connection: None) as (url, seen):
        with pytest.raises(peliqan.Unreachable) as caught:
            client(url).integration_token("cust-1")
        assert caught.value.outcome_unknown is True
        assert len(seen) == 1


def test_an_answer_that_never_comes_times_out_and_a_side_effect_is_unknown() -> None:
    stop = threading.Event()
    with scripted(lambda connection: stop.wait(3) and None) as (url, seen):
        with pytest.raises(peliqan.TimedOut) as caught:
            client(url, read_timeout=0.2).integration_token("cust-1")
        stop.set()
        assert caught.value.outcome_unknown is True
        assert len(seen) == 1


def test_a_body_that_drips_for_ever_is_ended() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.05):
            connection.sendall(b" " * 65536)

    with scripted(drip) as (url, _):
        with pytest.raises(peliqan.PeliqanError):
            client(url, read_timeout=0.2, retries=0).account_page()
        stop.set()


def test_a_body_cut_off_in_the_middle_is_broken() -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"data": ['
    with scripted(lambda connection: connection.sendall(answer)) as (url, _):
        with pytest.raises((peliqan.BrokenAnswer, peliqan.Unreachable)):
            client(url, retries=0).account_page()


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory() -> None:
    import gzip

    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    with scripted(lambda connection: connection.sendall(head + bomb)) as (url, _):
        with pytest.raises(peliqan.BrokenAnswer, match="16 MB"):
            client(url, retries=0, read_timeout=10).account_page()


@pytest.mark.parametrize(
    "body", [b"\xff\xfe{}", b'{"data": 1e999999', b"[" * 100_000, b'{"data": [{"id": ' + b"9" * 5000 + b"}]}"]
)
def test_bytes_that_are_no_json_are_broken(body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with scripted(lambda connection: connection.sendall(head + body)) as (url, _), pytest.raises(peliqan.BrokenAnswer):
        client(url, retries=0).account_page()


def test_a_short_retry_after_is_honoured_and_a_long_one_is_told(sandbox: Sandbox) -> None:
    sandbox.fault("sub_accounts", status=429, headers={"Retry-After": "0"}, times=2)
    assert client(sandbox.url).account_page().accounts
    sandbox.fault("sub_accounts", status=429, headers={"Retry-After": "1800"})
    before = sandbox.state()["calls"]["sub_accounts"]
    with pytest.raises(peliqan.RateLimited) as caught:
        client(sandbox.url).account_page()
    assert caught.value.retry_after == 1800
    assert sandbox.state()["calls"]["sub_accounts"] == before + 1


@pytest.mark.parametrize(
    ("header", "seconds"), [("5", 5), ("soon", None), ("", None), ("Thu, 01 Jan 1970 00:00:10 GMT", 10), ("-3", None)]
)
def test_retry_after_is_read_in_both_its_shapes(header: str, seconds: float | None) -> None:
    assert retry_wait(header, now=0) == seconds


def test_a_refused_token_is_renewed_once_and_then_believed(sandbox: Sandbox) -> None:
    api = client(sandbox.url).for_account(1001)
    api.connections()
    sandbox.fault("servers", status=401, times=1)
    assert api.connections()
    sandbox.fault("servers", status=401)
    issued = sandbox.state()["tokens"]
    with pytest.raises(peliqan.NotAuthorised):
        api.connections()
    assert sandbox.state()["tokens"] == issued + 1


def test_somebody_elses_table_is_forbidden_though_the_server_says_400(sandbox: Sandbox) -> None:
    with pytest.raises(peliqan.Forbidden):
        client(sandbox.url).for_account(1002).columns(10011900)


def test_pages_without_end_are_broken(sandbox: Sandbox) -> None:
    sandbox.fault("sub_accounts", status=200, body={"data": [{"id": 1}], "next": "more"})
    with pytest.raises(peliqan.BrokenAnswer, match="repeat"):
        list(client(sandbox.url).accounts())


def test_every_account_of_many_pages_is_listed_once(sandbox: Sandbox) -> None:
    ids = [account.id for account in client(sandbox.url).accounts(per_page=2)]
    assert ids == sorted(set(ids))
    assert len(ids) == 60


def test_no_error_carries_a_token(sandbox: Sandbox) -> None:
    api = client(sandbox.url, retries=0)
    secret = api._identity(1001)
    account = api.for_account(1001)
    for fault in ({"status": 401}, {"status": 500}, {"kind": "html"}, {"kind": "redirect"}, {"delay_ms": 1500}):
        sandbox.fault("servers", **fault)
        with pytest.raises(peliqan.PeliqanError) as caught:
            account.connections()
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
        assert secret not in told
        assert TOKEN not in told
        sandbox.clear()


def test_a_path_can_be_replaced_and_a_wrong_replacement_is_said_by_its_setting() -> None:
    assert peliqan.Routes({"reauthorise": "/v2/{server_id}/auth"})["reauthorise"].path == "/v2/{server_id}/auth"
    for wrong in ({"reauthorise": "/v2/auth"}, {"nonsense": "/x"}, {"servers": "api/servers/"}, {"servers": "/{oops"}):
        with pytest.raises(ValueError, match="PELIQAN_PATH_"):
            peliqan.Routes(wrong)


def test_every_route_names_its_source() -> None:
    assert all(
        route.source and set(route.source.replace(", path A", "").replace(", shape A", "").split()) <= set("DSHBA")
        for route in ROUTES
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "data", "tables", "run_data", "running", "name"]) | st.text(), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(data=JSON, model=st.sampled_from([AccountPage, Connection, Run, SyncStarted, SyncStatus]))
def test_any_json_is_an_answer_or_broken_and_never_a_traceback(data: Any, model: Any) -> None:
    with suppress(peliqan.BrokenAnswer):
        assert isinstance(parse(model, data, ROUTES[0]), model)


@settings(max_examples=80, deadline=None)
@given(
    extra=st.dictionaries(st.text(min_size=1).filter(lambda key: key not in Connection.model_fields), JSON, max_size=4),
    status=st.text(),
)
def test_known_fields_survive_unknown_ones_and_any_status_is_kept(extra: dict[str, Any], status: str) -> None:
    known = {"id": 7, "name": "n", "server_type": "exact", "health_status": status}
    try:
        seen = Connection.model_validate({**extra, **known})
    except ValidationError:
        assert set(extra) & {"target", "run_interval", "is_target", "is_datawarehouse", "disable_scheduler", "auth_type"}
        return
    assert (seen.id, seen.status, seen.connector) == (7, status, "exact")
