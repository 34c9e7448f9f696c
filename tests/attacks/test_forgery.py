"""Nothing is done for another site: every form carries its token, and every route that changes anything asks for it."""

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.store import models
from dashboard.store.database import db
from tests.attacks.places import Places, ask
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
            answer = ask(person.client, place, data={"text": "x", "do": "take", "email": "a", "name": "b"})
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
            assert ask(adam.client, place, **carried).status_code == 400, place


def test_reading_changes_nothing_whoever_has_it_read(app: Flask, places: Places) -> None:
    """An image's address on another site is asked for with the cookie where it is followed as a link."""
    adam = Person(app.test_client(), "adam@example.com")
    with app.app_context():
        started = db.session.scalar(select(func.count(models.Action.id)))
    for place in places.all("GET"):
        if place.endpoint.startswith("exports.") and place.is_for_scripts:
            continue
        ask(adam.client, place)
    with app.app_context():
        assert db.session.scalar(select(func.count(models.Action.id))) == started
