"""Administrators choose which customers a user sees."""

import pytest
from flask import Flask
from sqlalchemy import update

from dashboard.core.database import db
from dashboard.fleet.counters import recount
from dashboard.fleet.models import Account
from dashboard.users import customer_access
from dashboard.users import service as users
from tests.support.people import Person, entries, words
from tests.support.restricted_users import INSIDE
from tests.support.statements import counted

pytestmark = pytest.mark.both_engines


def test_an_administrator_says_who_sees_what_and_it_is_written_down(
    app: Flask, viv: Person, adam: Person
) -> None:
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        path = f"/users/{user.id}"
    for wrong in ("", "*", "a*b", "x" * 300):
        assert adam.post(f"{path}/customers", which="some", customers=wrong).status_code == 400
    assert viv.json("/accounts.json")["total"] == 60
    assert (
        adam.post(
            f"{path}/customers", which="some", customers="cust-0001*, cust-00003, cust-0002*"
        ).status_code
        == 303
    )
    assert viv.json("/accounts.json")["total"] == len(INSIDE)
    page = adam.get(path)
    assert "21 now" in words(page)
    assert "cust-00003\ncust-0001*\ncust-0002*" in page.select_one("textarea").text  # type: ignore[union-attr]
    assert (
        entries(adam, what="change_customers")[0]["detail"]
        == "viv@example.com: cust-00003, cust-0001*, cust-0002*"
    )
    assert "some customers" in words(adam.get("/users"))
    assert viv.post(f"{path}/customers", which="all").status_code == 403
    # A rule without a customer is allowed: the customer may come later.
    assert adam.post(f"{path}/customers", which="some", customers="nobody-yet").status_code == 303
    assert viv.json("/connections.json")["total"] == 0
    assert viv.client.get("/").status_code == 200
    assert adam.post(f"{path}/customers", which="all").status_code == 303
    assert viv.json("/accounts.json")["total"] == 60


def test_capitals_and_signs_of_patterns_in_an_id_are_taken_as_they_are(
    app: Flask, adam: Person, viv: Person
) -> None:
    with app.app_context():
        for number, name in (
            (1001, "CUST-00003"),
            (1002, "cust_00003"),
            (1004, "cust%"),
            (1005, None),
        ):
            db.session.execute(update(Account).where(Account.id == number).values(external_id=name))
        recount()
        user = users.find_user("viv@example.com")
        assert user is not None
        customer_access.limit(user, customer_access.read("cust-00003*\ncust_*\n%*"))
    assert {item["account_id"] for item in viv.json("/accounts.json")["items"]} == {1002, 1003}


def test_administrators_see_all_and_so_does_whoever_becomes_one(
    app: Flask, ids: dict[str, int], adam: Person
) -> None:
    with app.app_context():
        user = users.find_user("adam@example.com")
        assert user is not None
        customer_access.limit(user, customer_access.read("cust-00003"))
    assert adam.json("/accounts.json")["total"] == 60


def test_a_limit_costs_no_question_more(app: Flask, viv: Person) -> None:
    def count_statements(path: str) -> int:
        for _ in range(2):
            with counted(app) as statements:
                assert viv.client.get(path).status_code == 200
        return len(statements)

    paths = ("/", "/connections", "/accounts.json", "/causes", "/findings", "/since", "/desk")
    before = {path: count_statements(path) for path in paths}
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        customer_access.limit(user, customer_access.read("cust-*"))
    assert {path: count_statements(path) for path in paths} == before
