"""Each role on each route of the map: everything that is not allowed is refused."""

import re

import pytest
from flask import Flask

from dashboard.users import service as users
from dashboard.web.required_role import PUBLIC
from tests.security.route_requests import RouteRequest, RouteRequests, ask
from tests.support.people import Person

ROLES = {"viewer": "viv", "operator": "olga", "admin": "adam"}
# Public routes.
OF_EVERYBODY = {
    "people.login", "second.code", "provider.begin", "provider.back", "embed.frame",
    "health.alive", "health.ready", "measured.show",
}  # fmt: skip
# Routes by which viewers change things: their own, or reads.
OF_VIEWERS = {
    "people.logout", "people.create_token", "people.revoke_token", "connections.check",
    "connections.check_rows",
    "connections.check_data", "searches.begin",
    "searches.go_on", "exports.begin", "exports.cancel", "tables.ask", "tables.reveal",
    "passwords.change",
    "second.switch_on", "second.switch_off", "sessions.end",
}  # fmt: skip
# The beginnings of administrators' addresses.
OF_ADMINISTRATORS = ("/audit", "/users", "/webhooks", "/alerts", "/pulls")


@pytest.fixture(scope="module")
def asked(route_requests: RouteRequests) -> list[RouteRequest]:
    return route_requests.all()


def test_every_route_says_who_may_and_nothing_changes_for_less_than_an_operator(
    asked: list[RouteRequest],
) -> None:
    for place in asked:
        assert place.role in {PUBLIC, *users.ROLES}, f"{place} ({place.endpoint}) declares no role"
        if place.role == PUBLIC:
            assert place.endpoint in OF_EVERYBODY, place
        if place.path.startswith(OF_ADMINISTRATORS):
            assert place.role == "admin", place
        if place.method != "GET" and place.endpoint not in OF_EVERYBODY | OF_VIEWERS:
            assert place.role in {"operator", "admin"}, place


@pytest.mark.usefixtures("stubbed_views")
def test_nobody_who_has_not_signed_in_sees_or_does_anything(
    app: Flask, asked: list[RouteRequest]
) -> None:
    client = app.test_client()
    token = Person(client).token("/login")
    for place in asked:
        for how in ({}, {"HX-Request": "true"}):
            answer = ask(client, place, data={"csrf_token": token}, headers=how)
            if place.role == PUBLIC:
                assert answer.status_code == 200, place
            elif place.is_for_scripts or how:
                assert answer.status_code == 401, f"{place}: {answer.status_code}"
            else:
                assert answer.status_code == 302, f"{place}: {answer.status_code}"
                assert answer.location.startswith("/login"), place


@pytest.mark.usefixtures("stubbed_views")
@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_is_for_it_and_nothing_above(
    app: Flask, asked: list[RouteRequest], role: str
) -> None:
    person = Person(app.test_client(), f"{ROLES[role]}@example.com")
    token = person.token()
    for place in asked:
        if place.endpoint in {"people.login", "people.me"}:
            continue
        answer = ask(person.client, place, data={"csrf_token": token})
        if place.role != PUBLIC and users.ROLES.index(str(place.role)) > users.ROLES.index(role):
            assert answer.status_code == 403, f"{place} as {role}: {answer.status_code}"
            assert place.is_for_scripts or f"yours is {role}" in answer.text, place
        else:
            assert (answer.status_code, answer.text) == (200, "opened"), (
                f"{place} as {role}: {answer.status_code}"
            )


def test_a_view_that_declares_no_role_is_shut_even_to_administrators(app: Flask) -> None:
    view = app.view_functions["overview.show"]
    role = view.__dict__.pop("role")
    try:
        assert Person(app.test_client(), "adam@example.com").client.get("/").status_code == 403
        assert Person(app.test_client()).client.get("/").status_code == 302
    finally:
        view.__dict__["role"] = role


def test_what_is_refused_stands_in_the_audit_trail(app: Flask) -> None:
    viv, adam = (Person(app.test_client(), f"{name}@example.com") for name in ("viv", "adam"))
    assert viv.client.get("/users").status_code == 403
    assert [
        item
        for item in adam.json("/audit.json?per_page=25")["items"]
        if (item["what"], item["result"]) == ("admin.users", "refused")
    ]


def test_what_belongs_to_one_person_is_not_found_by_another(
    app: Flask, route_requests: RouteRequests, asked: list[RouteRequest]
) -> None:
    """Exports, SQL results, searches and tokens belong to one user."""
    other = Person(app.test_client(), "viv@example.com")
    token = other.token()
    own = [
        place for place in asked if re.search(r"^/(exports|me/tokens)/\d|/search/\d", place.path)
    ]
    assert len(own) > 5
    for place in own:
        answer = ask(other.client, place, data={"csrf_token": token})
        if place.endpoint == "people.revoke_token":
            assert "no such token" in other.client.get("/me").text
        else:
            assert answer.status_code == 404, f"{place}: {answer.status_code}"
    with app.app_context():
        users.create_user(
            "oscar@example.com",
            "operator",
            "correct horse battery",
            app.extensions["services"].clock(),
        )
    operator = Person(app.test_client(), "oscar@example.com")
    for place in asked:
        if place.method == "GET" and re.match(r"/(answers|questions)/\d", place.path):
            assert ask(operator.client, place).status_code == 404, place
