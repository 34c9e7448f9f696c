"""Nothing is done for another site: every form carries its token, and every route that changes anything asks for it."""

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import func, select

from dashboard.store import models
from dashboard.store.database import db
from tests.attacks.places import Places
from tests.conftest import Person

CHANGING = ("POST", "PUT", "PATCH", "DELETE")


def counts(app: Flask) -> dict[str, int]:
    """How many rows each table has, but for what a refusal itself leaves, and who was seen."""
    with app.app_context():
        found = {
            table.name: db.session.scalar(select(func.count()).select_from(table)) or 0
            for table in db.metadata.sorted_tables
            if table.name not in {"audit_entry", "sign_in"}
        }
        db.session.remove()
        return found


def test_without_its_token_no_route_does_anything_for_anybody(app: Flask, places: Places) -> None:
    before, asked = counts(app), 0
    people = [Person(app.test_client(), "adam@example.com"), Person(app.test_client())]
    for place in places.all(*CHANGING):
        for person in people:
            answer = person.client.open(
                place.path, method=place.method, data={"text": "x", "do": "take", "email": "a", "name": "b"}
            )
            assert answer.status_code == 400, f"{place}: {answer.status_code}"
            assert "too old" in answer.text, place
            asked += 1
    assert asked > 100
    assert counts(app) == before


@pytest.mark.parametrize("wrong", ["", "x", "of another session"])
def test_a_token_that_is_none_or_anothers_opens_nothing(app: Flask, places: Places, wrong: str) -> None:
    adam, other = Person(app.test_client(), "adam@example.com"), Person(app.test_client(), "olga@example.com")
    token = other.token() if wrong == "of another session" else wrong
    for place in places.all(*CHANGING):
        for carried in ({"data": {"csrf_token": token}}, {"headers": {"X-CSRFToken": token}}):
            assert adam.client.open(place.path, method=place.method, **carried).status_code == 400, place


def test_reading_changes_nothing_whoever_has_it_read(app: Flask, places: Places) -> None:
    """An image's address on another site is asked for with the cookie where it is followed as a link."""
    adam = Person(app.test_client(), "adam@example.com")
    with app.app_context():
        started = db.session.scalar(select(func.count(models.Action.id)))
    for place in places.all("GET"):
        if place.endpoint.startswith("exports.") and place.is_for_scripts:
            continue
        adam.client.get(place.path)
    with app.app_context():
        assert db.session.scalar(select(func.count(models.Action.id))) == started


def test_a_form_of_every_page_carries_its_token_and_leads_to_this_console(app: Flask, places: Places) -> None:
    adam, forms = Person(app.test_client(), "adam@example.com"), 0
    for place in places.all("GET"):
        for how in ({}, {"HX-Request": "true"}):
            answer = adam.client.get(place.path, headers=how)
            if answer.mimetype != "text/html":
                continue
            for form in BeautifulSoup(answer.text, "html.parser").select("form"):
                action = str(form["action"])
                assert action.startswith("/"), f"{place}: {action}"
                assert not action.startswith("//"), f"{place}: {action}"
                if str(form.get("method", "get")).lower() == "post":
                    forms += 1
                    assert form.select("input[name=csrf_token][value]"), f"{place}: {action}"
                else:
                    assert not form.select("input[name=csrf_token], input[type=password]"), (
                        f"{place}: {action} puts it into an address"
                    )
    assert forms > 60


def test_no_other_site_may_read_an_answer_and_none_is_asked_for_with_the_cookie(app: Flask, places: Places) -> None:
    adam = Person(app.test_client(), "adam@example.com")
    for place in places.all("GET"):
        answer = adam.client.get(place.path, headers={"Origin": "https://evil.example"})
        assert not [name for name in answer.headers if name[0].startswith("Access-Control-")], place
    preflight = adam.client.options(
        "/connections", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert "Access-Control-Allow-Origin" not in preflight.headers
    cookie = app.test_client().get("/login").headers["Set-Cookie"]
    assert "SameSite=Lax" in cookie
