"""Masked columns on pages: masked for all but administrators, until revealed with a reason."""

from typing import Any

import pytest
from bs4 import BeautifulSoup

from dashboard.masking.rule_file import MASKED
from dashboard.sandbox.route_helpers import tables_of
from tests.support.clock import Clock
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


WHY = "The customer asks which address got the invoice."
NAMES = ["Full name", "E-mail", "Phone"]


@pytest.fixture
def table(sandbox: Sandbox) -> str:
    """Return the path of a table of people."""
    with sandbox.app.app_context():
        for account in sandbox.life.accounts(0, 20):
            for each in tables_of(account.id):
                if each.kind == "people" and each.count > 60:
                    return f"/accounts/{account.id}/tables/{each.id}"
    raise LookupError("no table of people")


@pytest.mark.parametrize("name", ["viv", "olga"])
def test_personal_columns_are_masked_wherever_rows_leave_the_console(
    engine: str, name: str, table: str, request: Any
) -> None:
    person: Person = request.getfixturevalue(name)
    for path in (
        table,
        f"{table}?q=1.example.com",
        f"{table}?column=E-mail",
        f"{table}/rows/1",
        f"{table}/rows/1/cell?column=E-mail",
    ):
        soup = person.get(path)
        assert MASKED in str(soup), path
        assert "@example.com" not in str(soup).replace(f"{name}@example.com", ""), path
    assert "(name of a person)" in str(person.get(table).select_one("td .cell-masked")["title"])
    found = person.json(f"{table}.json")
    assert found["masked"] == NAMES
    assert {item["E-mail"] for item in found["items"]} == {MASKED}
    assert {item["Website"] for item in found["items"]} != {MASKED}
    csv = person.client.get(f"{table}.csv").text
    assert MASKED in csv
    assert "@example.com" not in csv


def test_a_search_and_a_condition_still_find_a_row_by_a_masked_value(
    viv: Person, table: str
) -> None:
    assert viv.json(f"{table}.json?filter__E-mail__equal=contact7@example.com")["total"] == 1


def test_an_administrator_sees_all_and_which_columns_others_do_not(
    adam: Person, table: str
) -> None:
    soup = adam.get(table)
    assert "contact1@example.com" in str(soup)
    assert (
        "Masked for all but administrators: Full name (name of a person), E-mail (e-mail address)"
        in words(soup)
    )
    assert len(soup.select("thead [title^='Others see it masked']")) == 3
    assert adam.json(f"{table}.json")["masked"] == []


def reason_form(soup: BeautifulSoup) -> Any:
    return soup.select_one("form[action$='/reveal']")


def test_who_says_why_sees_the_columns_for_a_quarter_of_an_hour_and_it_is_written_down(
    viv: Person, olga: Person, adam: Person, table: str, clock: Clock
) -> None:
    form = reason_form(viv.get(f"{table}?page=2&per_page=25&column=E-mail"))
    back = form.select_one("input[name=next]")["value"]
    response = viv.post(form["action"], why=WHY, next=back)
    assert (response.status_code, response.location) == (302, back)
    soup = viv.get(response.location)
    assert "contact26@example.com" in str(soup)
    assert "until" in words(soup)
    assert reason_form(soup) is None
    assert "contact26@example.com" in viv.client.get(f"{table}.csv?page=2&per_page=25").text
    assert viv.json(f"{table}.json")["masked"] == []
    assert MASKED in str(olga.get(table))
    assert WHY in words(adam.get("/audit"))
    clock.move(minutes=16)
    assert "contact26@example.com" not in str(viv.get(response.location))


def test_a_reveal_holds_for_one_table_alone(viv: Person, table: str, sandbox: Sandbox) -> None:
    viv.post(f"{table}/reveal", why=WHY)
    assert viv.json("/accounts/1001/tables/10011900.json")["masked"] == ["Secret"]


def test_without_a_reason_nothing_is_shown(viv: Person, table: str) -> None:
    response = viv.post(f"{table}/reveal", why="  x ")
    soup = viv.get(response.location)
    assert "Nothing was shown. Say in a few words why" in words(soup)
    assert MASKED in str(soup)


@pytest.mark.parametrize(
    "target", ["https://example.com/", "//example.com", "/users", "/accounts/1001\\evil"]
)
def test_the_way_back_is_to_the_table_and_nowhere_else(
    viv: Person, table: str, target: str
) -> None:
    assert viv.post(f"{table}/reveal", why=WHY, next=target).location == table


def test_an_administrator_decides_over_the_rules_and_leaves_it_to_them_again(
    viv: Person, adam: Person, table: str
) -> None:
    def decide(column: str, decision: str) -> list[str]:
        assert adam.post(f"{table}/masks", column=column, decision=decision).status_code == 302
        found: list[str] = viv.json(f"{table}.json")["masked"]
        return found

    assert decide("Notes", "mask") == [*NAMES, "Notes"]
    assert decide("Phone", "show") == ["Full name", "E-mail", "Notes"]
    assert "Decided by an administrator: Notes (masked), Phone (shown)" in words(adam.get(table))
    assert "masked by an administrator" in str(viv.get(table))
    assert decide("Phone", "rules") == [*NAMES, "Notes"]
    assert decide("Notes", "rules") == NAMES
    assert "“Notes”: masked" in words(adam.get("/audit"))


def test_what_an_administrator_cannot_decide_is_told(adam: Person, table: str) -> None:
    assert adam.post(f"{table}/masks", column="Nowhere", decision="mask").status_code == 400
    assert adam.post(f"{table}/masks", column="Notes", decision="burn").status_code == 400


def test_others_decide_nothing(olga: Person, table: str) -> None:
    assert not olga.get(table).select("form[action$='/masks']")
    assert olga.post(f"{table}/masks", column="Phone", decision="show").status_code == 403
    assert "Phone" in olga.json(f"{table}.json")["masked"]


def test_a_table_of_another_customer_cannot_be_revealed_here(viv: Person, table: str) -> None:
    account = table.split("/")[2]
    other = "1001" if account != "1001" else "1002"
    assert viv.post(table.replace(account, other, 1) + "/reveal", why=WHY).status_code == 403


def test_what_is_empty_is_seen_to_be_empty_and_a_masked_cell_is_not_whole_on_demand(
    viv: Person, adam: Person, table: str
) -> None:
    adam.post(f"{table}/masks", column="Notes", decision="mask")
    notes = [item["Notes"] for item in viv.json(f"{table}.json")["items"]]
    assert notes[:3] == [None, None, MASKED]
    assert "Met at the fair" not in str(viv.fragment(f"{table}/rows/3/cell?column=Notes"))
    assert "Met at the fair" not in str(viv.get(f"{table}/rows/3"))
