"""Sessions: listed and ended by their user and by administrators."""

import re

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from dashboard.core.database import db
from dashboard.users import browser_names
from dashboard.users import service as users
from tests.support.clock import Clock
from tests.support.people import PASSWORD, Person, entries, words
from tests.support.statements import counted

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"
PHONE = f"{IPHONE} {WEBKIT} Mobile/15E148 Safari/604.1"
DESK = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def sign_in(app: Flask, agent: str, email: str = "viv@example.com") -> Person:
    client = app.test_client()
    client.environ_base["HTTP_USER_AGENT"] = agent
    return Person(client, email)


def listed(page: BeautifulSoup) -> dict[str, str]:
    """Return the browsers in the list, each with its button's value; empty without a button."""
    rows = page.select("td[data-label=Browser]")
    buttons = {
        words(row): row.parent.select_one("button[name=which]") for row in rows if row.parent
    }
    assert len(buttons) == len(rows)
    return {browser: str(button["value"]) if button else "" for browser, button in buttons.items()}


def is_in(person: Person) -> bool:
    return person.client.get("/").status_code == 200


def test_one_sees_ones_own_sessions_with_the_browser_and_since_when(
    app: Flask, clock: Clock
) -> None:
    desk = sign_in(app, DESK)
    sign_in(app, DESK, "olga@example.com")
    page = desk.get("/me")
    assert listed(page) == {"Firefox on Linux (this one)": ""}
    assert page.select_one("#end-sessions") is None
    clock.move(minutes=20)
    sign_in(app, PHONE)
    clock.move(minutes=20)
    page = desk.get("/me")
    assert list(listed(page)) == ["Firefox on Linux (this one)", "Safari on an iPhone"]
    section = page.select_one("section[aria-labelledby=sessions]")
    assert section is not None
    assert "40 min" in words(section)
    assert "20 min" in words(section)
    clock.move(minutes=50)
    assert list(listed(desk.get("/me"))) == ["Firefox on Linux (this one)"]


def test_one_ends_one_of_them_and_it_is_out_at_once(app: Flask, adam: Person) -> None:
    desk, phone, other = sign_in(app, DESK), sign_in(app, PHONE), sign_in(app, "curl/8")
    assert is_in(phone)
    shown = listed(desk.get("/me"))
    response = desk.post("/me/sessions/end", which=shown["Safari on an iPhone"], password=PASSWORD)
    assert response.location == "/me"
    assert "That session is ended" in words(desk.get("/me"))
    assert (is_in(desk), is_in(phone), is_in(other)) == (True, False, True)
    desk.post("/me/sessions/end", which=shown["Safari on an iPhone"], password=PASSWORD)
    assert "no such session" in words(desk.get("/me"))
    assert entries(adam, what="end_sessions", who="viv@example.com", result="done")


def test_one_ends_all_others_and_stays(app: Flask) -> None:
    desk, phone, other = sign_in(app, DESK), sign_in(app, PHONE), sign_in(app, "curl/8")
    olga = sign_in(app, DESK, "olga@example.com")
    desk.post("/me/sessions/end", which="others", password=PASSWORD)
    assert (is_in(desk), is_in(phone), is_in(other), is_in(olga)) == (True, False, False, True)
    assert list(listed(desk.get("/me"))) == ["Firefox on Linux (this one)"]


def test_without_the_password_and_of_other_people_nothing_is_ended(
    app: Flask, adam: Person
) -> None:
    desk, phone = sign_in(app, DESK), sign_in(app, PHONE)
    olga, other = sign_in(app, DESK, "olga@example.com"), sign_in(app, PHONE, "olga@example.com")
    number = listed(desk.get("/me"))["Safari on an iPhone"]
    for password in ("", "not it at all"):
        for which in (number, "others"):
            desk.post("/me/sessions/end", which=which, password=password)
            assert "Nothing was ended" in words(desk.get("/me"))
    for which in (number, "", "-1", "1e3", "9" * 40, "²"):
        olga.post("/me/sessions/end", which=which, password=PASSWORD)
        assert "no such session" in words(olga.get("/me"))
    assert all(map(is_in, (desk, phone, olga, other)))
    assert entries(adam, what="end_sessions", who="viv@example.com", result="failed")


def test_who_has_no_password_here_ends_them_soon_after_having_signed_in(
    app: Flask, clock: Clock
) -> None:
    phone, desk = sign_in(app, PHONE), sign_in(app, DESK)
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        user.issuer = "https://login.example.com"
        db.session.commit()
    clock.move(minutes=11)
    assert desk.get("/me").select_one("#session-password") is None
    desk.post("/me/sessions/end", which="others", password=PASSWORD)
    assert "sign out, sign in again" in words(desk.get("/me"))
    assert is_in(phone)
    clock.move(minutes=-2)
    desk.post("/me/sessions/end", which="others")
    assert not is_in(phone)


def test_an_administrator_sees_and_ends_anothers_sessions(app: Flask, adam: Person) -> None:
    phone, olga = sign_in(app, PHONE), sign_in(app, DESK, "olga@example.com")
    with app.app_context():
        numbers = {
            name: user.id
            for name in ("viv", "adam")
            if (user := users.find_user(f"{name}@example.com"))
        }
    path = f"/users/{numbers['viv']}"
    assert list(listed(adam.get(path))) == ["Safari on an iPhone"]
    assert olga.post(f"{path}/sessions/end").status_code == 403
    assert is_in(phone)
    assert adam.post(f"{path}/sessions/end").location == path
    assert (is_in(phone), is_in(olga)) == (False, True)
    assert "Not signed in anywhere" in words(adam.get(path))
    assert adam.post(f"/users/{numbers['adam']}/sessions/end").location == "/me"
    assert is_in(adam)
    assert entries(adam, what="end_sessions", who="adam@example.com", result="done")


def test_a_session_is_noted_as_seen_no_more_than_once_a_minute(app: Flask, clock: Clock) -> None:
    desk = sign_in(app, DESK)
    for seconds, writes in ((30, 0), (20, 0), (20, 1), (30, 0)):
        clock.move(seconds=seconds)
        with counted(app) as statements:
            assert is_in(desk)
        assert len([each for each in statements if each.startswith("UPDATE sign_in")]) == writes, (
            statements
        )


def test_a_page_says_for_how_long_it_may_stay_on_the_screen(app: Flask, clock: Clock) -> None:
    desk = sign_in(app, DESK)
    for hours in (12, 11.5, 11):
        body = desk.get("/").body
        assert body is not None
        assert (body["data-sign-in"], body["data-idle"]) == ("/login", "3600")
        assert int(str(body["data-lasts"])) == pytest.approx(hours * 3600, abs=30)
        clock.move(minutes=30)
    shown = Person(app.test_client()).get("/login")
    assert shown.select_one("[data-signed-out]") is not None
    assert shown.body is not None
    assert "data-idle" not in shown.body.attrs


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        (DESK, "Firefox on Linux"),
        (PHONE, "Safari on an iPhone"),
        (f"{WINDOWS} {CHROME} Safari/537.36", "Chrome on Windows"),
        (f"{WINDOWS} {CHROME} Safari/537.36 Edg/126.0.0.0", "Edge on Windows"),
        (f"{MAC} {WEBKIT} Safari/605.1.15", "Safari on macOS"),
        (
            f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("", "Another browser"),
        ("<b>this one</b>", "Another browser"),
    ],
)
def test_a_browser_is_told_in_words_of_the_consoles_own(agent: str, message: str) -> None:
    assert browser_names.in_words(agent) == message
    assert not re.search(r"[<>&]", message)
