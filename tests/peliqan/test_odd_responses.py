"""Odd answers, of the sandbox and a scripted socket; ``tests/api_faults`` has all faults."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dashboard import peliqan
from dashboard.peliqan.models import AccountPage, Connection, Run, SyncStarted, SyncStatus
from dashboard.peliqan.responses import parse
from dashboard.peliqan.retries import retry_wait
from dashboard.peliqan.routes import ROUTES
from tests.support.processes import TOKEN
from tests.support.sandbox import Sandbox


def client(url: str, **more: Any) -> peliqan.Peliqan:
    options = peliqan.ClientOptions(**{"read_timeout": 1.0, "backoff": 0.0, **more})
    return peliqan.Peliqan(url, TOKEN, tokens=peliqan.MemoryTokens(), options=options)


@contextmanager
def scripted(reply: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """Serve each connection with ``reply``; give the address and the received requests."""
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


def test_no_redirect_is_followed(sandbox: Sandbox) -> None:
    with scripted(lambda connection: None) as (other, seen):
        response = (
            f"HTTP/1.1 301 Moved\r\nLocation: {other}/steal\r\nContent-Length: 0\r\n\r\n".encode()
        )
        with (
            scripted(lambda connection: connection.sendall(response)) as (url, _),
            pytest.raises(peliqan.BrokenAnswer),
        ):
            client(url).account_page()
        assert seen == []


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory() -> None:
    import gzip

    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    )
    with scripted(lambda connection: connection.sendall(head + bomb)) as (url, _):
        with pytest.raises(peliqan.BrokenAnswer, match="16 MB"):
            client(url, retries=0, read_timeout=10).account_page()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5), ("soon", None), ("", None), ("Thu, 01 Jan 1970 00:00:10 GMT", 10), ("-3", None)],
)
def test_retry_after_is_read_in_both_its_shapes(header: str, seconds: float | None) -> None:
    assert retry_wait(header, now=0) == seconds


def test_somebody_elses_table_is_forbidden_though_the_server_says_400(sandbox: Sandbox) -> None:
    with pytest.raises(peliqan.Forbidden):
        client(sandbox.url).for_account(1002).columns(10011900)


def test_every_account_of_many_pages_is_listed_once(sandbox: Sandbox) -> None:
    ids = [account.id for account in client(sandbox.url).accounts(per_page=2)]
    assert ids == sorted(set(ids))
    assert len(ids) == 60


def test_a_path_can_be_replaced_and_a_wrong_replacement_is_said_by_its_setting() -> None:
    assert (
        peliqan.Routes({"reauthorise": "/v2/{server_id}/auth"})["reauthorise"].path
        == "/v2/{server_id}/auth"
    )
    for wrong in (
        {"reauthorise": "/v2/auth"},
        {"nonsense": "/x"},
        {"servers": "api/servers/"},
        {"servers": "/{oops"},
    ):
        with pytest.raises(ValueError, match="PELIQAN_PATH_"):
            peliqan.Routes(wrong)


def test_every_route_names_its_source() -> None:
    assert all(
        route.source
        and set(route.source.replace(", path A", "").replace(", shape A", "").split())
        <= set("DSHBA")
        for route in ROUTES
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "data", "tables", "run_data", "running", "name"]) | st.text(),
            inner,
        )
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
    extra=st.dictionaries(
        st.text(min_size=1).filter(lambda key: key not in Connection.model_fields), JSON, max_size=4
    ),
    status=st.text(),
)
def test_known_fields_survive_unknown_ones_and_any_status_is_kept(
    extra: dict[str, Any], status: str
) -> None:
    fields = {"id": 7, "name": "n", "server_type": "exact", "health_status": status}
    try:
        seen = Connection.model_validate({**extra, **fields})
    except ValidationError:
        assert set(extra) & {
            "target",
            "run_interval",
            "is_target",
            "is_datawarehouse",
            "disable_scheduler",
            "auth_type",
        }
        return
    assert (seen.id, seen.status, seen.connector) == (7, status, "exact")
