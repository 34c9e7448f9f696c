"""Tables and rows in the form of a real Baserow server."""

import json
import time
from datetime import datetime
from typing import Any

import pytest

from tests.support.api_caller import Caller
from tests.support.observed import loaded

EVERYTHING, EMPTY, MILLION, WIDE = 10011900, 10011901, 10011902, 10011903


def rows(api: Caller, table: int, query: str = "") -> Any:
    response = api.get(f"database/rows/table/{table}/?user_field_names=True&{query}")
    return response.json if response.status_code == 200 else response


def names(page: Any) -> list[str]:
    return [name for name in page["results"][0] if name not in {"id", "order"}]


def test_columns_come_by_id_unless_names_are_asked_for(api: Caller) -> None:
    fields = api.get(f"database/fields/table/{MILLION}/").json
    plain = api.get(f"database/rows/table/{MILLION}/?size=1").json
    assert names(plain) == [f"field_{each['id']}" for each in fields]
    assert names(rows(api, MILLION, "size=1")) == [each["name"] for each in fields]
    assert [each["primary"] for each in fields] == [True, False, False, False, False]


def test_included_and_excluded_columns_and_names_with_a_comma(api: Caller) -> None:
    assert names(rows(api, EVERYTHING, "include=Title,Nowhere")) == ["Title"]
    assert len(names(rows(api, EVERYTHING, "include=Nowhere"))) == 28
    assert names(rows(api, EVERYTHING, 'include="Name, with comma",amount')) == [
        "amount",
        "Name, with comma",
    ]
    assert (
        names(rows(api, EVERYTHING, 'include=Title,"Quote "" dot . slash / 😀"'))[1]
        == 'Quote " dot . slash / 😀'
    )
    assert "Long" not in names(rows(api, EVERYTHING, "exclude=Long"))


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("order_by=Nope", "ERROR_ORDER_BY_FIELD_NOT_FOUND"),
        ("order_by=id", "ERROR_ORDER_BY_FIELD_NOT_FOUND"),
        ("order_by=title", "ERROR_ORDER_BY_FIELD_NOT_FOUND"),
        ("order_by=Title&include=Amount", "ERROR_ORDER_BY_FIELD_NOT_FOUND"),
        ("order_by=Files", "ERROR_ORDER_BY_FIELD_NOT_POSSIBLE"),
        ("filter__field_999999__equal=1", "ERROR_FILTER_FIELD_NOT_FOUND"),
        ("filter__Title__nope=1", "ERROR_VIEW_FILTER_TYPE_DOES_NOT_EXIST"),
        ("filter__Active__higher_than=1", "ERROR_VIEW_FILTER_TYPE_UNSUPPORTED_FIELD"),
        (
            "filter__Title__date_is=UTC%3F2026-02-02%3Fexact_date",
            "ERROR_VIEW_FILTER_TYPE_UNSUPPORTED_FIELD",
        ),
        ("size=201", "ERROR_PAGE_SIZE_LIMIT"),
    ],
)
def test_a_query_that_cannot_be_is_refused_with_its_code(
    api: Caller, query: str, error: str
) -> None:
    response = rows(api, EVERYTHING, query)
    assert (response.status_code, response.json["error"]) == (400, error)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("filter__Nope__equal=1", 60),
        ("include=Title&filter__Amount__empty=", 60),
        ("filter__Amount__empty=", 15),
        ("filter__Amount__not_empty=", 45),
        ("filter__Amount__equal=0", 15),
        ("filter__Amount__higher_than=1", 15),
        ("filter__Amount__higher_than=many", 0),
        ("filter__Stars__lower_than=1&filter__Active__boolean=true", 10),
        ("filter__Due__date_is=UTC%3F2026-02-02%3Fexact_date", 15),
        ("filter__Due__date_is_after=UTC%3F2026-02-02%3Fexact_date", 15),
        ("filter__Due__date_is_before=UTC%3F2026-02-02%3Fexact_date", 15),
        ("filter__Meeting__date_is=UTC%3F2026-02-02%3Fexact_date", 30),
        ("filter__Meeting__date_is=America/New_York%3F2026-02-01%3Fexact_date", 30),
        ("filter__Due__date_is=2026-02-02", 60),
        ("filter__Due__date_is=UTC%3Fsoon%3Fexact_date", 60),
        ("filter__Due__date_is=", 60),
        ("filter_type=OR&filter__Stars__equal=1&filter__Stars__equal=2", 20),
        ("search=SCRIPT", 6),
        ("search=script&include=Amount", 0),
        ("search=script&include=Active", 60),
        ("search=%25", 0),
    ],
)
def test_filters_and_search_keep_what_baserow_keeps_traps_included(
    api: Caller, query: str, count: int
) -> None:
    assert rows(api, EVERYTHING, query)["count"] == count


def test_nulls_come_first_ascending_and_last_descending(api: Caller) -> None:
    up = [row["Amount"] for row in rows(api, EVERYTHING, "order_by=Amount")["results"]]
    assert up[:15] == [None] * 15
    down = [row["Amount"] for row in rows(api, EVERYTHING, "order_by=-Amount")["results"]]
    assert down[0] == "9007199254740993"
    assert down[-15:] == [None] * 15


def test_links_to_other_pages_keep_the_query_and_name_the_requests_host(api: Caller) -> None:
    page = rows(api, EVERYTHING, 'page=2&size=5&include="Name, with comma"')
    included = "include=%22Name%2C+with+comma%22"
    assert (
        page["next"] == f"http://localhost/api/database/rows/table/{EVERYTHING}/"
        f"?{included}&page=3&size=5&user_field_names=True"
    )
    assert "page=" not in page["previous"]
    beyond = rows(api, EVERYTHING, "page=9999")
    assert (beyond["count"], beyond["results"], beyond["next"]) == (60, [], None)
    assert "page=9998" in beyond["previous"]


@pytest.mark.parametrize("column", ["Nr", "Reference", "Amount", "At", "Booked"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_million_rows_are_sorted_by_any_column_on_any_page_at_once(
    api: Caller, column: str, sign: str
) -> None:
    api.token(1001)
    started_at = time.process_time()
    pages = [
        rows(api, MILLION, f"order_by={sign}{column}&size=100&page={page}")
        for page in (1, 2, 5000, 10000)
    ]
    assert time.process_time() - started_at < 1
    values = [row[column] for page in pages for row in page["results"]]
    values = [float(value) for value in values] if column == "Amount" else values
    assert values == sorted(values, reverse=bool(sign))
    assert len({row["id"] for page in pages for row in page["results"]}) == 400
    assert all(page["count"] == 1_000_000 for page in pages)


def test_each_of_a_million_amounts_is_there_once(api: Caller) -> None:
    ids = {
        rows(api, MILLION, f"order_by=Amount&size=1&page={page}")["results"][0]["id"]
        for page in range(1, 1_000_000, 50_021)
    }
    assert len(ids) == 20
    assert rows(api, MILLION, "order_by=Amount&size=1")["results"][0]["Amount"] == "0.00"
    assert rows(api, MILLION, "order_by=-Amount&size=1")["results"][0]["Amount"] == "9999.99"


def test_the_table_of_everything_holds_what_breaks_clients(api: Caller) -> None:
    page = rows(api, EVERYTHING)
    text = json.dumps(page, ensure_ascii=False)
    for hostile in (
        "<script>alert(1)</script>",
        "=1+1",
        "@SUM(A1)",
        "NaN",
        "1" * 50,
        "\u202e",
        "🏴",
    ):
        assert hostile in text
    assert max(len(row["Long"] or "") for row in page["results"]) > 20_000
    assert {type(row["Payload"]) for row in page["results"]} >= {
        dict,
        list,
        str,
        float,
        bool,
        type(None),
    }
    assert {"Amount", "amount"} <= set(names(page))
    assert len(names(rows(api, WIDE, "size=1"))) == 200
    assert rows(api, EMPTY) == {"count": 0, "next": None, "previous": None, "results": []}


def test_one_row_and_one_that_is_not_there(api: Caller) -> None:
    assert (
        api.get(f"database/rows/table/{MILLION}/77/?user_field_names=true").json["Reference"]
        == "LED-0000077"
    )
    response = api.get(f"database/rows/table/{MILLION}/0/")
    assert (response.status_code, response.json["detail"]) == (404, "The rows ['0'] do not exist.")


def test_every_account_has_a_warehouse_and_some_an_empty_database_besides(api: Caller) -> None:
    first, second = (
        api.get("applications/?exclude_tables=1", account).json for account in (1001, 1002)
    )
    assert (len(first), len(second)) == (1, 2)
    assert "tables" not in first[0]
    listed = api.get(f"database/tables/database/{first[0]['id']}/").json
    assert listed == api.get("applications/").json[0]["tables"]
    assert api.get(f"database/tables/{listed[0]['id']}/").json == listed[0]
    assert api.get(f"database/tables/database/{second[1]['id']}/", 1002).json == []
    assert api.get(f"database/tables/database/{second[0]['id']}/").status_code == 400
    assert api.get("database/tables/database/7/").status_code == 404


def table_of(connection: Any) -> int:
    """Return the connection's last table of amounts, whose rows have a time of arrival."""
    number = max(
        n
        for n, name in enumerate(connection.connector.tables)
        if name not in {"contacts", "customers"}
    )
    return int(connection.account_id * 10 + 1) * 1000 + connection.id % 100 * 10 + number


def received(api: Caller, connection: Any, query: str = "") -> list[str | None]:
    """Return when the rows of a connection's table arrived, in the requested order."""
    path = f"database/rows/table/{table_of(connection)}/?user_field_names=True&size=200&{query}"
    found = []
    page: Any = {"next": True}
    while page["next"]:
        page = api.get(f"{path}&page={1 + len(found) // 200}", connection.account_id).json
        found += [row["_sdc_received_at"] for row in page["results"]]
    return found


@pytest.mark.parametrize(
    "fields",
    [{}, {"failure": "expired"}, {"flips": True}, {"scheduler_off": True}, {"stuck": True}],
)
def test_the_newest_row_came_as_the_latest_run_that_loaded_something_ended(
    api: Caller, fields: dict[str, Any]
) -> None:
    connection = next(
        each
        for each in api.connections()
        if (each.failure.name if each.failure else None) == fields.get("failure")
        and all(getattr(each, name) == value for name, value in fields.items() if name != "failure")
        and not each.placed
    )
    ended = [
        run["timestamp_end"]
        for page in range(1, 8)
        for run in api.of(connection, f"runs/?per_page=200&page={page}")["data"]
        if run["timestamp_end"] and loaded(run)
    ]
    rows_ = received(api, connection, "order_by=-_sdc_received_at")
    assert datetime.fromisoformat(rows_[0] or "") == datetime.fromisoformat(ended[0])


def test_rows_were_received_in_the_order_of_their_numbers_and_follow_each_run(api: Caller) -> None:
    connection = api.find(auth="api_key")
    before = received(api, connection)
    assert len(before) > 200
    assert (
        before == sorted(before, key=str) == received(api, connection, "order_by=_sdc_received_at")
    )
    assert before[::-1] == received(api, connection, "order_by=-_sdc_received_at")
    assert len(set(before)) == len(before)
    assert received(api, connection) == before
    api.control(f"connections/{connection.id}", next_run="COMPLETED")
    api.of(connection, "syncdb/?is_async=true")
    assert received(api, connection) == before
    api.wait(seconds=5)
    after = received(api, connection)
    assert (after[-1], len(after)) == (f"{api.now:%Y-%m-%dT%H:%M:%SZ}", len(before))


def test_filters_and_search_find_rows_by_when_they_were_received(api: Caller) -> None:
    connection = api.find(auth="api_key")
    newest = received(api, connection)[-1]
    assert newest is not None
    shown = f"{newest[:10]} {newest[11:16]}"
    assert received(
        api, connection, f"filter___sdc_received_at__contains={shown}&order_by=-_sdc_received_at"
    ) == [newest]
    day = f"filter___sdc_received_at__date_is=UTC%3F{newest[:10]}%3Fexact_date"
    assert [
        time for time in received(api, connection) if time and time[:10] == newest[:10]
    ] == received(api, connection, day)
    refused = api.get(
        f"database/rows/table/{table_of(connection)}/?filter___sdc_received_at__equal={newest}&user_field_names=1"
    )
    assert refused.json["error"] == "ERROR_VIEW_FILTER_TYPE_UNSUPPORTED_FIELD"
    assert newest in received(api, connection, f"search={newest}")


def test_where_no_run_ever_loaded_anything_no_row_says_when_it_was_received() -> None:
    api = Caller(scenario="half-configured")
    connection = next(each for each in api.connections() if each.placed == "CONFIG_SELECT")
    assert set(received(api, connection)) == {None}
    assert set(received(api, connection, "order_by=-_sdc_received_at")) == {None}


def test_a_row_alone_says_the_same_as_in_its_table(api: Caller) -> None:
    connection = api.find(auth="api_key")
    one = api.get(
        f"database/rows/table/{table_of(connection)}/3/?user_field_names=True",
        connection.account_id,
    ).json
    assert one["_sdc_received_at"] == received(api, connection)[2]
