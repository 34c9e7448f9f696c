"""The button "Check the data": the warehouse's figures and their findings."""

from typing import Any

import pytest

from dashboard.findings.models import DataCheck
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox


def line(person: Person, connection: Any) -> str:
    found = person.get(path_of(connection)).select_one("#data-check")
    assert found is not None
    return words(found)


@pytest.mark.parametrize("htmx", [True, False])
def test_a_viewer_has_the_data_checked_and_reads_what_is_wrong(
    viv: Person, sandbox: Sandbox, htmx: bool
) -> None:
    connection = sandbox.healthy
    assert line(viv, connection).startswith("Data not checked yet")
    sandbox.set(connection.id, data_fault="duplicate_keys")
    response = viv.post(path_of(connection, "/data-check"), htmx=htmx)
    text = response.text if htmx else words(viv.get(path_of(connection)))
    count = len(connection.connector.tables)
    assert f"The warehouse counted {count} table" in text
    page = viv.get(path_of(connection))
    assert page.select('[data-rule="duplicate_keys"]')
    assert f"{count} table" in line(viv, connection)
    assert "counted just now" in line(viv, connection)
    [item] = viv.json("/findings.json?rule=duplicate_keys")["items"]
    assert (item["connection_id"], item["severity"], item["contradicts"]) == (
        connection.id,
        "critical",
        True,
    )
    assert f"“{connection.connector.name}_" in item["evidence"]


def test_within_a_minute_the_warehouse_is_not_asked_again(
    viv: Person, sandbox: Sandbox, clock: Clock
) -> None:
    path = path_of(sandbox.healthy, "/data-check")
    viv.post(path, htmx=True)
    before = sandbox.state()["calls"]
    assert "checked less than a minute ago" in viv.post(path, htmx=True).text
    assert sandbox.state()["calls"]["proxy_db"] == before["proxy_db"]
    clock.move(seconds=61)
    assert "The warehouse counted" in viv.post(path, htmx=True).text


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"route": "proxy_db", "status": 403}, "Peliqan does not allow this for this customer."),
        ({"route": "default_dw_info", "status": 503}, "The data could not be checked."),
        ({"route": "proxy_db", "kind": "truncated"}, "The data could not be checked."),
    ],
)
def test_a_warehouse_that_does_not_answer_is_said_and_the_last_figures_stay(
    viv: Person, sandbox: Sandbox, clock: Clock, fault: dict[str, Any], text: str
) -> None:
    connection = sandbox.healthy
    viv.post(path_of(connection, "/data-check"), htmx=True)
    clock.move(minutes=2)
    sandbox.fault(**fault)
    assert text in viv.post(path_of(connection, "/data-check"), htmx=True).text
    assert "counted 2 minutes ago" in line(viv, connection)


def test_the_databases_own_words_are_shown_without_values(
    viv: Person, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouses = sandbox.app.extensions["sandbox"].warehouses
    refusal = [{"status": "failed", "error": "permission denied for schema <b>"}]
    monkeypatch.setattr(warehouses, "execute", lambda *_: iter(refusal))
    response = viv.post(path_of(sandbox.healthy, "/data-check"), htmx=True)
    assert "The data could not be checked." in response.text
    assert "Peliqan says: permission denied for schema …." in response.text
    assert "&lt;b&gt;" not in response.text


def test_a_stranger_and_an_unknown_connection_get_nothing(
    mallory: Person, viv: Person, sandbox: Sandbox
) -> None:
    path = path_of(sandbox.healthy, "/data-check")
    assert mallory.post(path, page="/login").location.startswith("/login")
    assert viv.client.get(path).status_code == 405
    assert viv.client.post(path).status_code == 400
    assert viv.post("/accounts/1001/connections/1/data-check").status_code == 404
    assert not viv.get("/accounts/1001/connections/100100").select("#data-check")
    assert "proxy_db" not in sandbox.state()["calls"]


def test_figures_hold_no_row_of_a_customer(viv: Person, sandbox: Sandbox, app: Any) -> None:
    from dashboard.core.database import db

    connection = sandbox.healthy
    viv.post(path_of(connection, "/data-check"), htmx=True)
    with app.app_context():
        stored = db.session.get(DataCheck, (connection.account_id, connection.id))
        assert stored is not None
        kinds = {
            "name",
            "key",
            "version",
            "deleted",
            "received",
            "rows",
            "keys",
            "versions",
            "received_at",
        }
        assert {name for table in stored.tables for name in table} == kinds
