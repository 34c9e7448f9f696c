"""Recorded answers of a real Baserow (see index.json) parse, or raise the right error."""

import json
from pathlib import Path
from typing import Any

import pytest

from dashboard import peliqan
from tests.support.fault_server import Answer, FaultServer

RECORDED = Path(__file__).parent.parent / "data" / "baserow"
INDEX: dict[str, dict[str, Any]] = {
    each["file"]: each
    for each in json.loads((RECORDED / "index.json").read_text())["files"]
    if (RECORDED / each["file"]).exists()
}
REFUSALS = sorted(name for name, each in INDEX.items() if each["status"] >= 400)
PASSED_OVER = sorted(
    name for name, each in INDEX.items() if name.startswith("error-") and each["status"] == 200
)
KINDS = {
    401: peliqan.NotAuthorised,
    403: peliqan.Forbidden,
    404: peliqan.NotFound,
    429: peliqan.RateLimited,
    500: peliqan.ServerError,
}
ROWS = "/api/database/rows/table/3/"


def recorded(name: str) -> Answer:
    about = INDEX[name]
    headers = {"Content-Type": about["content_type"]}
    headers |= {
        key: value
        for key, value in about.get("headers", {}).items()
        if key.lower() in {"retry-after", "www-authenticate"}
    }
    return Answer((RECORDED / name).read_bytes(), about["status"], headers)


def test_every_recorded_file_is_in_the_index_and_both_kinds_of_surprise_are_there() -> None:
    files = {path.name for path in RECORDED.iterdir()} - {"index.json"}
    assert files == set(INDEX)
    assert REFUSALS
    assert PASSED_OVER


@pytest.mark.parametrize("name", REFUSALS)
def test_a_recorded_refusal_is_the_error_of_its_status_in_its_own_words(
    server: FaultServer, name: str
) -> None:
    about = INDEX[name]
    server.say(ROWS, recorded(name))
    with pytest.raises(peliqan.PeliqanError) as caught:
        server.client(retries=0).for_account(1).rows(3)
    kind = KINDS.get(about["status"], peliqan.Refused)
    assert type(caught.value) is (
        peliqan.Forbidden if about.get("error") == "ERROR_USER_NOT_IN_GROUP" else kind
    )
    assert caught.value.status == about["status"]
    assert caught.value.error == about.get("error")
    if name.endswith(".html"):
        assert caught.value.detail is None
    assert "{" not in (caught.value.detail or "").split(": ", 1)[0]
    assert "<" not in caught.value.explained.split("Peliqan says")[0]


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_one_would_expect_to_fail_and_does_not_is_a_page_of_rows(
    server: FaultServer, name: str
) -> None:
    server.say(ROWS, recorded(name))
    seen = server.client(read_timeout=5.0).for_account(1).rows(3)
    body = json.loads((RECORDED / name).read_text())
    assert (seen.count, len(seen.rows)) == (body["count"], len(body["results"]))


@pytest.mark.parametrize("name", ["rows-page1-default.json", "rows-last-page.json"])
def test_recorded_rows_come_through_untouched(server: FaultServer, name: str) -> None:
    server.say(ROWS, recorded(name))
    seen = server.client(read_timeout=5.0).for_account(1).rows(3)
    body = json.loads((RECORDED / name).read_text())
    assert list(seen.rows) == body["results"]
    assert seen.count == 250


@pytest.mark.parametrize("name", sorted(each for each in INDEX if each.startswith("fields")))
def test_recorded_columns_are_all_there_the_primary_one_first(
    server: FaultServer, name: str
) -> None:
    server.say("/api/database/fields/table/3/", recorded(name))
    seen = server.client(read_timeout=5.0).for_account(1).columns(3)
    body = json.loads((RECORDED / name).read_text())
    assert {(each.id, each.name, each.type) for each in seen} == {
        (each["id"], each["name"], each["type"]) for each in body
    }
    assert [each.primary for each in seen] == [True] + [False] * (len(body) - 1)


def test_recorded_databases_and_tables_are_read(server: FaultServer) -> None:
    server.say("/api/applications/", recorded("applications-exclude-tables.json"))
    server.say("/api/database/tables/database/1/", recorded("tables.json"))
    server.say("/api/database/tables/3/", recorded("table.json"))
    account = server.client().for_account(1)
    applications, tables, table = (
        json.loads((RECORDED / name).read_text())
        for name in ("applications-exclude-tables.json", "tables.json", "table.json")
    )
    assert [(each.id, each.name) for each in account.databases()] == [
        (each["id"], each["name"]) for each in applications
    ]
    assert {each.id for each in account.tables(1)} == {each["id"] for each in tables}
    assert (account.table(3).id, account.table(3).name) == (table["id"], table["name"])
    assert server.requests[1].query == {"exclude_tables": ["1"]}
