"""The search for one value in all tables of a connection."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.peliqan import Column
from dashboard.tables.search import jobs as search_jobs
from dashboard.tables.search import service as searches
from dashboard.tables.search.matching import found_in
from dashboard.tables.search.models import ValueSearch
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox


def tables_of(sandbox: Sandbox, connection: Any) -> list[Any]:
    tables = sandbox.app.extensions["sandbox"].tables.of_account(
        connection.account_id, [(connection.id % 100, connection.connector)]
    )
    return [each for each in tables if each.connection_id == connection.id]


def open_search(person: Person, connection: Any, value: str) -> str:
    """Start a search, and return its address."""
    response = person.post(path_of(connection, "/search"), value=value)
    assert response.status_code == 303
    return str(response.location)


def start_search(person: Person, connection: Any, value: str) -> Any:
    """Run the search to its end as a browser without scripts, and return its page."""
    return to_its_end(person, open_search(person, connection, value))


def to_its_end(person: Person, url: str) -> Any:
    for _ in range(300):
        page = person.get(url)
        if page.select_one("#search")["data-state"] == "ended":  # type: ignore[index]
            return page
        assert person.post(url).status_code == 303
    raise AssertionError("it has no end")


def test_the_connections_page_asks_and_the_answer_leads_to_the_row(
    viv: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    table = next(
        each for each in tables_of(sandbox, connection) if each.kind == "money" and each.count > 100
    )
    form = viv.get(path_of(connection)).select_one(".search-value")
    assert form is not None
    assert (form["method"], form["action"]) == ("post", path_of(connection, "/search"))
    page = start_search(viv, connection, " 2026-00042 ")
    lines = [words(each) for each in page.select("#search tbody tr")]
    assert f"{table.name} 42 Number is exactly it" in lines
    link = next(
        each["href"]
        for each in page.select("#search .row-link")
        if f"/tables/{table.id}/" in each["href"]
    )
    assert "2026-00042" in words(viv.get(str(link)))
    assert "Found in" in words(page.select_one("#search [role=status]"))


def test_a_masked_column_says_that_it_is_found_and_shows_nothing_else(
    viv: Person, sandbox: Sandbox
) -> None:
    connection = next(
        each
        for account in sandbox.life.accounts(0, 60)
        for each in sandbox.life.connections(account.id)
        if any(table.kind == "people" and table.count > 20 for table in tables_of(sandbox, each))
    )
    assert not [
        row
        for row in start_search(viv, connection, "TACT7@example").select("#search tbody tr")
        if "E-mail" in words(row)
    ]
    page = start_search(viv, connection, "CONTACT7@example.com")
    [line] = [each for each in map(words, page.select("#search tbody tr")) if " 7 " in each]
    assert line.endswith("7 E-mail masked is exactly it")
    assert "contact7@example.com" not in page.get_text()


def test_what_is_nowhere_is_said_with_how_many_rows_were_read(
    viv: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    rows = sum(table.count for table in tables_of(sandbox, connection))
    text = words(start_search(viv, connection, "no such value").select_one("#search [role=status]"))
    count = len(tables_of(sandbox, connection))
    assert text == f"Not found in the {rows:,} rows read: these are all the rows of {count} tables."


def test_beyond_the_bound_it_says_which_tables_were_not_read(
    viv: Person, sandbox: Sandbox, monkeypatch: Any
) -> None:
    connection = sandbox.healthy
    first, *_ = tables_of(sandbox, connection)
    monkeypatch.setattr(search_jobs, "SEARCHED_ROWS", 200)
    many = [{"id": number, "Number": "x"} for number in range(200)]
    sandbox.fault("rows", match=str(first.id), body={"count": 900, "next": None, "results": many})
    text = words(start_search(viv, connection, "no such value").select_one("#search [role=status]"))
    assert text.startswith("Not found in the 200 rows read; ")
    assert f"“{first.name}” (the first 200 of 900 rows were)" in text
    assert "(Peliqan's search found nothing there)" in text


def test_the_value_is_in_no_address_no_audit_and_no_store_in_clear_and_only_whoever_asked_sees_it(
    viv: Person, olga: Person, app: Flask, sandbox: Sandbox
) -> None:
    connection, value = sandbox.healthy, "jane.doe@example.com"
    url = open_search(viv, connection, value)
    assert url == path_of(connection, "/search/1")
    assert value in words(viv.get(url))
    assert value in words(viv.get(path_of(connection, "/search")))
    olga.get(url, 404)
    assert olga.post(url).status_code == 404
    assert value not in words(olga.get(path_of(connection, "/search")))
    with app.app_context():
        [entry] = db.session.scalars(select(AuditEntry).where(AuditEntry.what == "search"))
        assert (entry.who, entry.connection_id) == ("viv@example.com", connection.id)
        assert value not in entry.detail
        [row] = db.session.execute(db.text("select value, places, hits from value_search"))
        assert value.encode() not in bytes(row.value)


def test_pressed_twice_it_is_one_search_and_a_reload_asks_nothing_twice(
    viv: Person, app: Flask, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    url = open_search(viv, connection, "no such value")
    assert open_search(viv, connection, "no such value") == url
    to_its_end(viv, url)
    before = sandbox.state()["calls"]
    viv.get(url)
    viv.post(url)
    assert sandbox.state()["calls"] == before


def test_another_tab_waits_while_one_has_its_turn_and_one_that_died_is_followed(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    url = open_search(viv, sandbox.healthy, "no such value")
    with app.app_context():
        search = db.session.scalars(select(ValueSearch)).one()
        assert searches.lease(search, clock())
    before = sandbox.state()["calls"]
    part = viv.post(url, htmx=True)
    assert 'data-state="moves"' in part.text
    assert "load delay" in part.text
    assert sandbox.state()["calls"] == before
    clock.move(minutes=2)
    to_its_end(viv, url)
    clock.move(days=1)
    with app.app_context():
        assert searches.delete_old(clock()) == 1


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        (
            {"route": "fields", "status": 404, "body": {"error": "ERROR_TABLE_DOES_NOT_EXIST"}},
            "not read",
        ),
        ({"route": "rows", "kind": "html"}, "not read"),
        (
            {
                "route": "rows",
                "body": {"count": 400, "next": "x", "results": [{"id": n} for n in range(200)]},
            },
            "Its pages repeat",
        ),
    ],
    ids=["deleted", "no JSON", "pages that repeat"],
)
def test_a_table_that_cannot_be_read_is_named_and_the_others_are_read(
    viv: Person, sandbox: Sandbox, fault: dict[str, Any], note: str
) -> None:
    connection = sandbox.healthy
    first, *_ = tables_of(sandbox, connection)
    sandbox.fault(match=str(first.id), **fault)
    text = words(start_search(viv, connection, "no such value").select_one("#search [role=status]"))
    assert "1 table not read: " in text
    assert f"“{first.name}”" in text
    assert note in text


def test_where_the_api_refuses_to_search_the_rows_are_read(viv: Person, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    table = next(
        each for each in tables_of(sandbox, connection) if each.kind == "money" and each.count > 100
    )
    refusal = {"error": "ERROR_INVALID_SEARCH_MODE", "detail": "No search here."}
    sandbox.fault("rows", match=str(table.id), status=400, body=refusal, times=1)
    page = start_search(viv, connection, "2026-00042")
    assert f"{table.name} 42 Number is exactly it" in [
        words(each) for each in page.select("#search tbody tr")
    ]


def test_when_peliqan_is_away_it_stops_and_goes_on_by_its_button(
    viv: Person, sandbox: Sandbox
) -> None:
    url = open_search(viv, sandbox.healthy, "no such value")
    sandbox.fault("applications", status=429, headers={"Retry-After": "600"})
    part = viv.post(url, htmx=True).text
    assert "It stopped half-way" in part
    assert "load delay" not in part
    sandbox.clear()
    assert "Not found in" in words(to_its_end(viv, url).select_one("#search [role=status]"))


@pytest.mark.parametrize("value", ["", " x ", "x" * 201, "\u200b\u200b\u200b", "x\u00ad\u00ad"])
def test_a_value_too_short_or_too_long_is_not_searched(
    viv: Person, sandbox: Sandbox, value: str
) -> None:
    response = viv.post(path_of(sandbox.healthy, "/search"), value=value)
    assert response.location == path_of(sandbox.healthy, "/search")
    assert "Nothing was searched." in words(viv.get(response.location))


@pytest.mark.parametrize(
    "value", ['"quoted", with', "🏴‍☠️ emoji", "100 %", "<script>alert(1)", "مرحبا", "a\0b"]
)
def test_odd_values_are_looked_for_as_they_are(viv: Person, sandbox: Sandbox, value: str) -> None:
    page = start_search(viv, sandbox.healthy, value)
    assert "Not found in" in words(page.select_one("#search [role=status]"))
    assert page.select("#search script") == []


@pytest.mark.parametrize(
    ("cell", "type", "wanted", "exact"),
    [
        ("INV-1", "text", "inv-1", True),
        ("INV-12", "text", "INV-1", False),
        ("12.50", "number", "12.5", True),
        (12, "number", "12.0", True),
        ("100%", "text", "%", False),
        ([{"id": 7, "value": "Open", "color": "blue"}], "multiple_select", "open", True),
        ([{"id": 7, "value": "Open", "color": "blue"}], "multiple_select", "blue", None),
        ({"url": "https://example.com/i/1", "label": None}, "formula", "example.com", False),
        (True, "boolean", "True", None),
        (True, "password", "True", None),
        (None, "text", "None", None),
        pytest.param(10**5000, "number", "1e5000", None, id="a very long number"),
        ("NaN", "formula", "nan", True),
        ("STRASSE", "text", "straße", True),
        ("École", "text", "ÉCOLE", True),
        ("École", "text", "ecole", None),
        ("Ko\u0308ln", "text", "köln", True),
        ("Crédit\u00a0 Agricole SA", "text", "crédit agricole", False),
        ("ﬁnance", "text", "Finance", True),
        ("İstanbul", "text", "ISTANBUL", True),
        ("２０２６", "text", "2026", True),
        ("micro\u00adchip", "text", "microchip", True),
        ("anything", "text", "\u200b", None),
    ],
)
def test_a_value_is_found_in_a_cell_in_its_words_alone(
    cell: Any, type: str, wanted: str, exact: bool | None
) -> None:
    found = found_in({"id": 1, "C": cell}, [Column(name="C", type=type)], wanted)
    assert [each for _, each in found] == ([] if exact is None else [exact])


def test_a_value_that_is_typed_in_another_spelling_is_found_and_is_the_same_search(
    viv: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    table = next(
        each for each in tables_of(sandbox, connection) if each.kind == "money" and each.count > 100
    )
    page = start_search(viv, connection, "２０２６\u200b-00042\u00a0")
    assert f"{table.name} 42 Number is exactly it" in [
        words(each) for each in page.select("#search tbody tr")
    ]
    assert open_search(viv, connection, "2026-00042") == open_search(
        viv, connection, "２０２６-00042"
    )
