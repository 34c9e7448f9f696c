"""Each role on each route of the map: everything that is not allowed is refused."""

import re

import pytest
from flask import Flask

from dashboard.users import service as users
from dashboard.web.required_role import PUBLIC
from tests.security.route_requests import RouteRequest, RouteRequests, send_request
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
def all_requests(route_requests: RouteRequests) -> list[RouteRequest]:
    return route_requests.all()


def test_every_route_says_who_may_and_nothing_changes_for_less_than_an_operator(
    all_requests: list[RouteRequest],
) -> None:
    for request in all_requests:
        assert request.role in {PUBLIC, *users.ROLES}, (
            f"{request} ({request.endpoint}) declares no role"
        )
        if request.role == PUBLIC:
            assert request.endpoint in OF_EVERYBODY, request
        if request.path.startswith(OF_ADMINISTRATORS):
            assert request.role == "admin", request
        if request.method != "GET" and request.endpoint not in OF_EVERYBODY | OF_VIEWERS:
            assert request.role in {"operator", "admin"}, request


@pytest.mark.usefixtures("stubbed_views")
def test_nobody_who_has_not_signed_in_sees_or_does_anything(
    app: Flask, all_requests: list[RouteRequest]
) -> None:
    client = app.test_client()
    token = Person(client).token("/login")
    for request in all_requests:
        for how in ({}, {"HX-Request": "true"}):
            response = send_request(client, request, data={"csrf_token": token}, headers=how)
            if request.role == PUBLIC:
                assert response.status_code == 200, request
            elif request.is_for_scripts or how:
                assert response.status_code == 401, f"{request}: {response.status_code}"
            else:
                assert response.status_code == 302, f"{request}: {response.status_code}"
                assert response.location.startswith("/login"), request


@pytest.mark.usefixtures("stubbed_views")
@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_is_for_it_and_nothing_above(
    app: Flask, all_requests: list[RouteRequest], role: str
) -> None:
    person = Person(app.test_client(), f"{ROLES[role]}@example.com")
    token = person.token()
    for request in all_requests:
        if request.endpoint in {"people.login", "people.me"}:
            continue
        response = send_request(person.client, request, data={"csrf_token": token})
        if request.role != PUBLIC and users.ROLES.index(str(request.role)) > users.ROLES.index(
            role
        ):
            assert response.status_code == 403, f"{request} as {role}: {response.status_code}"
            assert request.is_for_scripts or f"yours is {role}" in response.text, request
        else:
            assert (response.status_code, response.text) == (200, "opened"), (
                f"{request} as {role}: {response.status_code}"
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
    app: Flask, route_requests: RouteRequests, all_requests: list[RouteRequest]
) -> None:
    """Exports, SQL results, searches and tokens belong to one user."""
    other = Person(app.test_client(), "viv@example.com")
    token = other.token()
    own = [
        request
        for request in all_requests
        if re.search(r"^/(exports|me/tokens)/\d|/search/\d", request.path)
    ]
    assert len(own) > 5
    for request in own:
        response = send_request(other.client, request, data={"csrf_token": token})
        if request.endpoint == "people.revoke_token":
            assert "no such token" in other.client.get("/me").text
        else:
            assert response.status_code == 404, f"{request}: {response.status_code}"
    with app.app_context():
        users.create_user(
            "oscar@example.com",
            "operator",
            "correct horse battery",
            app.extensions["services"].clock(),
        )
    operator = Person(app.test_client(), "oscar@example.com")
    for request in all_requests:
        if request.method == "GET" and re.match(r"/(answers|questions)/\d", request.path):
            assert send_request(operator.client, request).status_code == 404, request
