"""Freshness checks of a connection's tables, with the sandbox over sockets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard import peliqan
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet import queries
from dashboard.fleet.models import Connection
from dashboard.refresh import live
from dashboard.tables.connection_tables import tables_of
from dashboard.tables.health import freshness
from dashboard.tables.health.freshness import FreshnessResult, read_time
from tests.support.clock import Clock
from tests.support.sandbox import ACCOUNTS, Sandbox

pytestmark = pytest.mark.both_engines


NAME = "_sdc_received_at"


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


@pytest.fixture
def orders(sandbox: Sandbox) -> Any:
    """Return a healthy connection whose tables all say when a row was received.

    Its connector is Yuki or NetSuite.
    """
    for account in sandbox.life.accounts(0, ACCOUNTS):
        mine = sandbox.life.connections(account.id)
        for each in mine:
            well = (
                not each.failure
                and not each.placed
                and not each.flips
                and not each.stuck
                and not each.scheduler_off
            )
            alone = sum(other.connector == each.connector for other in mine) == 1
            if well and alone and each.connector.name in {"yuki", "netsuite"}:
                return each
    raise LookupError


def stored_connection(connection: Any) -> Connection:
    row = queries.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    return row


def test_a_column_that_cannot_be_sorted_by_does_not_say_when_a_row_was_received() -> None:
    columns = [peliqan.Column(name=NAME, type=each) for each in ("password", "date")]
    assert freshness.received_at(columns[:1]) is None
    assert freshness.received_at(columns[1:]) == NAME


def check(services: Services, connection: Any) -> FreshnessResult:
    return freshness.check_freshness(services.api, stored_connection(connection), services.clock())


def calls(sandbox: Sandbox) -> dict[str, int]:
    names = ("applications", "tables", "fields", "rows")
    return {name: count for name, count in sandbox.state()["calls"].items() if name in names}


def stale(connection: Any) -> list[Finding]:
    same_connection = (
        Finding.account_id == connection.account_id,
        Finding.connection_id == connection.id,
    )
    return list(
        db.session.scalars(
            select(Finding).where(
                *same_connection, Finding.rule == "stale_rows", Finding.recovered_at.is_(None)
            )
        )
    )


def tables_named(sandbox: Sandbox, database_id: int, *names: str) -> None:
    """Give the database tables of these names, with ids from 1."""
    tables = [
        {"id": number, "name": name, "order": number, "database_id": database_id}
        for number, name in enumerate(names, 1)
    ]
    sandbox.fault("tables", match=f"/database/{database_id}/", body=tables)


def table_holds(sandbox: Sandbox, index: int, value: object, column: str = NAME) -> None:
    """Set the value of a column in the table's newest row."""
    sandbox.fault(
        "fields",
        match=f"/table/{index}/",
        body=[{"id": 1, "name": "Nr", "primary": True}, {"id": 2, "name": column}],
    )
    sandbox.fault(
        "rows",
        match=f"/table/{index}/",
        body={"count": 1, "results": [{"id": 7, "order": "1", column: value}]},
    )


def test_the_newest_row_is_as_new_as_the_run_that_brought_it(
    services: Services, sandbox: Sandbox, orders: Any
) -> None:
    live.read_connection(services.api, orders.account_id, orders.id, services.clock())
    at = services.clock()
    seen = freshness.check_freshness(services.api, stored_connection(orders), at)
    row = stored_connection(orders)
    count = len(orders.connector.tables)
    assert (seen.tables, seen.read, seen.dated, seen.unread) == (count, count, count, ())
    assert row.last_success_at is not None
    assert row.newest_row_at == seen.newest_at == row.last_success_at.replace(microsecond=0)
    assert row.rows_read_at == at
    assert stale(orders) == []
    databases = len(services.api.for_account(orders.account_id).databases())
    assert calls(sandbox) == {
        "applications": 2,
        "tables": databases,
        "fields": count,
        "rows": count,
    }


def test_rows_older_than_the_last_run_are_a_contradiction_until_newer_ones_are_seen(
    services: Services, sandbox: Sandbox, orders: Any
) -> None:
    live.read_connection(services.api, orders.account_id, orders.id, services.clock())
    success = stored_connection(orders).last_success_at
    assert success is not None
    old = success - timedelta(seconds=orders.interval, days=2)
    sandbox.fault(
        "rows", body={"count": 1, "results": [{"id": 1, "order": "1", NAME: old.isoformat()}]}
    )
    check(services, orders)
    [finding] = stale(orders)
    assert finding.contradicts
    assert "the newest row in its tables is 2 d" in finding.evidence
    sandbox.clear()
    check(services, orders)
    assert stale(orders) == []


def test_tables_are_found_in_every_database_and_in_any_case(
    services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    two = next(
        each
        for account in sandbox.life.accounts(0, ACCOUNTS)
        if len(services.api.for_account(account.id).databases()) == 2
        for each in sandbox.life.connections(account.id)
    )
    name, first = two.connector.name, two.account_id * 10 + 1
    tables_named(sandbox, first, "other_orders", f"{name}s_orders", name)
    at = clock().replace(microsecond=0)
    sandbox.fault(
        "tables",
        match=f"/database/{first + 1}/",
        body=[{"id": 9, "name": f"{name.upper()}_Orders"}],
    )
    table_holds(sandbox, 9, at.isoformat(), NAME.upper())
    seen = check(services, two)
    assert (seen.tables, seen.dated, seen.newest_at) == (1, 1, at)
    assert seen.sentence == "Its only table says when a row was received."
    assert stored_connection(two).newest_row_at == at


def test_where_no_table_says_when_a_row_was_received_that_is_said(
    services: Services, sandbox: Sandbox, orders: Any
) -> None:
    name, database_id = orders.connector.name, orders.account_id * 10 + 1
    tables_named(sandbox, database_id, *(f"{name}_{each}" for each in "abc"))
    sandbox.fault("fields", body=[{"id": 1, "name": "Nr", "primary": True}])
    seen = check(services, orders)
    assert seen.sentence == "None of its 3 tables says when a row was received."
    assert (
        stored_connection(orders).newest_row_at,
        stored_connection(orders).rows_read_at is not None,
    ) == (None, True)
    assert "rows" not in calls(sandbox)
    sandbox.clear()
    tables_named(sandbox, database_id, "somebody_elses")
    assert check(services, orders).sentence == (
        f"No table of this connection was found: none has a name that begins with “{name}_”."
    )


def test_at_most_five_tables_are_looked_at_those_first_that_the_runs_loaded_most_into(
    services: Services, sandbox: Sandbox, orders: Any, clock: Clock
) -> None:
    live.read_connection(services.api, orders.account_id, orders.id, services.clock())
    name, loaded = orders.connector.name, orders.connector.tables[0]
    tables_named(
        sandbox,
        orders.account_id * 10 + 1,
        *(f"{name}_{number}" for number in range(11)),
        f"{name}_{loaded}",
    )
    old, new = (clock().replace(microsecond=0) - timedelta(minutes=minutes) for minutes in (50, 10))
    table_holds(sandbox, 12, new.isoformat())
    for number in range(1, 12):
        table_holds(sandbox, number, old.isoformat())
    seen = check(services, orders)
    assert (seen.tables, seen.read, seen.newest_at) == (12, 5, new)
    assert (
        seen.sentence == "5 of the 5 tables that were read say when a row was received."
        " 7 more were not looked at."
    )
    assert (calls(sandbox)["fields"], calls(sandbox)["rows"]) == (5, 5)


@pytest.mark.parametrize(
    "fault", [{"status": 400}, {"status": 404}, {"status": 500}, {"kind": "html"}]
)
def test_a_table_that_cannot_be_sorted_is_passed_over_and_named(
    services: Services, sandbox: Sandbox, orders: Any, fault: dict[str, Any]
) -> None:
    [refused, *others] = services.api.for_account(orders.account_id).tables(
        orders.account_id * 10 + 1
    )
    mine = tables_of(stored_connection(orders), (refused, *others))
    sandbox.fault("rows", match=f"/table/{mine[0].id}/", **fault)
    seen = check(services, orders)
    assert seen.unread == (mine[0].name,)
    assert f"1 could not be read: “{mine[0].name}”." in seen.sentence
    assert seen.read == len(mine) - 1
    assert stored_connection(orders).newest_row_at == sandbox.life.last_received(orders).replace(
        microsecond=0
    )


def test_where_a_table_is_left_out_a_newer_row_that_was_seen_before_still_counts(
    services: Services, sandbox: Sandbox, orders: Any, clock: Clock
) -> None:
    check(services, orders)
    newest = stored_connection(orders).newest_row_at
    assert newest is not None
    mine = tables_of(
        stored_connection(orders),
        services.api.for_account(orders.account_id).tables(orders.account_id * 10 + 1),
    )
    sandbox.fault("rows", match=f"/table/{mine[0].id}/", status=400)
    sandbox.fault(
        "rows",
        body={"count": 1, "results": [{"id": 1, "order": "1", NAME: "2026-01-01T00:00:00Z"}]},
    )
    clock.move(minutes=1)
    check(services, orders)
    assert stored_connection(orders).newest_row_at == newest


def test_where_no_table_can_be_read_nothing_is_changed(
    services: Services, sandbox: Sandbox, orders: Any
) -> None:
    check(services, orders)
    before = (stored_connection(orders).newest_row_at, stored_connection(orders).rows_read_at)
    sandbox.fault("fields", status=403)
    seen = check(services, orders)
    assert (seen.read, len(seen.unread)) == (0, seen.tables)
    assert seen.sentence.startswith("Nothing was learnt of the rows in its tables.")
    assert (
        stored_connection(orders).newest_row_at,
        stored_connection(orders).rows_read_at,
    ) == before


@pytest.mark.parametrize("route", ["applications", "tables", "fields", "rows"])
def test_an_api_that_does_not_answer_changes_nothing(
    services: Services, sandbox: Sandbox, orders: Any, route: str
) -> None:
    sandbox.fault(route, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(peliqan.RateLimited):
        check(services, orders)
    db.session.rollback()
    assert (stored_connection(orders).newest_row_at, stored_connection(orders).rows_read_at) == (
        None,
        None,
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        1764000000,
        True,
        ["x"],
        "2026-11-24",
        "9999-12-31T23:59:59Z",
        "2126-01-01 00:00",
    ],
)
def test_what_is_no_time_that_a_row_can_have_is_passed_over(
    services: Services, sandbox: Sandbox, orders: Any, value: object
) -> None:
    sandbox.fault("rows", body={"count": 1, "results": [{"id": 1, "order": "1", NAME: value}]})
    seen = check(services, orders)
    assert (seen.newest_at, stored_connection(orders).newest_row_at) == (None, None)
    assert "has such a time" in seen.sentence
    assert stale(orders) == []


def test_an_empty_table_has_no_newest_row(
    services: Services, sandbox: Sandbox, orders: Any
) -> None:
    sandbox.fault("rows", body={"count": 0, "results": []})
    assert check(services, orders).newest_at is None


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-11-24T10:00:00Z", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("2026-11-24 10:00:00.5", datetime(2026, 11, 24, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-24T10:00:00+02:00", datetime(2026, 11, 24, 8, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_a_time_without_a_zone_is_taken_as_utc(value: str, time: datetime | None) -> None:
    assert read_time(value) == time


def test_a_connection_without_a_connector_has_no_table() -> None:
    assert tables_of(Connection(id=1, connector=""), [peliqan.Table(id=1, name="_orders")]) == []
