"""What every answer carries, whatever it is: nobody frames it, guesses its kind, keeps it or learns where one came from."""

import pytest
from flask import Flask

from dashboard.app import create_app
from tests.attacks.places import Place, Places
from tests.attacks.seeded import make_one_of_each
from tests.conftest import Person, Sandbox, make_settings

KEPT_FROM_OTHERS = "no-store"


@pytest.fixture(scope="module")
def answers(app: Flask, places: Places, folder: object) -> list[tuple[Place, object]]:
    from pathlib import Path

    olga, adam = (Person(app.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
    make_one_of_each(app, olga, adam, Path(str(folder)), "Of the test")
    person = Person(app.test_client(), "adam@example.com")
    found: list[tuple[Place, object]] = [(place, person.client.get(place.path)) for place in places.all("GET")]
    for path, status in (("/nowhere", 404), ("/connections?page=x", 400), ("/accounts/1/connections/1.json", 404)):
        answer = person.client.get(path)
        assert answer.status_code == status
        found.append((Place("", "GET", path, None), answer))
    found.append((Place("", "POST", "/logout", None), person.client.post("/logout")))
    found.append((Place("", "GET", "/ signed out", None), app.test_client().get("/")))
    return found


def test_no_answer_is_kept_by_a_browser_or_anything_on_the_way(answers: list[tuple[Place, object]]) -> None:
    files = 0
    for place, answer in answers:
        assert answer.headers["Cache-Control"] == KEPT_FROM_OTHERS, place  # type: ignore[attr-defined]
        assert "Expires" not in answer.headers, place  # type: ignore[attr-defined]
        files += place.endpoint == "exports.file" and answer.status_code == 200  # type: ignore[attr-defined]
    assert files == 1


def test_every_answer_says_how_it_may_be_used(answers: list[tuple[Place, object]]) -> None:
    for place, answer in answers:
        headers = answer.headers  # type: ignore[attr-defined]
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["object-src"] == policy["base-uri"] == "'none'", place
        assert "unsafe-inline" not in policy["script-src"], place
        assert "unsafe-eval" not in policy["script-src"], place
        assert "*" not in policy["script-src"], place
        assert policy["frame-ancestors"] == ("'self'" if place.endpoint == "embed.frame" else "'none'"), place
        assert headers["X-Content-Type-Options"] == "nosniff", place
        assert headers["Referrer-Policy"] == "same-origin", place
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", place
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin", place
        assert headers["Permissions-Policy"], place
        assert "charset=utf-8" in headers["Content-Type"] or not headers["Content-Type"].startswith("text/"), place


def test_files_are_attachments_whose_names_are_the_consoles_own(answers: list[tuple[Place, object]]) -> None:
    for place, answer in answers:
        if place.path.partition("?")[0].endswith((".csv", ".parquet")) and answer.status_code == 200:  # type: ignore[attr-defined]
            told = answer.headers["Content-Disposition"]  # type: ignore[attr-defined]
            assert told.startswith("attachment; filename=")
            assert told.partition("filename=")[2].strip('"').replace("-", "").replace(".", "").isalnum(), told


def test_over_https_the_cookies_are_bound_to_this_host_and_the_browser_stays_with_https(
    sandbox_server: Sandbox, app: Flask, folder: object
) -> None:
    from pathlib import Path

    served = create_app(make_settings(sandbox_server.url, Path(str(folder)), dashboard_insecure_cookies=False))
    client = served.test_client()
    page = client.get("/login", base_url="https://localhost")
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert page.headers["Set-Cookie"].startswith("__Host-console_session=")
    person = Person(client)
    token = page.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert token
    answer = person.client.post(
        "/login",
        base_url="https://localhost",
        headers={"Referer": "https://localhost/login"},
        data={"csrf_token": token, "email": "viv@example.com", "password": "correct horse battery"},
    )
    assert answer.status_code == 302, answer.text[:500]
    for cookie in answer.headers.getlist("Set-Cookie"):
        parts = {part.strip() for part in cookie.split(";")[1:]}
        assert {"Secure", "HttpOnly", "SameSite=Lax"} <= parts, cookie
        assert not any(part.startswith("Domain") for part in parts), cookie
        assert len(cookie.partition(";")[0]) < 4096
