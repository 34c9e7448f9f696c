"""SQL on an account's warehouse: on SQLite, and on PostgreSQL where there is one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines import Servers
from tests.sandbox.caller import Caller

LEDGER = '"Ledger (1 million)"'


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """A stand-in with its warehouses on the engine."""
    if request.param == "sqlite":
        yield Caller(accounts=3)
        return
    servers: Servers = request.getfixturevalue("servers")
    url = servers.postgresql.create("warehouses")
    yield Caller(accounts=3, warehouse_url=url.replace("+psycopg", ""))
    servers.postgresql.drop("warehouses")


def ask(api: Caller, query: str) -> list[dict[str, Any]]:
    """The answer's lines, of the first account."""
    name = api.get("applications/default_dw_info/").json["server_name"]
    body = {"dbName": name, "action": "fetch", "kwargs": {"query": query}}
    answer = api.client.post("/api/proxy/db/", json=body, headers=api.token(1001))
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_rows_come_in_batches_behind_their_columns(api: Caller) -> None:
    columns, *parts, ended = ask(api, f'select id, "Reference" from {LEDGER} order by id limit 1200')
    assert [name for name, _ in columns["columns"]] == ["id", "Reference"]
    assert [len(part["records"]) for part in parts] == [500, 500, 200]
    assert [row[0] for part in parts for row in part["records"]] == list(range(1, 1201))
    assert ended == {"status": "success"}


def test_an_answer_without_rows_has_its_columns(api: Caller) -> None:
    columns, *parts, ended = ask(api, f"select id from {LEDGER} where id < 0")
    assert [name for name, _ in columns["columns"]] == ["id"]
    assert not any(part["records"] for part in parts)
    assert ended == {"status": "success"}


@pytest.mark.parametrize(
    "query", [f"delete from {LEDGER}", "create table other (id int)", "select 1; select 2", "selekt 1", "select * from nowhere"]
)
def test_what_is_no_reading_fails_in_the_databases_words(api: Caller, query: str) -> None:
    *_, ended = ask(api, query)
    assert ended["status"] == "failed"
    assert ended["error"]
    *_, parts, _ = ask(api, f"select count(*) from {LEDGER}")
    assert parts["records"] == [[2000]]
