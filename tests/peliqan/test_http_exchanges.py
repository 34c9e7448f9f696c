"""Single HTTP exchanges; ``tests/api_faults`` has every fault at every route."""

import logging
import time
from threading import Event, Thread
from typing import Any

import pytest

from dashboard import peliqan
from dashboard.peliqan.retries import retry_wait
from tests.support.databases import wait_for
from tests.support.fault_server import CUSTOMER, PARTNER, Answer, FaultServer, html

ACCOUNTS = "/api/partner/sub-accounts/"
SERVERS = "/api/servers/"
SYNC = "/api/servers/7/syncdb/"
INTEGRATE = "/api/partner/sub-account/integrate/"


def head(length: int, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def drips(server: FaultServer, status: str = "200 OK") -> Answer:
    """Send one byte at a time, each within the read timeout, until the test ends."""

    def raw(out: Any) -> None:
        out.write(head(100_000, status))
        while not server.stopped.wait(0.02):
            out.write(b" ")

    return Answer(raw=raw)


def hangs_up() -> Answer:
    return Answer(raw=lambda out: None)


def elsewhere(status: int = 302) -> Answer:
    return Answer(
        b"", status, {"Location": f"https://user:{PARTNER}@evil.example.com/steal?token={CUSTOMER}"}
    )


def test_a_token_that_the_server_repeats_is_taken_out_of_its_words(server: FaultServer) -> None:
    server.say(ACCOUNTS, Answer({"error": "BAD", "detail": f"Unknown token {PARTNER}."}, 400))
    with pytest.raises(peliqan.Refused) as caught:
        server.client().account_page()
    assert caught.value.detail == "Unknown token [token]."


@pytest.mark.parametrize("token", ["with\nnewline", "with space", "", "ünïcode"])
def test_a_token_that_no_header_can_carry_is_refused_unsent_and_unquoted(
    server: FaultServer, token: str
) -> None:
    with pytest.raises(peliqan.NotAuthorised) as caught:
        server.client(token).account_page()
    assert server.requests == []
    assert not token or token not in repr(vars(caught.value))


def test_a_good_answer_after_a_bad_one_is_all_the_caller_sees(server: FaultServer) -> None:
    server.say(ACCOUNTS, hangs_up(), html(503), Answer([{"id": 1}]))
    assert [account.id for account in server.client().accounts()] == [1]
    assert server.count(ACCOUNTS) == 3


def test_after_the_retries_the_last_status_counts(server: FaultServer) -> None:
    server.say(ACCOUNTS, html(503), html(502), Answer({"detail": "No."}, 403))
    with pytest.raises(peliqan.Forbidden):
        server.client().account_page()


def test_a_refusal_that_drips_does_not_hold_up_the_next_try(server: FaultServer) -> None:
    server.say(ACCOUNTS, drips(server, "503 Busy"), Answer([]))
    started = time.monotonic()
    server.client(read_timeout=5.0).account_page()
    assert time.monotonic() - started < 4


def test_a_refused_token_is_told_as_such_even_if_the_refusal_is_cut_off(
    server: FaultServer,
) -> None:
    server.say(
        SERVERS,
        Answer(raw=lambda out: out.write(head(99, "401 Unauthorized") + b"{")),
        Answer([{"id": 5}]),
    )
    api = server.client()
    api.tokens.put(1, "an-old-one")
    assert [each.id for each in api.for_account(1).connections()] == [5]


def test_a_redirect_names_the_host_it_points_to_and_nothing_else(server: FaultServer) -> None:
    server.say(ACCOUNTS, elsewhere())
    with pytest.raises(peliqan.BrokenAnswer, match=r"at evil\.example\.com;"):
        server.client().account_page()


# Waiting


@pytest.mark.parametrize("header", ["soon", "-1", "1e3", "²", "Thu, 99 Foo"])
def test_a_nonsensical_retry_after_is_no_reason_to_give_up(
    server: FaultServer, header: str
) -> None:
    server.say(ACCOUNTS, Answer({}, 429, {"Retry-After": header}), Answer([]))
    assert server.client().account_page().accounts == ()


def test_a_wait_before_a_retry_is_kept_and_does_not_count_as_slowness(server: FaultServer) -> None:
    server.say(ACCOUNTS, Answer({}, 429, {"Retry-After": "1"}), Answer([]))
    started = time.monotonic()
    assert server.client(read_timeout=0.25).account_page().accounts == ()
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("status", "kind"), [(429, peliqan.RateLimited), (503, peliqan.ServerError)]
)
def test_a_long_wait_is_told_and_not_waited_for(
    server: FaultServer, status: int, kind: type[peliqan.PeliqanError]
) -> None:
    server.say(ACCOUNTS, Answer({}, status, {"Retry-After": "3600"}))
    with pytest.raises(kind) as caught:
        server.client().account_page()
    assert (caught.value.retry_after, caught.value.status) == (3600, status)
    assert server.count(ACCOUNTS) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("00000000000000000005", None),
        ("999999999", 999999999),
        ("7 ", 7),
        ("Thu, 01 Jan 1970 00:00:09 GMT", 9),
        (None, None),
    ],
)
def test_retry_after_is_read_or_ignored(header: str | None, seconds: float | None) -> None:
    assert retry_wait(header, now=0) == seconds


# Connections, cookies, redirects


def test_side_effects_each_get_a_connection_of_their_own_and_reads_share_theirs(
    server: FaultServer,
) -> None:
    server.say(
        INTEGRATE, Answer({"token": "t"}, headers={"Connection": "keep-alive"})
    )  # As if the request had no "Connection: close".
    server.say(ACCOUNTS, Answer([]))
    api = server.client(read_timeout=5.0)
    for _ in range(3):
        api.integration_token("cust-1")
        api.account_page()
    ports = [
        [each.port for each in server.requests if each.path == path]
        for path in (INTEGRATE, ACCOUNTS)
    ]
    assert (len(set(ports[0])), len(set(ports[1]))) == (3, 1)
    assert not set(ports[0]) & set(ports[1])


def test_a_cookie_of_one_customer_never_goes_along_with_another(server: FaultServer) -> None:
    server.say(SERVERS, Answer([], headers={"Set-Cookie": "sessionid=of-customer-1; Path=/"}))
    api = server.client()
    api.for_account(1).connections()
    api.for_account(2).connections()
    assert not any("Cookie" in each.headers for each in server.requests)


def test_each_request_says_who_asks_and_with_which_token(server: FaultServer) -> None:
    server.say(SERVERS, Answer([]))
    server.client().for_account(1).connections()
    identity, servers = server.requests
    assert (identity.headers["Authorization"], servers.headers["Authorization"]) == (
        f"JWT {PARTNER}",
        f"JWT {CUSTOMER}",
    )
    assert identity.query == {"account_id": ["1"]}
    for each in server.requests:
        assert each.headers["User-Agent"].startswith("partner-console/")
        assert each.headers["Accept"] == "application/json"


def test_a_netrc_file_does_not_replace_the_token(
    server: FaultServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.say(ACCOUNTS, Answer([]))
    server.client().account_page()
    assert server.requests[0].headers["Authorization"] == f"JWT {PARTNER}"


def test_nothing_secret_is_logged_even_by_the_libraries(
    server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("", "urllib3", "requests"):
        caplog.set_level(logging.DEBUG, name)
    server.say(SERVERS, html(503))
    with pytest.raises(peliqan.ServerError):
        server.client(retries=1).for_account(1).connections()
    assert caplog.text
    assert CUSTOMER not in caplog.text
    assert PARTNER not in caplog.text


# Tokens


@pytest.mark.parametrize("path", [SERVERS, SYNC])
def test_a_token_refused_once_is_renewed_and_the_call_repeated_once(
    server: FaultServer, path: str
) -> None:
    good = Answer([]) if path == SERVERS else Answer({"run_data": [], "task_id": "t"})
    server.say(path, good, Answer({"error": "ERROR_INVALID_ACCESS_TOKEN"}, 401), good)
    account = server.client().for_account(1)
    for _ in range(2):
        account.connections() if path == SERVERS else account.start_sync(7)
    assert server.count(path) == 3
    assert server.count("/api/partner/sub-account/identity/") == 2


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_token_refused_for_ever_is_asked_for_once_more_and_no_more(
    server: FaultServer, is_cached: bool
) -> None:
    server.say(SYNC, Answer({"detail": "No."}, 401))
    api = server.client()
    if is_cached:
        api.tokens.put(1, "an-old-one")
    with pytest.raises(peliqan.NotAuthorised):
        api.for_account(1).start_sync(7)
    assert server.count(SYNC) == (2 if is_cached else 1)
    assert server.count("/api/partner/sub-account/identity/") == 1


def test_an_identity_that_is_no_token_is_broken_and_not_kept(server: FaultServer) -> None:
    server.say("/api/partner/sub-account/identity/", Answer({"token": "two\nlines"}))
    api = server.client()
    with pytest.raises(peliqan.BrokenAnswer) as caught:
        api.for_account(1).connections()
    assert "two" not in repr(vars(caught.value))
    assert api.tokens.get(1) is None


def test_only_the_token_that_was_refused_is_dropped() -> None:
    tokens = peliqan.MemoryTokens()
    tokens.put(1, "new")
    tokens.drop(1, "old")
    assert tokens.get(1) == "new"
    tokens.drop(1, "new")
    assert tokens.get(1) is None


def test_the_widgets_short_lived_token_goes_before_any_other_in_the_answer(
    server: FaultServer,
) -> None:
    server.say(INTEGRATE, Answer({"token": "long-lived", "integration_token": "short-lived"}))
    token = server.client().integration_token("cust-1")
    assert token.token == "short-lived"
    assert "short-lived" not in repr(token)


@pytest.mark.parametrize("begins", [False, True], ids=["before it begins", "while it comes"])
def test_a_question_in_sql_is_hung_up_on_from_another_thread(
    server: FaultServer, begins: bool
) -> None:
    disconnected = Event()

    def raw(out: Any) -> None:
        if begins:
            out.write(head(100_000) + b'{"columns": ["id"]}\n')
            out.flush()
        # The client has closed the connection: the next write or the one after it fails.
        try:
            while not server.stopped.wait(0.02):
                if cancel.was_called:
                    out.write(b" ")
                    out.flush()
        except OSError:
            disconnected.set()
            raise

    cancel = peliqan.CancelHandle()
    server.say("/api/applications/default_dw_info/", Answer({"server_id": 1, "server_name": "dw"}))
    server.say("/api/proxy/db/", Answer(raw=raw))
    ended: list[str] = []

    def run_query() -> None:
        try:
            for _ in server.client().for_account(1).query("select 1", cancel=cancel):
                ended.append("a part")
        except peliqan.PeliqanError as error:
            ended.append(error.code)

    thread = Thread(target=run_query)
    thread.start()
    wait_for(
        lambda: server.count("/api/proxy/db/") == 1 and (ended or not begins), "it is under way"
    )
    cancel()
    thread.join(5)
    assert not thread.is_alive()
    assert ended[-1] != "a part"
    assert disconnected.wait(5)
