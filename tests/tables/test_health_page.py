"""The health page of a table: a check now, earlier counts, the daily count and lost rows."""

from typing import Any

import pytest
from flask import Flask

from dashboard.context import Services
from dashboard.peliqan import Column
from dashboard.tables.health import jobs as table_check_jobs
from dashboard.tables.health import service as table_checks
from dashboard.tables.tasks import check_tables
from tests.support.clock import Clock
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox

EVERYTHING, EMPTY = (f"/accounts/1001/tables/1001190{n}" for n in (0, 1))


def table_of(connection: Any, sandbox: Sandbox) -> Any:
    """Return a table of money that the connection loads."""
    tables = sandbox.app.extensions["sandbox"].tables.of_account(
        connection.account_id, [(connection.id % 100, connection.connector)]
    )
    return next(
        each
        for each in tables
        if each.kind == "money" and each.connection_id == connection.id and each.count > 100
    )


def health_of(table: Any) -> str:
    return f"/accounts/{table.database_id // 10}/tables/{table.id}/health"


def shrink(sandbox: Sandbox, table: Any, rows: int) -> None:
    """Let the API report this number of rows from now on."""
    sandbox.fault("rows", match=str(table.id), body={"count": rows, "results": []})


def test_the_page_tells_rows_newest_keys_and_empty_columns_each_with_its_age(
    viv: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    table = table_of(connection, sandbox)
    page = viv.get(health_of(table))
    text = words(page).replace(" ,", ",")
    assert page.select_one("[data-rows]").text.replace("\u202f", "") == str(table.count)  # type: ignore[union-attr]
    assert "counted just now" in text
    newest = sandbox.life.last_received(connection).replace(microsecond=0).isoformat()
    assert newest in {str(each["datetime"]) for each in page.select("#table-health dl time")}
    assert "none by Number, among the 50 rows of page 1" in text
    assert "none in the 50 rows of page 1" in text
    text = words(viv.get(f"{EVERYTHING}/health?filter__Stars__equal=5")).replace(" ,", ",")
    assert "the table has no column _sdc_received_at" in text
    assert "Rows 60 counted" in text
    assert "rows share their Title with another, among the 10 rows of page 1" in text
    assert "Empty in all of the 10 rows of page 1" in text
    assert "no rows to compare" in words(viv.get(f"{EMPTY}/health"))


def test_the_rows_page_opens_it_in_place_with_the_page_that_is_shown(viv: Person) -> None:
    soup = viv.get("/accounts/1001/tables/10011902?page=3")
    [link] = [each for each in soup.select(".rows-menus a") if words(each) == "Health"]
    assert link["hx-target"] == "#table-health"
    assert soup.select("#table-health")
    part = viv.fragment(str(link["href"]))
    assert part.find("h1") is None
    assert "among the 50 rows of page 3" in words(part)


def test_within_a_minute_nobody_asks_peliqan_again(
    viv: Person, sandbox: Sandbox, clock: Clock
) -> None:
    viv.get(f"{EVERYTHING}/health")
    before = sandbox.state()["calls"]
    viv.get(f"{EVERYTHING}/health")
    assert sandbox.state()["calls"] == before
    clock.move(seconds=61)
    assert len(viv.get(f"{EVERYTHING}/health").select("#table-health tbody tr")) == 2


def test_rows_that_were_lost_are_a_finding_that_the_daily_count_sees_too(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    table = table_of(connection, sandbox)
    viv.get(health_of(table))
    clock.move(days=1, minutes=1)
    shrink(sandbox, table, table.count // 2)
    before = sandbox.state()["calls"]
    with app.app_context():
        check_tables()
        assert table_checks.due(clock()) == []
    after = sandbox.state()["calls"]
    assert sum(after.values()) - sum(before.values()) == 1
    # After a day every session has expired.
    viv = Person(app.test_client(), "viv@example.com")
    [finding] = viv.json("/findings.json?rule=rows_dropped")["items"]
    assert finding["connection_id"] == connection.id
    assert f"{table.count // 2:,} rows" in finding["evidence"]
    assert "fewer than before" in words(viv.get(health_of(table)))
    sandbox.clear()
    clock.move(minutes=2)
    viv.get(health_of(table))
    assert viv.json("/findings.json?rule=rows_dropped&state=new")["items"] == []


def test_when_peliqan_is_away_what_was_seen_stays_and_a_deleted_table_is_no_longer_counted(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    viv.get(f"{EVERYTHING}/health")
    clock.move(minutes=2)
    sandbox.fault("table", status=503)
    assert "this is what was seen" in words(viv.get(f"{EVERYTHING}/health"))
    sandbox.clear()
    sandbox.fault("*", status=404, body={"error": "ERROR_TABLE_DOES_NOT_EXIST"})
    viv.get(f"{EVERYTHING}/health", 404)
    clock.move(days=1)
    with app.app_context():
        check_tables()
        assert table_checks.due(clock()) == []
        table = table_checks.watched(1001, 10011900)
        assert table is not None
        assert table.due_at is None


@pytest.mark.parametrize(
    ("values", "count", "empty"),
    [
        ([], 0, []),
        (["a", "b", "a"], 2, []),
        ([None, None, ""], 0, ["K"]),
        ([{"id": 1}, {"id": 1}], 2, []),
        ([1, "1", 1.0], 0, []),
    ],
)
def test_keys_that_are_there_twice_and_columns_without_a_value(
    values: list[Any], count: int, empty: list[str]
) -> None:
    rows = [{"id": number, "K": value} for number, value in enumerate(values)]
    assert table_check_jobs.duplicates(rows, "K") == count
    assert table_check_jobs.empty_columns(rows, [Column(name="K")]) == empty


def test_rows_that_cannot_be_had_offer_to_be_asked_for_again_where_they_would_stand(
    viv: Person, sandbox: Sandbox
) -> None:
    sandbox.fault("rows", status=503)
    address = f"{EVERYTHING}?q=e&sort=-Stars&page=2"
    [link] = [each for each in viv.fragment(address, 502).select("a") if words(each) == "Try again"]
    assert (link["href"], link["hx-get"], link["hx-target"]) == (address, address, "#rows")
    sandbox.clear()
    assert viv.fragment(str(link["href"])).select("#rows")
