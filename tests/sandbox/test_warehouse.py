"""SQL on an account's warehouse: on SQLite, and on PostgreSQL where there is one."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from peliqan import Peliqan

from dashboard.sandbox import warehouse
from tests.support.api_caller import Caller
from tests.support.databases import Servers
from tests.support.processes import TOKEN
from tests.support.sandbox import Sandbox

LEDGER = '"Ledger (1 million)"'
DEMO_ACCOUNTS = range(1001, 1201)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def sandbox_api(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """A sandbox with its warehouses on the engine."""
    if request.param == "sqlite":
        yield Caller()
        return
    servers: Servers = request.getfixturevalue("servers")
    url = servers.postgresql.create("warehouses")
    made = Caller(warehouse_url=url.replace("+psycopg", ""))
    yield made
    warehouses = made.app.extensions["sandbox"].warehouses
    for account_id in DEMO_ACCOUNTS:
        servers.postgresql.drop(warehouses.database(account_id))
    servers.postgresql.drop("warehouses")


@pytest.fixture
def api(sandbox_api: Caller) -> Iterator[Caller]:
    started = sandbox_api.now
    yield sandbox_api
    sandbox_api.control("reset")
    sandbox_api.now = started


def lines(api: Caller, query: str, account_id: int = 1001) -> list[dict[str, Any]]:
    """Return the lines of the response."""
    name = api.get("applications/default_dw_info/", account_id).json["server_name"]
    body = {"dbName": name, "action": "fetch", "kwargs": {"query": query}}
    response = api.client.post("/api/proxy/db/", json=body, headers=api.token(account_id))
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def run_query(api: Caller, query: str, account_id: int = 1001) -> list[list[Any]]:
    """Return the rows of the response."""
    *parts, ended = lines(api, query, account_id)
    assert ended == {"status": "success"}, (account_id, query, ended)
    return [row for part in parts for row in part.get("records", ())]


def of_one_connector(api: Caller) -> Any:
    """Return two connections of one connector in an account, both with rows."""
    for account_id in DEMO_ACCOUNTS:
        connections = api.life.connections(account_id)
        for number, first in enumerate(connections):
            for second in connections[number + 1 :]:
                if first.connector is second.connector and not first.fate.data_fault:
                    return first, second
    raise LookupError


def schema_of(api: Caller, connection: Any) -> str:
    return str(api.of(connection)["target_schema"]["schema_name"])


def counts_by_rows(api: Caller, account_id: int) -> dict[int, tuple[str, int]]:
    """Return name and count of each table by id, from the routes for tables and rows."""
    found = {}
    for database in api.get("applications/?exclude_tables=1", account_id).json:
        for table in api.get(f"database/tables/database/{database['id']}/", account_id).json:
            page = api.get(f"database/rows/table/{table['id']}/?size=1", account_id).json
            found[table["id"]] = (table["name"], page["count"])
    return found


def counts_by_sql(api: Caller, account_id: int) -> Counter[tuple[str, int]]:
    """Return the same from ``information_schema``, with full names."""
    tables = run_query(
        api,
        "select table_schema, table_name from information_schema.tables where table_type = 'BASE "
        "TABLE'",
        account_id,
    )
    mine = [
        (schema, table)
        for schema, table in tables
        if schema not in {"pg_catalog", "information_schema"}
    ]
    each = (f'select \'{table}\', count(*) from "{schema}"."{table}"' for schema, table in mine)
    return Counter(
        (table, count) for table, count in run_query(api, " union all ".join(each), account_id)
    )


def test_rows_come_in_batches_behind_their_columns(api: Caller) -> None:
    columns, *parts, ended = lines(
        api, f'select id, "Reference" from {LEDGER} order by id limit 1200'
    )
    assert [name for name, _ in columns["columns"]] == ["id", "Reference"]
    assert [len(part["records"]) for part in parts] == [500, 500, 200]
    assert [row[0] for part in parts for row in part["records"]] == list(range(1, 1201))
    assert ended == {"status": "success"}


def test_an_answer_without_rows_has_its_columns(api: Caller) -> None:
    columns, *parts, ended = lines(api, f"select id from {LEDGER} where id < 0")
    assert [name for name, _ in columns["columns"]] == ["id"]
    assert not any(part["records"] for part in parts)
    assert ended == {"status": "success"}


@pytest.mark.parametrize(
    "query",
    [
        f"delete from {LEDGER}",
        f"delete from public.{LEDGER}",
        "create table other (id int)",
        "create table public.other (id int)",
        "delete from information_schema.tables",
        "select 1; select 2",
        "selekt 1",
        "select * from nowhere",
    ],
)
def test_what_is_no_reading_fails_in_the_databases_words(api: Caller, query: str) -> None:
    *_, ended = lines(api, query)
    assert ended["status"] == "failed"
    assert ended["error"]
    assert run_query(api, f"select count(*) from {LEDGER}") == [[2000]]
    assert run_query(api, f"select count(*) from public.{LEDGER}") == [[2000]]


def test_every_account_of_the_demo_answers_sql_with_the_counts_of_the_rows_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All rows would take minutes; the next test checks a sample of the complete set.
    monkeypatch.setattr(warehouse, "MOST_ROWS", 20)
    api = Caller()
    tables = 0
    for account_id in DEMO_ACCOUNTS:
        by_rows = counts_by_rows(api, account_id)
        assert counts_by_sql(api, account_id) == Counter(
            (name, min(count, 20)) for name, count in by_rows.values()
        )
        tables += len(by_rows)
    assert tables > 1500


def test_a_sample_of_accounts_has_all_its_rows_on_either_engine(api: Caller) -> None:
    first, _ = of_one_connector(api)
    with_fault = next(
        each for each in api.connections() if each.fate.data_fault == "duplicate_keys"
    )
    for account_id in (1001, first.account_id, with_fault.account_id):
        by_rows = counts_by_rows(api, account_id)
        assert counts_by_sql(api, account_id) == Counter(
            (name, min(count, 2000)) for name, count in by_rows.values()
        )


def test_each_connection_has_the_schema_that_the_api_names_with_its_tables_and_their_columns(
    api: Caller,
) -> None:
    first, second = of_one_connector(api)
    names = [f"{first.connector.name}_{table}" for table in first.connector.tables]
    assert schema_of(api, first) != schema_of(api, second)
    for connection in (first, second):
        where = f"where table_schema = '{schema_of(api, connection)}'"
        statement = f"select table_name from information_schema.tables {where} order by 1"
        assert [row[0] for row in run_query(api, statement, first.account_id)] == sorted(names)
        columns = run_query(
            api,
            f"select table_name, column_name from information_schema.columns {where}",
            first.account_id,
        )
        tables = [
            each
            for each in counts_by_rows(api, first.account_id).items()
            if each[0] // 10 % 100 == connection.id % 100
        ]
        fields = {
            (name, field["name"])
            for table_id, (name, _) in tables
            for field in api.get(f"database/fields/table/{table_id}/", first.account_id).json
        }
        assert {tuple(row) for row in columns} == fields | {(name, "id") for name in names}
    schemata = {
        row[0]
        for row in run_query(
            api, "select schema_name from information_schema.schemata", first.account_id
        )
    }
    mine = {schema_of(api, each) for each in api.life.connections(first.account_id)}
    assert schemata - {"pg_catalog", "information_schema", "pg_toast", "public"} == mine


def test_a_table_without_a_schemas_name_is_that_of_the_eldest_connection(api: Caller) -> None:
    first, second = of_one_connector(api)
    table = f"{first.connector.name}_{first.connector.tables[0]}"
    full, other = (f'select * from "{schema_of(api, each)}"."{table}"' for each in (first, second))
    unqualified = run_query(api, f'select * from "{table}"', first.account_id)
    assert unqualified == run_query(api, full, first.account_id)
    assert unqualified != run_query(api, other, first.account_id)
    joined = (
        f'select count(*) from ({full}) a, (select * from "{table}" limit 1) b, ({other} limit 1) c'
    )
    assert run_query(api, joined, first.account_id) == [[len(unqualified)]]


def test_the_rows_of_the_warehouse_are_those_that_the_tables_have_now() -> None:
    api = Caller(scenario="rows-dropped")
    losing = next(each for each in api.connections() if each.fate.shrinks_at)
    before = counts_by_sql(api, losing.account_id)
    api.wait(minutes=20)
    after = counts_by_sql(api, losing.account_id)
    assert after == Counter(
        (name, min(count, 2000)) for name, count in counts_by_rows(api, losing.account_id).values()
    )
    assert sum(count for _, count in after.elements()) < sum(
        count for _, count in before.elements()
    )


def test_a_new_connection_has_its_schema_at_once(api: Caller) -> None:
    assert run_query(
        api, "select count(*) from information_schema.schemata where schema_name = 'odoo_6'", 1002
    ) == [[0]]
    while (added := api.life.add_connection(1002, "odoo", "New")).id % 100 < 16:
        pass
    api.wait(seconds=10)
    # 16 of one connector: more than SQLite joins in one statement.
    assert run_query(
        api, "select count(*) from information_schema.tables where table_schema = 'odoo_16'", 1002
    ) == [[3]]
    assert run_query(
        api, f"select count(*) > 0 from {schema_of(api, added)}.odoo_orders", 1002
    ) in (
        [[True]],
        [[1]],
    )


def test_questions_about_one_account_are_answered_side_by_side(api: Caller) -> None:
    name = api.get("applications/default_dw_info/").json["server_name"]
    body = {"dbName": name, "action": "fetch", "kwargs": {"query": f"select * from {LEDGER}"}}
    slow = api.client.post("/api/proxy/db/", json=body, headers=api.token(1001), buffered=False)
    parts = slow.iter_encoded()
    assert b"columns" in next(parts)
    other: list[Any] = []
    thread = Thread(
        target=lambda: other.extend(run_query(api, f"select count(*) from {LEDGER}")), daemon=True
    )
    thread.start()
    thread.join(60)
    assert other == [[2000]]
    rows = [row for part in parts for row in json.loads(part).get("records", ())]
    assert [row[0] for row in rows] == list(range(1, 2001))


FAULTS = {
    "duplicate_keys": (True, False, 0), "mixed_versions": (False, True, 0), "table_stale": (False,
        False, 10),
    "versions_retired": (False, False, 0), "": (False, False, 0),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_rows_stands_in_warehouse_and_rows_route_alike(
    api: Caller, fault: str
) -> None:
    wants_copies, wants_versions, stale_days = FAULTS[fault]
    connection = api.find(
        connector=next(
            each.connector for each in api.connections() if each.connector.name == "yuki"
        )
    )
    account_id, table = connection.account_id, f'"{schema_of(api, connection)}".yuki_invoices'
    api.control(f"connections/{connection.id}", data_fault=fault)
    statement = (
        'select count(*), count(distinct id), count(distinct "Number"), max("_sdc_received_at") '
        f"from {table}"
    )
    [[rows, keys, numbers, received]] = run_query(api, statement, account_id)
    assert (rows / keys > 1.01) is wants_copies
    assert keys == numbers
    table_id = next(
        id
        for id, (name, _) in counts_by_rows(api, account_id).items()
        if name == "yuki_invoices" and id // 10 % 100 == connection.id % 100
    )
    newest = api.get(
        f"database/rows/table/{table_id}/?size=1&user_field_names=1&order_by=-_sdc_received_at",
        account_id,
    ).json
    assert (newest["count"], newest["results"][0]["_sdc_received_at"]) == (rows, received)
    assert (
        api.now - api.life.last_received(connection) < timedelta(days=1),
        received < "2026-11-14",
    ) == (True, stale_days > 0)
    if fault in {"mixed_versions", "versions_retired"}:
        live = 'count(distinct case when "_sdc_deleted_at" is null then "_sdc_table_version" end)'
        assert run_query(
            api, f'select {live}, count(distinct "_sdc_table_version") from {table}', account_id
        ) == [[1 + wants_versions, 2]]


def test_a_parent_table_is_empty_while_the_one_below_it_has_rows_in_the_demo_too(
    api: Caller,
) -> None:
    connection = next(
        each for each in api.connections() if each.fate.data_fault == "parent_table_empty"
    )
    parent = f"{connection.connector.name}_{connection.connector.tables[0]}"
    counted = (
        f'select (select count(*) from "{{0}}"."{parent}"), '
        f'(select count(*) from "{{0}}"."{parent}_lines")'
    )
    statement = counted.format(schema_of(api, connection))
    assert run_query(api, statement, connection.account_id) == [[0, 200]]
    api.control(f"connections/{connection.id}", data_fault="parent_has_rows")
    [[parents, children]] = run_query(api, statement, connection.account_id)
    assert (parents > 0, children) == (True, 200)
    refused = api.client.post(
        f"/sandbox/control/connections/{connection.id}", json={"data_fault": "other"}
    )
    assert refused.status_code == 400


def test_the_published_sdk_asks_each_schema_of_an_account(sandbox: Sandbox) -> None:
    account_id = next(
        account.id
        for account in sandbox.life.accounts(0, 60)
        if (connectors := [each.connector.name for each in sandbox.life.connections(account.id)])
        and len(set(connectors)) < len(connectors)
    )
    account = Peliqan(jwt=TOKEN, backend_url=sandbox.url).get_subaccount_instance(
        account_id=account_id
    )
    connections = account.list_connections()
    target = next(each["name"] for each in connections if each["is_datawarehouse"])
    database = account.dbconnect(target)
    sources = [each for each in connections if not each["is_target"]]
    for source in sources:
        schema = source["target_schema"]["schema_name"]
        statement = (
            "SELECT table_schema, table_name, column_name FROM information_schema.columns "
            f"WHERE table_schema = '{schema}'"
        )
        columns = database.fetch(target, query=statement)
        tables = {row["table_name"] for row in columns}
        assert len(tables) == len(sandbox.life.connection(source["id"]).connector.tables)
        for table in tables:
            [counted] = database.fetch(
                target,
                query=f'SELECT COUNT(*) AS n, COUNT(DISTINCT "id") AS ids FROM '
                f'"{schema}"."{table}"',
            )
            assert counted["n"] == counted["ids"]
