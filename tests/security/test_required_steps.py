"""Required steps after signing in, before any other page opens: each route of the map."""

from dataclasses import replace

import pyotp
import pytest
from flask import Flask

from dashboard.core.database import db
from dashboard.users import oidc_users, tokens
from dashboard.users import service as users
from dashboard.web.required_role import PUBLIC
from tests.security.route_requests import RouteRequests, send_request
from tests.support.clock import Clock
from tests.support.people import PASSWORD, PASSWORD_HASH, Person, words

NEW = "quite another horse"


def sign_in(app: Flask, email: str, password: str = PASSWORD, status: int = 302) -> Person:
    person = Person(app.test_client())
    assert (
        person.post("/login", page="/login", email=email, password=password).status_code == status
    )
    return person


def is_shut_but(
    app: Flask, route_requests: RouteRequests, person: Person, page: str, opens: set[str]
) -> None:
    """Check that every route redirects there, except its own, public ones and sign-out."""
    # The CSRF token is the session's. Sign-out is left out: it would end the session.
    token = person.token("/nowhere")
    for request in route_requests.all():
        for how in ({}, {"HX-Request": "true"}):
            response = send_request(person.client, request, data={"csrf_token": token}, headers=how)
            if request.role == PUBLIC or request.endpoint in {*opens, "people.logout"}:
                assert response.status_code in {200, 302}, f"{request}: {response.status_code}"
            elif request.is_for_scripts or how:
                assert response.status_code == 403, f"{request}: {response.status_code}"
                assert request.is_for_scripts or response.headers["HX-Redirect"] == page, request
            else:
                assert (response.status_code, response.location) == (303, page), (
                    f"{request}: {response.status_code}"
                )
    shown = person.get("/nowhere", 404)
    assert shown.select("nav a, #find") == []


@pytest.fixture
def new(app: Flask) -> str:
    """An administrator whose first password was set by another one."""
    adam, email = Person(app.test_client(), "adam@example.com"), "nora@example.com"
    with app.app_context():
        old = users.find_user(email)
        if old is not None:
            old.email = f"old.{old.id}@example.com"
            db.session.commit()
    assert adam.post("/users", email=email, role="admin", password=PASSWORD).status_code == 303
    return email


def test_with_a_first_password_that_another_chose_nothing_opens_but_what_changes_it(
    app: Flask, route_requests: RouteRequests, new: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("stubbed_views")
    is_shut_but(
        app,
        route_requests,
        sign_in(app, new),
        "/me/password",
        {"passwords.show", "passwords.change"},
    )


def test_a_first_password_is_good_for_choosing_another_and_never_becomes_the_last(
    app: Flask, new: str
) -> None:
    person = sign_in(app, new)
    form = {"page": "/me/password", "current": PASSWORD}
    assert "Somebody else chose your password" in person.get("/me/password").text
    same = person.post("/me/password", new=PASSWORD, again=PASSWORD, **form)
    assert same.status_code == 400
    assert "choose another" in same.text
    assert person.client.get("/").location == "/me/password"
    assert person.post("/me/password", new=NEW, again=NEW, **form).status_code == 303
    assert "Somebody else" not in person.get("/me/password").text
    assert person.client.get("/users").status_code == 200
    sign_in(app, new, PASSWORD, 403)
    assert sign_in(app, new, NEW).client.get("/").status_code == 200


def test_who_is_handed_over_to_a_provider_has_no_password_to_change(app: Flask, new: str) -> None:
    with app.app_context():
        user = users.find_user(new)
        assert user is not None
        assert user.password_given
        oidc_users.hand_over(user, "https://login.example.com")
        assert user.password_given
        vouched = oidc_users.OidcIdentity(
            "https://login.example.com", "s1", new, verified=True, role="admin"
        )
        oidc_users.provision_user(vouched, app.extensions["services"].clock())
        assert not user.password_given


def test_a_password_that_one_chose_oneself_asks_for_nothing(app: Flask) -> None:
    with app.app_context():
        made = users.create_user(
            "own@example.com", "viewer", PASSWORD, app.extensions["services"].clock()
        )
        made.password_hash = PASSWORD_HASH
        db.session.commit()
    assert sign_in(app, "own@example.com").client.get("/").status_code == 200


@pytest.fixture
def two_factor_required(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewers and administrators must have a second factor."""
    parts = app.extensions["services"]
    settings = parts.settings.model_copy(update={"dashboard_second_factor_roles": "viewer, admin"})
    monkeypatch.setitem(app.extensions, "services", replace(parts, settings=settings))


@pytest.mark.usefixtures("two_factor_required", "stubbed_views")
def test_with_a_role_that_needs_a_second_factor_nothing_opens_but_what_sets_it_up(
    app: Flask, route_requests: RouteRequests
) -> None:
    person = sign_in(app, "adam@example.com")
    is_shut_but(
        app, route_requests, person, "/me/second-factor", {"second.new", "second.switch_on"}
    )
    assert sign_in(app, "olga@example.com").client.get("/").text == "opened"


@pytest.mark.usefixtures("two_factor_required")
def test_once_it_is_set_up_everything_opens_and_without_it_again_nothing_does(
    app: Flask, clock: Clock
) -> None:
    person = sign_in(app, "viv@example.com")
    page = person.get("/me/second-factor")
    assert "nothing else opens until then" in words(page)
    assert page.find("a", string="Cancel") is None
    secret = str(page.select_one("code").text).replace(" ", "")  # type: ignore[union-attr]
    sealed = str(page.select_one("input[name=sealed]")["value"])  # type: ignore[index]
    form = {"page": "/me/second-factor", "sealed": sealed, "password": PASSWORD}
    assert person.post("/me/second-factor", code="000000", **form).status_code == 403
    assert person.client.get("/").location == "/me/second-factor"
    assert (
        "Recovery codes"
        in person.post("/me/second-factor", code=pyotp.TOTP(secret).at(clock()), **form).text
    )
    assert person.client.get("/").status_code == 200
    clock.move(seconds=60)
    person.post("/me/second-factor/remove", code=pyotp.TOTP(secret).at(clock()), password=PASSWORD)
    assert person.client.get("/").location == "/me/second-factor"


@pytest.mark.usefixtures("two_factor_required")
def test_who_comes_from_a_provider_and_what_an_access_token_opens_are_not_asked_for_it(
    app: Flask,
) -> None:
    person, script = sign_in(app, "viv@example.com"), app.test_client()
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        token = tokens.new_token(user, "report", app.extensions["services"].clock()).value
    assert (
        script.get("/accounts.json", headers={"Authorization": f"Bearer {token}"}).status_code
        == 200
    )
    for issuer, status in ((None, 403), ("https://login.example.com", 200), (None, 403)):
        with app.app_context():
            user = users.find_user("viv@example.com")
            assert user is not None
            user.issuer = issuer
            db.session.commit()
        assert person.client.get("/accounts.json").status_code == status, issuer


@pytest.mark.usefixtures("two_factor_required")
def test_a_password_that_another_chose_is_changed_before_the_second_factor_is_set_up(
    app: Flask,
) -> None:
    at = app.extensions["services"].clock()
    with app.app_context():
        made = users.create_user("both@example.com", "viewer", PASSWORD, at, given=True)
        made.password_hash = PASSWORD_HASH
        db.session.commit()
    person = sign_in(app, "both@example.com")
    assert person.client.get("/me/second-factor").location == "/me/password"
    assert (
        person.post(
            "/me/password", page="/me/password", current=PASSWORD, new=NEW, again=NEW
        ).status_code
        == 303
    )
    assert person.client.get("/").location == "/me/second-factor"
