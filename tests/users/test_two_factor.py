"""The second factor: set-up, sign-in, recovery, removal."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pyotp
import pytest
from flask import Flask

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.users import keys, passwords
from dashboard.users import service as users
from dashboard.users.limits import RECOVERY_CODES
from dashboard.users.models import RecoveryCode, User
from dashboard.web.security import limiter
from tests.support.clock import Clock
from tests.support.people import PASSWORD, Person, entries, words


def now(secret: str, clock: Clock, off: int = 0) -> str:
    return pyotp.TOTP(secret).at(clock() + timedelta(seconds=30 * off))


def set_up(person: Person, clock: Clock) -> tuple[str, list[str]]:
    """Set up a second factor; return the secret and the recovery codes."""
    page = person.get("/me/second-factor")
    secret = str(page.select_one("code").text).replace(" ", "")  # type: ignore[union-attr]
    sealed = str(page.select_one("input[name=sealed]")["value"])  # type: ignore[index]
    shown = person.post(
        "/me/second-factor", sealed=sealed, code=now(secret, clock), password=PASSWORD
    )
    assert shown.status_code == 200, shown.text
    clock.move(seconds=60)
    return secret, re.findall(r"\b(?:[a-z2-7]{6}-){3}[a-z2-7]{6}\b", shown.text)


def half_in(person: Person) -> None:
    response = person.post("/login", page="/login", email="viv@example.com", password=PASSWORD)
    assert response.location == "/login/code"


@pytest.fixture
def counted(app: Flask) -> Iterator[None]:
    limiter.enabled = True
    limiter.reset()
    yield
    limiter.reset()
    limiter.enabled = False


def test_after_the_password_a_code_is_asked_for_and_before_it_nothing_opens(
    viv: Person, mallory: Person, clock: Clock
) -> None:
    secret, _ = set_up(viv, clock)
    half_in(mallory)
    assert mallory.client.get("/").status_code == 302
    assert mallory.client.get("/accounts.json").status_code == 401
    assert mallory.post("/login/code", page="/login/code", code="000000").status_code == 403
    assert mallory.client.get("/").status_code == 302
    code = now(secret, clock)
    assert (
        mallory.post("/login/code", page="/login/code", code=f"{code[:3]} {code[3:]}").location
        == "/"
    )
    assert mallory.client.get("/").status_code == 200


def test_signing_in_with_a_code_leads_back_to_where_one_was_going(
    viv: Person, mallory: Person, clock: Clock
) -> None:
    secret, _ = set_up(viv, clock)
    mallory.post(
        "/login", page="/login", email="viv@example.com", password=PASSWORD, next="/causes"
    )
    assert (
        mallory.post("/login/code", page="/login/code", code=now(secret, clock)).location
        == "/causes"
    )


def test_a_code_is_good_once_and_so_is_none_before_it(
    app: Flask, viv: Person, mallory: Person, clock: Clock
) -> None:
    secret, _ = set_up(viv, clock)
    half_in(mallory)
    earlier, code = now(secret, clock, -1), now(secret, clock)
    assert mallory.post("/login/code", page="/login/code", code=code).status_code == 302
    thief = Person(app.test_client())
    half_in(thief)
    for used in (code, earlier):
        assert thief.post("/login/code", page="/login/code", code=used).status_code == 403
    clock.move(seconds=30)
    assert thief.post("/login/code", page="/login/code", code=now(secret, clock)).status_code == 302


def test_a_clock_may_be_half_a_minute_off_and_no_more(
    app: Flask, viv: Person, clock: Clock
) -> None:
    secret, _ = set_up(viv, clock)
    for off, works in ((-2, False), (2, False), (-1, True), (1, True)):
        person = Person(app.test_client())
        half_in(person)
        response = person.post("/login/code", page="/login/code", code=now(secret, clock, off))
        assert (response.status_code == 302) is works, off


def test_a_recovery_code_signs_in_once_and_is_kept_as_a_hash_alone(
    app: Flask, viv: Person, mallory: Person, clock: Clock, adam: Person
) -> None:
    _, codes = set_up(viv, clock)
    assert len(set(codes)) == RECOVERY_CODES
    with app.app_context():
        hashes = [row.code_hash for row in db.session.scalars(db.select(RecoveryCode))]
    assert sorted(hashes) == sorted(keys.hashed(code.replace("-", "")) for code in codes)
    half_in(mallory)
    assert mallory.post("/login/code", page="/login/code", code=codes[0].upper()).status_code == 302
    assert "7 left" in words(mallory.get("/me"))
    assert codes[1] not in mallory.client.get("/me").text
    other = Person(app.test_client())
    half_in(other)
    assert other.post("/login/code", page="/login/code", code=codes[0]).status_code == 403
    assert entries(adam, what="sign_in", who="viv@example.com", result="failed")
    assert {"With a recovery code."} <= {
        item["detail"] for item in entries(adam, what="sign_in", who="viv@example.com")
    }


def test_the_secret_rests_encrypted_and_is_shown_on_the_form_alone(
    app: Flask, viv: Person, services: Services, clock: Clock
) -> None:
    secret, _ = set_up(viv, clock)
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        assert user.totp_secret is not None
        assert secret.encode() not in user.totp_secret
        assert services.vault.decrypt(user.totp_secret) == secret
    for path in ("/me", "/"):
        assert secret not in viv.client.get(path).text
    assert viv.client.get("/me/second-factor").status_code == 302


def test_it_is_set_up_only_with_the_password_and_a_code_of_the_new_secret(
    app: Flask, viv: Person, olga: Person, clock: Clock
) -> None:
    page = viv.get("/me/second-factor")
    assert page.select_one("svg path") is not None
    secret = str(page.select_one("code").text).replace(" ", "")  # type: ignore[union-attr]
    sealed = str(page.select_one("input[name=sealed]")["value"])  # type: ignore[index]
    good = {"sealed": sealed, "code": now(secret, clock), "password": PASSWORD}
    for wrong in ({"code": "123456"}, {"password": "not it at all"}):
        assert viv.post("/me/second-factor", **{**good, **wrong}).status_code == 403
    for wrong in ({"sealed": ""}, {"sealed": "x"}):
        assert viv.post("/me/second-factor", **{**good, **wrong}).status_code == 303
    # A secret made for one user is refused for others.
    assert olga.post("/me/second-factor", **good).status_code == 303
    with app.app_context():
        assert not db.session.scalars(db.select(User).where(User.totp_secret.is_not(None))).all()


def test_it_is_removed_with_both_by_oneself_and_by_an_administrator_for_another(
    app: Flask, viv: Person, adam: Person, mallory: Person, clock: Clock
) -> None:
    secret, _ = set_up(viv, clock)
    assert "second factor" in words(adam.get("/users"))
    viv.post("/me/second-factor/remove", code="000000", password=PASSWORD)
    viv.post("/me/second-factor/remove", code=now(secret, clock), password="not it at all")
    assert "On: after your password" in words(viv.get("/me"))
    viv.post("/me/second-factor/remove", code=now(secret, clock), password=PASSWORD)
    assert "Set it up" in words(viv.get("/me"))
    assert (
        mallory.post("/login", page="/login", email="viv@example.com", password=PASSWORD).location
        == "/"
    )
    set_up(viv, clock)
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        path = f"/users/{user.id}"
    assert viv.post(f"{path}/second-factor/remove").status_code == 403
    adam.get(path)
    assert adam.post(f"{path}/second-factor/remove").status_code == 303
    assert (
        Person(app.test_client())
        .post("/login", page="/login", email="viv@example.com", password=PASSWORD)
        .location
        == "/"
    )
    assert {item["who"] for item in entries(adam, what="second_factor_off", result="done")} == {
        "viv@example.com",
        "adam@example.com",
    }


def test_the_password_holds_for_five_minutes_and_while_it_is_theirs(
    app: Flask, viv: Person, mallory: Person, clock: Clock, services: Services
) -> None:
    secret, _ = set_up(viv, clock)
    half_in(mallory)
    clock.move(minutes=6)
    assert mallory.client.get("/login/code").location.startswith("/login?next=")
    half_in(mallory)
    token = mallory.token("/login/code")
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        passwords.set_password(user, "another long password", services.clock())
    response = mallory.client.post(
        "/login/code", data={"csrf_token": token, "code": now(secret, clock)}
    )
    assert response.location.startswith("/login")
    assert mallory.client.get("/").status_code == 302
    assert Person(app.test_client()).client.get("/login/code").status_code == 302


@pytest.mark.usefixtures("counted")
def test_guessing_codes_is_limited_as_guessing_passwords_is(
    app: Flask, viv: Person, mallory: Person, adam: Person, clock: Clock
) -> None:
    secret, _ = set_up(viv, clock)
    half_in(mallory)
    token = mallory.token("/login/code")
    answers = [
        mallory.client.post("/login/code", data={"csrf_token": token, "code": "000000"}).status_code
        for _ in range(12)
    ]
    assert answers == [403] * 10 + [429] * 2
    assert "Too many attempts." in {
        item["detail"]
        for item in entries(adam, what="sign_in", who="viv@example.com", result="refused")
    }
    elsewhere = Person(app.test_client())
    half_in(elsewhere)
    token = elsewhere.token("/login/code")
    away = {"REMOTE_ADDR": "198.51.100.7"}
    assert (
        elsewhere.client.post(
            "/login/code", data={"csrf_token": token, "code": now(secret, clock)}, environ_base=away
        ).status_code
        == 429
    )
