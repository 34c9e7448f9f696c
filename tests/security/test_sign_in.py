"""Attacks on signing in: guessed passwords, account discovery, kept or stolen sessions."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from dashboard.app import create_app
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.users import passwords
from dashboard.users import service as users
from dashboard.web.security import limiter
from tests.support.clock import Clock
from tests.support.people import PASSWORD, PASSWORD_HASH, Person
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

VIV, OLGA = "viv@example.com", "olga@example.com"
HOME, OFFICE = "192.0.2.10", "198.51.100.7"


def attempt(
    client: FlaskClient,
    email: str,
    password: str = "a guess that is wrong",
    address: str = HOME,
    **headers: str,
) -> TestResponse:
    """Send one sign-in from an address."""
    seen = {"REMOTE_ADDR": address}
    page = client.get("/login", environ_overrides=seen, headers=headers)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    form = {"csrf_token": token[1], "email": email, "password": password}
    return client.post("/login", data=form, environ_overrides=seen, headers=headers)


def statuses(app: Flask, tries: list[tuple[str, str]]) -> list[int]:
    """Return the response to each attempt (address, account), each with a new browser."""
    return [
        attempt(app.test_client(), email, address=address).status_code for address, email in tries
    ]


@pytest.fixture(autouse=True)
def no_limits_left(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the check of unknown accounts' passwords fast; another test covers it."""
    monkeypatch.setattr(passwords, "_nobodys_hash", lambda: PASSWORD_HASH)
    yield
    with app.app_context():
        limiter.reset()


@pytest.mark.usefixtures("rate_limited")
def test_guessing_one_accounts_password_ends_after_ten_tries_from_wherever_they_come(
    app: Flask,
) -> None:
    found = statuses(app, [(f"203.0.113.{n}", VIV) for n in range(12)])
    assert found == [403] * 10 + [429] * 2


@pytest.mark.usefixtures("rate_limited")
def test_spraying_one_password_over_many_accounts_ends_after_ten_tries_of_an_address(
    app: Flask,
) -> None:
    found = statuses(app, [(HOME, f"person{n}@example.com") for n in range(12)])
    assert found == [403] * 10 + [429] * 2
    assert statuses(app, [(OFFICE, "person99@example.com")]) == [403]


@pytest.mark.usefixtures("rate_limited")
def test_an_ipv6_user_counts_as_one_however_many_addresses_they_have(app: Flask) -> None:
    found = statuses(app, [(f"2001:db8:1:2::{n:x}", f"person{n}@example.com") for n in range(12)])
    assert found == [403] * 10 + [429] * 2
    assert statuses(app, [("2001:db8:1:3::1", "person99@example.com")]) == [403]


@pytest.mark.usefixtures("rate_limited")
def test_who_is_refused_is_told_so_in_words_and_the_right_password_opens_nothing_meanwhile(
    app: Flask,
) -> None:
    statuses(app, [(HOME, VIV)] * 10)
    refused = attempt(app.test_client(), VIV, PASSWORD)
    assert refused.status_code == 429
    assert "Too many attempts" in refused.text
    assert "Wait a minute" in refused.text


@pytest.mark.usefixtures("rate_limited")
def test_strangers_who_use_up_the_attempts_shut_out_nobody_who_has_been_here_before(
    app: Flask,
) -> None:
    """Neither by account nor by the address of a proxy that all clients share."""
    known_browser = app.test_client()
    assert attempt(known_browser, VIV, PASSWORD).status_code == 302
    assert Person(known_browser).post("/logout").status_code == 302
    statuses(app, [(HOME, VIV)] * 12)
    assert attempt(app.test_client(), VIV, PASSWORD).status_code == 429
    assert attempt(known_browser, VIV, PASSWORD).status_code == 302


@pytest.mark.usefixtures("rate_limited")
def test_a_known_browser_has_no_more_tries_than_any_and_is_known_for_one_account_alone(
    app: Flask,
) -> None:
    known_browser = app.test_client()
    assert attempt(known_browser, VIV, PASSWORD).status_code == 302
    Person(known_browser).post("/logout")
    assert [attempt(known_browser, VIV).status_code for _ in range(11)][-1] == 429
    statuses(app, [(HOME, OLGA)] * 10)
    assert attempt(known_browser, OLGA, PASSWORD).status_code == 429


@pytest.mark.usefixtures("rate_limited")
@pytest.mark.parametrize(
    "forged", ["", "x", "x.y", "made-up.AAAAAAAAAAAAAAAAAAAAAAAAAAA", "\udcff"]
)
def test_a_made_up_mark_of_a_known_browser_gives_no_further_tries(app: Flask, forged: str) -> None:
    statuses(app, [(HOME, VIV)] * 10)
    client = app.test_client()
    client.set_cookie("console_browser", forged.encode("utf-8", "replace").decode())
    assert attempt(client, VIV, PASSWORD).status_code == 429


@pytest.mark.usefixtures("rate_limited")
def test_who_has_a_proxy_in_front_and_says_so_is_known_by_their_own_address(
    app: Flask, sandbox_server: Sandbox, folder: Any, clock: Clock
) -> None:
    behind = create_app(make_settings(sandbox_server.url, folder, dashboard_proxies=1), clock=clock)
    found = [
        attempt(
            behind.test_client(),
            f"p{n}@example.com",
            address="10.0.0.1",
            **{"X-Forwarded-For": f"1.2.3.{n}, {HOME}"},
        ).status_code
        for n in range(12)
    ]
    assert found == [403] * 10 + [429] * 2
    assert (
        attempt(
            behind.test_client(), "q@example.com", address="10.0.0.1", **{"X-Forwarded-For": OFFICE}
        ).status_code
        == 403
    )
    # Without a proxy such a header is not trusted.
    with app.app_context():
        limiter.reset()
    found = [
        attempt(
            app.test_client(), f"r{n}@example.com", **{"X-Forwarded-For": f"1.2.3.{n}"}
        ).status_code
        for n in range(12)
    ]
    assert found == [403] * 10 + [429] * 2


@pytest.mark.usefixtures("rate_limited")
def test_whoever_goes_on_trying_does_not_fill_the_audit_trail(app: Flask) -> None:
    def refusals() -> int:
        with app.app_context():
            wanted = select(func.sum(AuditEntry.times)).where(
                AuditEntry.what == "sign_in", AuditEntry.result == "refused"
            )
            return db.session.scalar(wanted) or 0

    before = refusals()
    assert statuses(app, [(OFFICE, VIV)] * 30)[-1] == 429
    assert refusals() == before + 1


def test_an_account_that_is_not_there_costs_what_one_that_is_costs_and_is_told_nothing_else(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count the hashes instead of the time: the hash is the slow part that an attacker notices."""
    monkeypatch.undo()
    with app.app_context():
        user = users.create_user(
            "gone@example.com", "viewer", PASSWORD, app.extensions["services"].clock()
        )
        users.disable(user, app.extensions["services"].clock())
        passwords._nobodys_hash()
    work: list[str] = []
    verify = passwords._hasher.verify

    class Counted:
        @staticmethod
        def verify(password_hash: str, password: str) -> bool:
            # $argon2id$v=19$m=65536,t=3,p=4$salt$hash
            work.append(password_hash.rpartition("$")[0].rpartition("$")[0])
            return bool(verify(password_hash, password))

    monkeypatch.setattr(passwords, "_hasher", Counted)
    answers = {
        email: attempt(app.test_client(), email)
        for email in ("viv@example.com", "nobody@example.com", "gone@example.com")
    }
    answers["gone, with the right one"] = attempt(app.test_client(), "gone@example.com", PASSWORD)
    assert len(work) == len(answers)
    viv, nobody, *removed = work
    assert {nobody} == set(removed) != {viv}
    secret = re.compile(r'value="[^"]*"|"X-CSRFToken": "[^"]*"')
    assert (
        len(
            {(response.status_code, secret.sub("", response.text)) for response in answers.values()}
        )
        == 1
    )
    assert len({tuple(sorted(response.headers.keys())) for response in answers.values()}) == 1


def test_a_session_from_before_signing_in_is_worth_nothing_after_it(app: Flask) -> None:
    """An attacker who sets a cookie in another browser, and waits."""
    attacker = app.test_client()
    attacker.get("/login")
    planted = attacker.get_cookie("console_session")
    assert planted is not None
    victim = app.test_client()
    victim.set_cookie("console_session", planted.value)
    assert attempt(victim, VIV, PASSWORD).status_code == 302
    assert victim.get("/").status_code == 200
    assert attacker.get("/").status_code == 302
    # Nor does the token of its forms.
    token = Person(attacker).token("/login")
    assert victim.post("/me/tokens", data={"csrf_token": token, "name": "x"}).status_code == 400


def test_each_sign_in_has_a_key_of_its_own_that_no_one_can_guess_and_no_cookie_says_who(
    app: Flask,
) -> None:
    cookies = []
    for _ in range(3):
        client = app.test_client()
        assert attempt(client, VIV, PASSWORD).status_code == 302
        cookie = client.get_cookie("console_session")
        assert cookie is not None
        cookies.append(cookie.value)
    opened = [app.session_interface.get_signing_serializer(app).loads(value) for value in cookies]  # type: ignore[attr-defined]
    keys = {each["_user_id"] for each in opened}
    assert len(keys) == 3
    assert all(len(key) >= 43 for key in keys)
    assert not any("viv" in str(each) for each in opened)


@pytest.mark.parametrize("change", ["left", "password", "role", "disabled", "idle", "twelve hours"])
def test_a_stolen_cookie_ends_with_what_ends_the_session(
    app: Flask, clock: Clock, change: str
) -> None:
    services: Services = app.extensions["services"]
    email = f"stolen-{change.replace(' ', '-')}@example.com"
    with app.app_context():
        users.create_user(email, "viewer", PASSWORD, clock()).password_hash = PASSWORD_HASH
        db.session.commit()
    victim, thief = Person(app.test_client()), app.test_client()
    assert attempt(victim.client, email, PASSWORD).status_code == 302
    cookie = victim.client.get_cookie("console_session")
    assert cookie is not None
    thief.set_cookie("console_session", cookie.value)
    assert thief.get("/").status_code == 200
    ahead = clock.ahead
    with app.app_context():
        user = users.find_user(email)
        assert user is not None
        if change == "left":
            assert victim.post("/logout").status_code == 302
        elif change == "password":
            passwords.set_password(user, "another long password", services.clock())
        elif change == "role":
            users.set_role(user, "operator", services.clock())
        elif change == "disabled":
            users.disable(user, services.clock())
    if change == "idle":
        clock.move(minutes=61)
    for _ in range(13 if change == "twelve hours" else 0):
        clock.move(minutes=56)
        thief.get("/")
    try:
        assert thief.get("/").status_code == 302
        assert thief.get("/connections.json").status_code == 401
        assert thief.get("/refresh-status", headers={"HX-Request": "true"}).status_code == 401
    finally:
        clock.ahead = ahead


@pytest.mark.parametrize("tampered", ["cut", "another key", "made up"])
def test_a_cookie_that_the_console_did_not_sign_is_nobodys(app: Flask, tampered: str) -> None:
    client = app.test_client()
    assert attempt(client, VIV, PASSWORD).status_code == 302
    cookie = client.get_cookie("console_session")
    assert cookie is not None
    body, _, signature = cookie.value.rpartition(".")
    other = type("Other", (), {"secret_key": "x" * 40, "config": {"SECRET_KEY_FALLBACKS": []}})()
    values = {
        "cut": f"{body}.{signature[:-3]}",
        "another key": app.session_interface.get_signing_serializer(other).dumps(
            {"_user_id": "1", "_fresh": True}
        ),  # type: ignore[attr-defined]
        "made up": "e30.x.y",
    }
    thief = app.test_client()
    thief.set_cookie("console_session", values[tampered])
    assert thief.get("/").status_code == 302


@pytest.mark.usefixtures("rate_limited")
def test_another_spelling_of_an_address_is_no_other_account_to_guess_at(app: Flask) -> None:
    spellings = (
        "viv@example.com",
        "VIV@EXAMPLE.COM",
        " viv@example.com\u00a0",
        "ｖｉｖ＠example.com",
        "v\u200biv@example.com",
    )
    found = statuses(app, [(f"203.0.113.{n}", spellings[n % len(spellings)]) for n in range(12)])
    assert found == [403] * 10 + [429] * 2
    with app.app_context():
        failed = select(AuditEntry.who).where(
            AuditEntry.what == "sign_in", AuditEntry.result == "failed"
        )
        assert set(db.session.scalars(failed.order_by(AuditEntry.settled_at.desc()).limit(1))) == {
            VIV
        }


@pytest.mark.usefixtures("rate_limited")
def test_a_browser_is_known_for_an_account_in_whatever_spelling_it_is_asked_for(app: Flask) -> None:
    browser = app.test_client()
    assert attempt(browser, "Viv@Example.com", PASSWORD).status_code == 302
    Person(browser).post("/logout")
    statuses(app, [(f"203.0.113.{n}", VIV) for n in range(11)])
    assert attempt(app.test_client(), VIV, PASSWORD, OFFICE).status_code == 429
    assert attempt(browser, "ｖｉｖ＠EXAMPLE.com", PASSWORD).status_code == 302
