"""Data checks of a connection by the warehouse's figures, with the sandbox over sockets."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard import peliqan
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings import evaluate
from dashboard.findings.models import DataCheck, Finding
from dashboard.fleet import queries
from dashboard.fleet.models import Connection
from dashboard.tables.data_checks import jobs as data_check_jobs
from dashboard.tables.data_checks import service as stored
from dashboard.tables.tasks import check_tables
from tests.support.clock import Clock
from tests.support.sandbox import ACCOUNTS, Sandbox

pytestmark = pytest.mark.both_engines


FINDINGS = ("duplicate_keys", "mixed_versions", "table_stale", "parent_table_empty")
ROUTES = ("default_dw_info", "proxy_db", "applications", "tables", "fields", "rows")


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


@pytest.fixture
def shared(sandbox: Sandbox) -> Any:
    """Return a healthy connection whose account has another of the same connector."""
    for account in sandbox.life.accounts(0, ACCOUNTS):
        mine = sandbox.life.connections(account.id)
        for each in mine:
            well = not (
                each.failure or each.placed or each.flips or each.stuck or each.scheduler_off
            )
            if well and sum(other.connector == each.connector for other in mine) > 1:
                return each
    raise LookupError


def stored_connection(connection: Any) -> Connection:
    row = queries.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    return row


def check(services: Services, connection: Any) -> data_check_jobs.DataResult:
    return data_check_jobs.check(services.api, stored_connection(connection), services.clock())


def open_findings(account_id: int) -> set[tuple[int, str]]:
    mine = select(Finding).where(
        Finding.account_id == account_id, Finding.recovered_at.is_(None), Finding.rule.in_(FINDINGS)
    )
    return {(each.connection_id or 0, each.rule) for each in db.session.scalars(mine)}


def calls(sandbox: Sandbox) -> dict[str, int]:
    return {name: count for name, count in sandbox.state()["calls"].items() if name in ROUTES}


def answer(*rows: list[Any], width: int = 2) -> list[dict[str, Any]]:
    """Return the lines of the SQL route's response."""
    return [
        {"columns": [[f"c{index}", "text"] for index in range(width)]},
        {"records": list(rows)},
        {"status": "success"},
    ]


@pytest.mark.parametrize("fault", FINDINGS)
def test_a_fault_is_found_of_its_own_connection_in_three_calls_and_ends_when_it_is_gone(
    services: Services, sandbox: Sandbox, shared: Any, clock: Clock, fault: str
) -> None:
    sandbox.set(shared.id, data_fault=fault)
    result = check(services, shared)
    assert calls(sandbox) == {"default_dw_info": 1, "proxy_db": 2}
    assert (len(result.tables), result.more) == (
        len(shared.connector.tables) + (fault == "parent_table_empty"),
        0,
    )
    assert open_findings(shared.account_id) == {(shared.id, fault)}
    sandbox.set(shared.id, data_fault="")
    clock.move(minutes=2)
    check(services, shared)
    assert open_findings(shared.account_id) == set()


def test_the_other_connection_of_the_connector_has_other_tables(
    services: Services, sandbox: Sandbox, shared: Any
) -> None:
    other = next(
        each
        for each in sandbox.life.connections(shared.account_id)
        if each.connector == shared.connector and each.id != shared.id
    )
    sandbox.set(shared.id, data_fault="duplicate_keys")
    ours, theirs = check(services, shared), check(services, other)
    assert [each.name for each in ours.tables] == [each.name for each in theirs.tables]
    assert [each.rows for each in ours.tables] != [each.rows for each in theirs.tables]
    assert open_findings(shared.account_id) == {(shared.id, "duplicate_keys")}


def test_it_is_checked_again_each_day_in_one_call_for_a_week(
    services: Services, sandbox: Sandbox, shared: Any, clock: Clock
) -> None:
    check(services, shared)
    sandbox.set(shared.id, data_fault="mixed_versions")
    days = 0
    for _ in range(10):
        before = calls(sandbox)
        clock.move(days=1, minutes=1)
        check_tables()
        after = calls(sandbox)
        days += after != before
        if days == 1 and after != before:
            # These columns were added since: only a new listing of the tables includes them.
            assert after["proxy_db"] - before["proxy_db"] == 1
            assert after["default_dw_info"] == before["default_dw_info"]
    assert days == 6
    assert stored.due(clock()) == []


def test_while_it_has_a_finding_it_is_checked_for_longer_than_a_week(
    services: Services, sandbox: Sandbox, shared: Any, clock: Clock
) -> None:
    sandbox.set(shared.id, data_fault="duplicate_keys")
    check(services, shared)
    for _ in range(12):
        clock.move(days=1, minutes=1)
        check_tables()
    assert open_findings(shared.account_id) == {(shared.id, "duplicate_keys")}
    sandbox.set(shared.id, data_fault="")
    clock.move(days=1, minutes=1)
    check_tables()
    assert open_findings(shared.account_id) == set()
    assert stored.due(clock() + timedelta(days=30)) == []


def test_a_table_that_is_gone_makes_the_daily_check_look_for_tables_anew(
    services: Services, sandbox: Sandbox, shared: Any, clock: Clock
) -> None:
    sandbox.set(shared.id, data_fault="parent_has_rows")
    count = len(check(services, shared).tables)
    sandbox.set(shared.id, data_fault="")
    before = calls(sandbox)
    clock.move(days=1, minutes=1)
    check_tables()
    after = calls(sandbox)
    assert (
        after["default_dw_info"] - before["default_dw_info"],
        after["proxy_db"] - before["proxy_db"],
    ) == (1, 3)
    stored_check = stored.of_connection(shared.account_id, shared.id)
    assert stored_check is not None
    assert len(stored_check.tables) == count - 1


def test_figures_that_could_not_be_had_again_for_a_week_are_no_evidence_any_more(
    services: Services, sandbox: Sandbox, shared: Any, clock: Clock
) -> None:
    sandbox.set(shared.id, data_fault="duplicate_keys")
    check(services, shared)
    sandbox.fault("proxy_db", status=403)
    for day in range(1, 9):
        clock.move(days=1, minutes=1)
        check_tables()
        if day == 5:
            assert open_findings(shared.account_id) == {(shared.id, "duplicate_keys")}
    evaluate.evaluate_all(clock())
    assert open_findings(shared.account_id) == set()
    assert stored.due(clock() + timedelta(days=30)) == []


def test_the_check_of_a_connection_that_is_gone_is_forgotten(
    services: Services, shared: Any, clock: Clock
) -> None:
    check(services, shared)
    stored_connection(shared).gone_at = clock()
    db.session.commit()
    clock.move(days=1, minutes=1)
    check_tables()
    assert db.session.get(DataCheck, (shared.account_id, shared.id)) is None


def test_a_connection_without_a_schema_cannot_be_checked_and_asks_nothing(
    services: Services, sandbox: Sandbox, shared: Any
) -> None:
    row = stored_connection(shared)
    row.schema_name = ""
    with pytest.raises(data_check_jobs.CannotCheck, match="which schema"):
        data_check_jobs.check(services.api, row, services.clock())
    assert calls(sandbox) == {}


def test_a_schema_that_is_not_there_has_no_table_and_names_with_quotes_are_names(
    services: Services, sandbox: Sandbox, shared: Any
) -> None:
    row = stored_connection(shared)
    row.schema_name = "o'brien\"; drop table x"
    result = data_check_jobs.check(services.api, row, services.clock())
    assert result.tables == []
    assert "nothing was checked" in result.sentence


@pytest.mark.parametrize(
    "lines",
    [
        answer(["orders", "id", "more"], width=3),
        answer(["orders", "id"]),
        answer([None, None]),
        answer([["a"], {"b": 1}]),
        answer(*[[f"t{number}", "id"] for number in range(10_001)]),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_changes_nothing(
    services: Services,
    sandbox: Sandbox,
    shared: Any,
    lines: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox.set(shared.id, data_fault="duplicate_keys")
    check(services, shared)
    monkeypatch.setattr(
        sandbox.app.extensions["sandbox"].warehouses, "execute", lambda *_: iter(lines)
    )
    with pytest.raises((data_check_jobs.CannotCheck, peliqan.PeliqanError)):
        check(services, shared)
    db.session.rollback()
    assert open_findings(shared.account_id) == {(shared.id, "duplicate_keys")}


def test_fifty_tables_are_counted_at_most_and_the_rest_is_named(
    sandbox: Sandbox, services: Services, shared: Any
) -> None:
    tables = [data_check_jobs.CountedTable(f"t{number}", "id") for number in range(3)]
    result = data_check_jobs.DataResult("books", tables[:2], 1)
    assert result.sentence == "The warehouse counted 2 tables in “books”. 1 more was not counted."
    one = data_check_jobs.DataResult("books", [data_check_jobs.CountedTable("t")], 0)
    assert (
        one.sentence
        == "The warehouse counted 1 table in “books”. 1 of them has no column id, _id, key or uuid."
    )
