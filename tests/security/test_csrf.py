"""Cross-site request forgery: every route that changes anything needs its form's token."""

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.core.database import db
from tests.security.route_requests import RouteRequests, send_request
from tests.support.people import Person

CHANGING = ("POST", "PUT", "PATCH", "DELETE")


def counts(app: Flask) -> dict[str, int]:
    """Return the number of rows of each table, without those that a refusal writes."""
    with app.app_context():
        found = {
            table.name: db.session.scalar(select(func.count()).select_from(table)) or 0
            for table in db.metadata.sorted_tables
            if table.name not in {"audit_entry", "sign_in"}
        }
        db.session.remove()
        return found


def test_without_its_token_no_route_does_anything_for_anybody(
    app: Flask, route_requests: RouteRequests
) -> None:
    before, requests = counts(app), 0
    people = [Person(app.test_client(), "adam@example.com"), Person(app.test_client())]
    for request in route_requests.all(*CHANGING):
        for person in people:
            response = send_request(
                person.client, request, data={"text": "x", "do": "take", "email": "a", "name": "b"}
            )
            assert response.status_code == 400, f"{request}: {response.status_code}"
            assert "too old" in response.text, request
            requests += 1
    assert requests > 100
    assert counts(app) == before


@pytest.mark.parametrize("wrong", ["", "x", "of another session"])
def test_a_token_that_is_none_or_anothers_opens_nothing(
    app: Flask, route_requests: RouteRequests, wrong: str
) -> None:
    adam, other = (
        Person(app.test_client(), "adam@example.com"),
        Person(app.test_client(), "olga@example.com"),
    )
    token = other.token() if wrong == "of another session" else wrong
    for number, request in enumerate(route_requests.all(*CHANGING)):
        carried = (
            {"headers": {"X-CSRFToken": token}} if number % 2 else {"data": {"csrf_token": token}}
        )
        assert send_request(adam.client, request, **carried).status_code == 400, request
