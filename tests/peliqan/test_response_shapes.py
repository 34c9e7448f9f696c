"""Lists, rows and logs in every known shape."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dashboard import peliqan
from tests.support.fault_server import Answer, FaultServer, html

ACCOUNTS = "/api/partner/sub-accounts/"
SERVERS = "/api/servers/"
SYNC = "/api/servers/7/syncdb/"
INTEGRATE = "/api/partner/sub-account/integrate/"


# Lists


def test_thirty_pages_of_accounts_are_read_to_their_end(server: FaultServer) -> None:
    pages = [
        {"data": [{"id": 10 * page + n} for n in range(10)], "next": page < 29 or None}
        for page in range(30)
    ]
    server.say(ACCOUNTS, *(Answer(page) for page in pages))
    assert [account.id for account in server.client().accounts(per_page=10)] == list(range(300))
    assert [each.query["page"] for each in server.requests] == [
        [str(page)] for page in range(1, 31)
    ]


def test_a_bare_list_is_all_there_is_however_long(server: FaultServer) -> None:
    server.say(ACCOUNTS, Answer([{"id": n, "unheard_of": {}} for n in range(250)]))
    assert len(list(server.client().accounts(per_page=10))) == 250
    assert server.count(ACCOUNTS) == 1


@pytest.mark.parametrize("key", ["data", "results"])
def test_pages_that_repeat_themselves_end_in_an_error_and_not_never(
    server: FaultServer, key: str
) -> None:
    server.say(ACCOUNTS, Answer({key: [{"id": 1}], "next": True}))
    with pytest.raises(peliqan.BrokenAnswer, match="repeat"):
        list(server.client().accounts())
    assert server.count(ACCOUNTS) == 2


def test_connections_come_in_any_of_three_shapes_and_over_pages(server: FaultServer) -> None:
    account = server.client().for_account(1)
    for body in ([{"id": 1}], {"data": [{"id": 1}]}, {"results": [{"id": 1}], "next": None}):
        server.say(SERVERS, Answer(body))
        assert [each.id for each in account.connections()] == [1]
    server.say(
        SERVERS,
        Answer({"data": [{"id": 1}], "next": "yes"}),
        Answer({"data": [{"id": 2}], "next": None}),
    )
    assert [each.id for each in account.connections()] == [1, 2]


def test_of_two_with_one_id_the_last_counts(server: FaultServer) -> None:
    twice = Answer([{"id": 1, "name": "old"}, {"id": 1, "name": "new"}])
    account = server.client().for_account(1)
    for path, call in (
        (SERVERS, account.connections),
        ("/api/applications/", account.databases),
        ("/api/database/tables/database/3/", lambda: account.tables(3)),
    ):
        server.say(path, twice)
        assert [each.name for each in call()] == ["new"]  # type: ignore[attr-defined]
    server.say(ACCOUNTS, twice)
    assert [each.name for each in server.client().accounts()] == ["new"]


def test_columns_without_ids_are_all_kept(server: FaultServer) -> None:
    server.say("/api/database/fields/table/3/", Answer([{"name": "a"}, {"name": "b"}]))
    assert [each.name for each in server.client().for_account(1).columns(3)] == ["a", "b"]


def test_a_broken_item_is_named_by_its_field_and_never_by_its_value(server: FaultServer) -> None:
    server.say("/api/servers/7/runs/", Answer({"data": [{"id": "hush-hush"}]}))
    with pytest.raises(
        peliqan.BrokenAnswer, match=r"0\.id: Input should be a valid integer"
    ) as caught:
        server.client().for_account(1).runs(7)
    assert "hush" not in repr(vars(caught.value))


def test_a_status_never_heard_of_is_shown_and_fails_nothing(server: FaultServer) -> None:
    server.say("/api/servers/7/", Answer({"id": 7, "health_status": "ON_HOLIDAY", "status": "x"}))
    seen = server.client().for_account(1).connection(7)
    assert (seen.status, seen.severity) == ("ON_HOLIDAY", "unknown")


@pytest.mark.parametrize("body", [{"logs": "a\nb"}, {"logs": ["a", "b"]}, "a\nb"])
def test_a_log_comes_in_any_of_its_shapes(server: FaultServer, body: Any) -> None:
    server.say("/api/pipeline_runs/9/logs/", Answer(body))
    assert server.client().for_account(1).run_logs(9) == "a\nb"


# Rows


ROWS = "/api/database/rows/table/3/"


def test_a_page_past_the_end_is_empty_with_the_true_count_from_new_servers_and_old(
    server: FaultServer,
) -> None:
    account = server.client().for_account(1)
    server.say(ROWS, Answer({"count": 42, "results": [], "next": None}))
    last = peliqan.RowQuery(page=99)
    assert (account.rows(3, last).count, account.rows(3, last).rows) == (42, ())
    server.say(
        ROWS,
        Answer({"error": "ERROR_INVALID_PAGE"}, 400),
        Answer({"count": 42, "results": [{"id": 1}], "next": "x"}),
    )
    before = server.count(ROWS)
    seen = account.rows(3, peliqan.RowQuery(page=99, search="x"))
    assert (seen.count, seen.rows, server.count(ROWS) - before) == (42, (), 2)
    assert (server.requests[-1].query["page"], server.requests[-1].query["size"]) == (["1"], ["1"])
    assert server.requests[-1].query["search"] == ["x"]


def test_a_first_page_that_is_no_page_is_refused_and_not_asked_for_again(
    server: FaultServer,
) -> None:
    server.say(ROWS, Answer({"error": "ERROR_INVALID_PAGE"}, 400))
    with pytest.raises(peliqan.Refused):
        server.client().for_account(1).rows(3)
    assert server.count(ROWS) == 1


def test_what_is_asked_about_rows_goes_into_the_query_and_names_with_commas_are_quoted(
    server: FaultServer,
) -> None:
    server.say(ROWS, Answer({"count": 0, "results": []}))
    account = server.client().for_account(1)
    query = peliqan.RowQuery(
        page=2,
        size=50,
        order_by="-Last, first",
        filters={"filter__A&B__equal": "x=y"},
        include=["Name", "Last, first"],
    )
    account.rows(3, query)
    assert server.requests[-1].query == {
        "user_field_names": ["True"],
        "page": ["2"],
        "size": ["50"],
        # Recorded: outside the quotes the sign is part of an unknown name.
        "order_by": ['"-Last, first"'],
        "filter__A&B__equal": ["x=y"],
        "include": ['Name,"Last, first"'],
    }


def test_numbers_that_json_does_not_have_are_nothing(server: FaultServer) -> None:
    server.say(ROWS, Answer(b'{"count": 1, "results": [{"id": 1, "a": NaN, "b": -Infinity}]}'))
    assert server.client().for_account(1).rows(3).rows == ({"id": 1, "a": None, "b": None},)


def test_what_a_server_says_is_cut_short_and_flattened(server: FaultServer) -> None:
    error = {
        "error": "E",
        "detail": {
            "size": [{"error": "Too large.", "code": "max"}],
            "page": [{"error": "x" * 2000, "code": "c"}],
        },
    }
    server.say(ACCOUNTS, Answer(error, 400))
    with pytest.raises(peliqan.Refused) as caught:
        server.client().account_page()
    assert caught.value.detail is not None
    assert caught.value.detail.startswith("size: Too large.; page: xxx")
    assert len(caught.value.detail) == 500
    server.say(ACCOUNTS, Answer({"password": ["This field is required."]}, 400))
    with pytest.raises(peliqan.Refused, match=r"password: This field is required\."):
        server.client().account_page()
    server.say(ACCOUNTS, html(400))
    with pytest.raises(peliqan.Refused) as caught:
        server.client().account_page()
    assert caught.value.detail is None


def test_one_client_serves_many_threads(server: FaultServer) -> None:
    server.say(SERVERS, Answer([{"id": 1}]))
    api = server.client(read_timeout=10.0, concurrency=8)
    with ThreadPoolExecutor(16) as pool:
        seen = list(
            pool.map(lambda account: len(api.for_account(account).connections()), range(40))
        )
    assert seen == [1] * 40
    assert server.count(SERVERS) == 40
