"""The button "Look at the rows", and the list's filter for connections that are wrongly OK."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from dashboard.context import Services
from dashboard.fleet import queries
from dashboard.refresh import live
from tests.support.clock import Clock
from tests.support.factories import dark_fleet
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox

NAME = "_sdc_received_at"


def line(person: Person, connection: Any) -> str:
    found = person.get(path_of(connection)).select_one("#newest-row")
    assert found is not None
    return words(found)


def make_stale(app: Flask, services: Services, sandbox: Sandbox, connection: Any) -> None:
    """Let the connection's runs succeed while its newest row is days old."""
    with app.app_context():
        row = live.read_connection(
            services.api, connection.account_id, connection.id, services.clock()
        )
        assert row.last_success_at is not None
        old = row.last_success_at - timedelta(seconds=connection.interval, days=3)
    sandbox.fault(
        "rows", body={"count": 1, "results": [{"id": 1, "order": "1", NAME: old.isoformat()}]}
    )


def test_a_viewer_looks_at_the_rows_without_javascript_and_reads_when_the_newest_came(
    viv: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    assert line(viv, connection).startswith("Newest row not looked at yet")
    [button] = viv.get(path_of(connection)).select("#newest-row form button")
    assert words(button) == "Look at the rows"
    response = viv.post(path_of(connection, "/rows-check"))
    assert (response.status_code, response.location) == (303, path_of(connection))
    page = viv.get(path_of(connection))
    assert "when a row was received." in words(page.select_one("#main .alert"))  # type: ignore[arg-type]
    [newest, checked] = [each["datetime"] for each in page.select("#newest-row time")]
    assert newest == sandbox.life.last_received(connection).replace(microsecond=0).isoformat()
    assert str(checked) > str(newest)
    assert "received" in line(viv, connection)
    assert "looked at just now" in line(viv, connection)


def test_with_htmx_the_connections_part_comes_back_with_what_was_found(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    make_stale(app, services, sandbox, connection)
    response = viv.post(path_of(connection, "/rows-check"), htmx=True)
    assert response.status_code == 200
    assert response.text.lstrip().startswith('<div id="connection"')
    assert 'data-rule="stale_rows"' in response.text
    assert "the newest row in its tables is 3 d" in response.text
    assert "when a row was received." in response.text
    assert viv.get(path_of(connection)).select("#main .alert") == []
    [item] = viv.json("/findings.json?contradicts=yes&rule=stale_rows")["items"]
    assert item["connection_id"] == connection.id


def test_where_no_table_says_when_a_row_was_received_the_page_says_so(
    viv: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sandbox.fault("fields", body=[{"id": 1, "name": "Nr", "primary": True}])
    count = len(connection.connector.tables)
    response = viv.post(path_of(connection, "/rows-check"), htmx=True)
    assert f"None of its {count} tables says when a row was received." in response.text
    assert "not known: no row says when it was received" in line(viv, connection)
    assert "looked at just now" in line(viv, connection)


@pytest.mark.parametrize("htmx", [True, False])
def test_an_api_that_fails_is_said_softly_and_the_last_known_stays(
    viv: Person, sandbox: Sandbox, htmx: bool
) -> None:
    connection = sandbox.healthy
    viv.post(path_of(connection, "/rows-check"), htmx=True)
    before = [each["datetime"] for each in viv.get(path_of(connection)).select("#newest-row time")]
    sandbox.fault("applications", status=403)
    response = viv.post(path_of(connection, "/rows-check"), htmx=htmx)
    page = viv.get(path_of(connection))
    text = response.text if htmx else words(page)
    assert "The rows could not be looked at. Peliqan does not allow this for this customer." in text
    assert [each["datetime"] for each in page.select("#newest-row time")] == before


def test_names_of_tables_that_come_from_outside_are_text(viv: Person, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    name = f"{connection.connector.name}_<script>alert(1)</script>\ud800"
    sandbox.fault("tables", body=[{"id": 1, "name": name}])
    sandbox.fault("fields", status=400)
    response = viv.post(path_of(connection, "/rows-check"), htmx=True)
    assert response.status_code == 200
    assert "<script>" not in response.text
    assert "1 could not be read" in response.text
    assert viv.post(path_of(connection, "/rows-check")).status_code == 303
    assert "<script>alert(1)" in words(viv.get(path_of(connection)))


def test_a_stranger_and_an_unknown_connection_get_nothing(
    mallory: Person, viv: Person, sandbox: Sandbox
) -> None:
    path = path_of(sandbox.healthy, "/rows-check")
    assert mallory.post(path, page="/login").location.startswith("/login")
    assert viv.client.get(path).status_code == 405
    assert viv.client.post(path).status_code == 400
    assert viv.post("/accounts/1001/connections/1/rows-check").status_code == 404
    assert "applications" not in sandbox.state()["calls"]


def test_the_warehouse_has_no_rows_of_a_connector_to_look_at(viv: Person, app: Flask) -> None:
    with app.app_context():
        warehouse = queries.connection_or_none(1001, 100100)
        assert warehouse is not None
        assert warehouse.is_warehouse
    assert not viv.get("/accounts/1001/connections/100100").select("#newest-row")


def test_above_the_list_of_connections_stands_the_way_to_what_says_ok_and_is_not(
    viv: Person, app: Flask, clock: Clock
) -> None:
    with app.app_context():
        dark_fleet(clock, 12)
    lane = viv.json("/findings.json?contradicts=yes")["total"]
    assert lane >= 12
    for path in ("/connections", "/connections?severity=error"):
        link = viv.get(path).select_one(".page-header a#says-ok-but")
        assert link is not None
        assert words(link) == f"Says OK, but ({lane})"
        assert link["href"] == "/findings?contradicts=yes"
    assert len(viv.get(str(link["href"])).select("tr[data-account-id]")) == min(lane, 50)
    assert not viv.fragment("/connections").select("#says-ok-but")


def test_where_nothing_contradicts_itself_there_is_no_such_way(viv: Person, olga: Person) -> None:
    for item in viv.json("/findings.json?contradicts=yes&per_page=200")["items"]:
        olga.post(f"/findings/{item['id']}/suppress", days="1", reason="Known")
    assert not viv.get("/connections").select("#says-ok-but")
