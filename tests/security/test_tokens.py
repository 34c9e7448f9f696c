"""Personal access tokens read lists with their owner's role; they are shown once only."""

import logging
import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.core.database import db
from dashboard.users import keys, tokens
from dashboard.users import service as users
from dashboard.users.models import AccessToken
from tests.security.route_requests import RouteRequests, send_request
from tests.support.people import Person


def token_of(person: Person, name: str = "of a script") -> str:
    shown = re.search(r"pc_[\w-]{40,}", person.post("/me/tokens", name=name).text)
    assert shown is not None
    return shown.group()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.usefixtures("stubbed_views")
@pytest.mark.parametrize(
    ("name", "role"), [("viv", "viewer"), ("olga", "operator"), ("adam", "admin")]
)
def test_a_token_opens_the_lists_of_its_owners_role_and_no_page_and_no_action(
    app: Flask, route_requests: RouteRequests, name: str, role: str
) -> None:
    script = app.test_client()
    with app.app_context():
        owner = users.find_user(f"{name}@example.com")
        assert owner is not None
        token = tokens.new_token(owner, "of a script", app.extensions["services"].clock()).value
    csrf = Person(script).token("/login")
    for request in route_requests.all():
        if request.role == "public" or not (request.is_for_scripts or name == "viv"):
            continue
        response = send_request(script, request, headers=bearer(token), data={"csrf_token": csrf})
        if request.method != "GET" or not request.is_for_scripts:
            assert response.status_code == 302, f"{request}: {response.status_code}"
            assert response.location.startswith("/login"), request
        elif users.ROLES.index(str(request.role)) > users.ROLES.index(role):
            assert response.status_code == 403, f"{request}: {response.status_code}"
        else:
            assert response.text == "opened", f"{request}: {response.status_code}"


def test_a_token_begins_no_session(app: Flask) -> None:
    token, script = token_of(Person(app.test_client(), "viv@example.com")), app.test_client()
    assert script.get("/connections.json", headers=bearer(token)).status_code == 200
    assert script.get("/connections.json").status_code == 401
    assert script.get("/").status_code == 302


@pytest.mark.parametrize("end", ["revoked", "its owner shut out"])
def test_a_token_that_has_ended_opens_nothing_from_the_next_request_on(
    app: Flask, end: str
) -> None:
    with app.app_context():
        users.create_user(
            f"{end.replace(' ', '.')}@example.com",
            "viewer",
            "correct horse battery",
            app.extensions["services"].clock(),
        )
    owner = Person(app.test_client())
    owner.post(
        "/login",
        page="/login",
        email=f"{end.replace(' ', '.')}@example.com",
        password="correct horse battery",
    )
    token, script = token_of(owner), app.test_client()
    assert script.get("/accounts.json", headers=bearer(token)).status_code == 200
    if end == "revoked":
        owner.post(str(owner.get("/me").select_one("form[action*='/revoke']")["action"]))  # type: ignore[index]
    else:
        with app.app_context():
            user = users.find_user(f"{end.replace(' ', '.')}@example.com")
            assert user is not None
            users.disable(user, app.extensions["services"].clock())
    assert script.get("/accounts.json", headers=bearer(token)).status_code == 401


def test_a_token_follows_its_owners_role_at_once(app: Flask) -> None:
    with app.app_context():
        users.create_user(
            "demoted@example.com",
            "admin",
            "correct horse battery",
            app.extensions["services"].clock(),
        )
    owner, script = Person(app.test_client()), app.test_client()
    owner.post(
        "/login", page="/login", email="demoted@example.com", password="correct horse battery"
    )
    token = token_of(owner)
    assert script.get("/users.json", headers=bearer(token)).status_code == 200
    with app.app_context():
        user = users.find_user("demoted@example.com")
        assert user is not None
        users.set_role(user, "viewer", app.extensions["services"].clock())
    assert script.get("/users.json", headers=bearer(token)).status_code == 403


@pytest.mark.parametrize(
    "given", ["", "pc_", "pc_" + "A" * 43, "x" * 5000, "\u00e9", "%00", "' OR '1'='1"]
)
def test_what_is_no_token_opens_nothing(app: Flask, given: str) -> None:
    headers = {"Authorization": b"Bearer ".decode() + given.encode("utf-8").decode("latin-1")}
    assert app.test_client().get("/connections.json", headers=headers).status_code == 401


def test_a_token_in_an_address_opens_nothing(app: Flask) -> None:
    token = token_of(Person(app.test_client(), "viv@example.com"))
    for name in ("token", "access_token", "authorization", "api_key"):
        assert app.test_client().get(f"/connections.json?{name}={token}").status_code == 401


def test_a_token_stands_in_no_log_no_page_and_not_in_the_store(
    app: Flask, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    viv, adam, script = (
        Person(app.test_client(), "viv@example.com"),
        Person(app.test_client(), "adam@example.com"),
        app.test_client(),
    )
    token = token_of(viv, "seen once")
    for path in ("/connections.json", "/users.json", "/nowhere.json", "/connections.json?page=x"):
        assert token not in script.get(path, headers=bearer(token)).text
    for page in (
        viv.client.get("/me"),
        adam.client.get("/audit"),
        adam.client.get("/audit.json"),
        adam.client.get("/users.json"),
    ):
        assert token not in page.text
        assert token[9:] not in page.text
    assert token not in caplog.text
    with app.app_context():
        token_row = db.session.scalars(
            select(AccessToken).where(AccessToken.name == "seen once")
        ).one()
        assert token_row.token_hash == keys.hashed(token)
        assert token_row.start == token[:9]
        db.session.remove()
    stored = b"".join(path.read_bytes() for path in folder.glob("console.db*"))
    assert token.encode() not in stored
