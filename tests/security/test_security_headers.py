"""Security headers of every response.

They are about framing, type sniffing, caching, cross-origin reads and the referrer.
Every form must lead to the console and have its token.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from dashboard.actions.models import Action
from dashboard.app import create_app
from dashboard.bulk.models import BulkJob
from dashboard.core.database import db
from dashboard.exports.models import Export
from dashboard.notes.models import Note
from dashboard.sql.models import QueryRun
from dashboard.users.models import AccessToken, User, UserSession
from tests.security.route_requests import RouteRequest, RouteRequests, send_request
from tests.support.people import PASSWORD, Person
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

# The longest address that browsers, proxies and mail programs accept.
LONGEST_ADDRESS = 2_000
ELSEWHERE = {"Origin": "https://evil.example"}


@dataclass(frozen=True)
class Answered:
    """A response to a request that comes from another site."""

    request: RouteRequest
    response: TestResponse

    def __str__(self) -> str:
        return f"{self.request} ({self.response.status_code})"


@pytest.fixture(scope="module")
def answers(app: Flask, route_requests: RouteRequests) -> list[Answered]:
    """Every GET route, as a page and as a fragment, and its refusals."""
    person, before = Person(app.test_client(), "adam@example.com"), _done(app)
    found = [
        Answered(request, send_request(person.client, request, headers={**ELSEWHERE, **how}))
        for request in route_requests.all("GET")
        for how in ({}, {"HX-Request": "true"})
        if not (how and request.is_for_scripts)
    ]
    assert _done(app) == before, (
        "a GET must change nothing: browsers load an image's address without asking"
    )
    for path in ("/nowhere", "/connections?page=x", "/accounts/1/connections/1.json"):
        found.append(
            Answered(
                RouteRequest("", "GET", path, None), person.client.get(path, headers=ELSEWHERE)
            )
        )
    for endpoint, response in (
        ("without its token", person.client.post("/logout")),
        ("signed out", app.test_client().get("/")),
        (
            "no such method",
            person.client.options(
                "/connections", headers={**ELSEWHERE, "Access-Control-Request-Method": "POST"}
            ),
        ),
    ):
        found.append(Answered(RouteRequest(endpoint, "", "", None), response))
    return found


@pytest.fixture(scope="module")
def shown(answers: list[Answered]) -> list[tuple[Answered, BeautifulSoup]]:
    """The HTML responses, parsed once."""
    return [
        (each, BeautifulSoup(each.response.text, "html.parser"))
        for each in answers
        if each.response.mimetype == "text/html"
    ]


def _done(app: Flask) -> dict[str, int]:
    """The numbers of stored rows that users can create."""
    made = (
        Action,
        Note,
        Export,
        BulkJob,
        QueryRun,
        AccessToken,
        User,
        UserSession,
    )
    with app.app_context():
        found = {
            model.__tablename__: db.session.scalar(select(func.count(model.id))) or 0
            for model in made
        }
        db.session.remove()
        return found


def test_reading_does_nothing_whoever_has_it_asked_for(answers: list[Answered]) -> None:
    """Compare them after requests to every route (``answers``); no session is started either."""
    assert len(answers) > 180
    for each in answers:
        if each.request.endpoint not in {"signed out", "people.login"}:
            assert "_user_id" not in each.response.headers.get("Set-Cookie", ""), each


def test_no_answer_is_kept_by_a_browser_or_anything_on_the_way(answers: list[Answered]) -> None:
    for each in answers:
        assert each.response.headers["Cache-Control"] == "no-store", each
        assert "Expires" not in each.response.headers, each
    assert (
        next(
            each.response.status_code for each in answers if each.request.endpoint == "exports.file"
        )
        == 200
    )


def test_every_answer_says_how_it_may_be_used(answers: list[Answered]) -> None:
    for each in answers:
        headers = each.response.headers
        policy = dict(
            part.strip().partition(" ")[::2]
            for part in headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == policy["object-src"] == policy["base-uri"] == "'none'", each
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:", "https:"} & set(
            policy["script-src"].split()
        ), each
        assert policy["frame-ancestors"] == (
            "'self'" if each.request.endpoint == "embed.frame" else "'none'"
        ), each
        assert headers["X-Content-Type-Options"] == "nosniff", each
        assert headers["Referrer-Policy"] == "same-origin", each
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", each
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin", each
        assert headers["Permissions-Policy"], each
        if headers.get("Content-Type", "").startswith("text/"):
            assert headers["Content-Type"].endswith("; charset=utf-8"), each


def test_no_other_site_may_read_an_answer_and_none_is_asked_for_with_the_cookie(
    app: Flask, answers: list[Answered]
) -> None:
    for each in answers:
        assert not [
            name for name, _ in each.response.headers if name.startswith("Access-Control-")
        ], each
    assert "SameSite=Lax" in app.test_client().get("/login").headers["Set-Cookie"]


def test_files_are_attachments_whose_names_are_the_consoles_own(answers: list[Answered]) -> None:
    files = 0
    for each in answers:
        if (
            each.request.path.endswith((".csv", ".parquet", "/file"))
            and each.response.status_code == 200
        ):
            disposition = each.response.headers["Content-Disposition"]
            assert disposition.startswith("attachment; filename="), each
            assert (
                disposition.partition("filename=")[2]
                .strip('"')
                .replace("-", "")
                .replace(".", "")
                .isalnum()
            ), disposition
            files += 1
    assert files > 15


def test_a_form_of_every_page_carries_its_token_and_leads_to_this_console(
    shown: list[tuple[Answered, BeautifulSoup]],
) -> None:
    forms = 0
    for each, page in shown:
        for form in page.find_all("form"):
            action = str(form["action"])
            assert action == "#" or (action.startswith("/") and not action.startswith("//")), (
                f"{each}: {action}"
            )
            if str(form.get("method", "get")).lower() == "post":
                forms += 1
                assert form.select("input[name=csrf_token][value]"), f"{each}: {action}"
            else:
                assert not form.select("input[name=csrf_token], input[type=password]"), (
                    f"{each}: {action} puts it into an address"
                )
    assert forms > 60


def _longest(form: Tag) -> int:
    """Return the length of the longest address that a GET form leads to, of plain letters."""
    length = len(str(form["action"]))
    page = next(each for each in form.parents if each.parent is None)
    theirs = page.select(f"[form='{form['id']}']") if form.has_attr("id") else []
    for field in [*form.select("input[name], select[name], textarea[name]"), *theirs]:
        kind = field.get("type", "text")
        if field.name == "select":
            filled = max(
                [
                    len(quote_plus(str(each.get("value", each.text))))
                    for each in field.select("option")
                ],
                default=0,
            )
        elif kind in {"hidden", "checkbox", "radio", "submit"}:
            filled = len(quote_plus(str(field.get("value", "on"))))
        else:
            # A field without a limit makes an address of any length.
            filled = int(
                str(field.get("maxlength", "10000" if kind in {"text", "search"} else "20"))
            )
        length += len(str(field.get("name", ""))) + filled + 2
    return length


def test_no_page_has_a_link_or_a_form_that_leads_to_an_address_of_two_thousand_characters(
    app: Flask, shown: list[tuple[Answered, BeautifulSoup]]
) -> None:
    adam, wide = Person(app.test_client(), "adam@example.com"), "/accounts/1001/tables/10011903"
    half = "&".join(f"column=Column+{number:03d}" for number in range(2, 200, 2))
    long = [
        "/connections?per_page=200&q=e",
        f"{wide}?{half}",
        f"{wide}?{half}&filter__Column+002__higher_than=590&q=5",
    ]
    links = forms = 0
    for each, page in [*shown, *((path, adam.get(path)) for path in long)]:
        for name in ("href", "src", "action", "hx-get", "hx-post", "hx-push-url"):
            for tag in page.select(f"[{name}]"):
                links += 1
                assert len(str(tag[name])) < LONGEST_ADDRESS, (
                    f"{each}: {name}={str(tag[name])[:200]}"
                )
        for form in page.select("form"):
            if str(form.get("method", "get")).lower() == "get":
                forms += 1
                assert _longest(form) < LONGEST_ADDRESS, (
                    f"{each}: {form['action']} takes {_longest(form)} characters"
                )
    assert links > 3000
    assert forms > 60


def test_every_page_lets_one_sign_out(answers: list[Answered]) -> None:
    pages = [
        each
        for each in answers
        if each.response.mimetype == "text/html" and each.request.role not in {"public", None}
    ]
    whole = [each for each in pages if "<body" in each.response.text]
    assert len(whole) > 40
    for each in whole:
        assert 'action="/logout"' in each.response.text, each


def test_fields_for_passwords_hide_them_and_say_what_they_are(
    app: Flask, shown: list[tuple[Answered, BeautifulSoup]]
) -> None:
    pages = [page for _, page in shown] + [
        BeautifulSoup(app.test_client().get("/login").text, "html.parser")
    ]
    fields = [field for page in pages for field in page.find_all("input", attrs={"name": True})]
    completions = {"current-password", "new-password"}
    hidden = [
        field
        for field in fields
        if field.get("autocomplete") in completions or "password" in str(field["name"])
    ]
    assert len(hidden) > 4
    for field in hidden:
        assert field["type"] == "password", field
        assert field["autocomplete"] in completions, field
        assert not field.get("value"), field
        assert int(str(field.get("maxlength", 1000))) >= 1000, field


def test_over_https_the_cookies_are_bound_to_this_host_and_the_browser_stays_with_https(
    sandbox_server: Sandbox, app: Flask, folder: Path
) -> None:
    served = create_app(make_settings(sandbox_server.url, folder, dashboard_insecure_cookies=False))
    client, over = served.test_client(), {"base_url": "https://localhost"}
    page = client.get("/login", **over)
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert page.headers["Set-Cookie"].startswith("__Host-console_session=")
    token = BeautifulSoup(page.text, "html.parser").select_one("input[name=csrf_token]")
    assert token is not None
    form = {"csrf_token": token["value"], "email": "viv@example.com", "password": PASSWORD}
    response = client.post(
        "/login", data=form, headers={"Referer": "https://localhost/login"}, **over
    )
    assert response.status_code == 302, response.text[:500]
    cookies = response.headers.getlist("Set-Cookie")
    assert {each.partition("=")[0] for each in cookies} == {
        "__Host-console_session",
        "__Host-console_browser",
    }
    for cookie in cookies:
        parts = {part.strip() for part in cookie.split(";")[1:]}
        assert {"Secure", "HttpOnly", "SameSite=Lax"} <= parts, cookie
        assert not any(part.startswith("Domain") for part in parts), cookie
        assert len(cookie.partition(";")[0]) < 4096
    # A form from another site is refused by its Origin, too.
    assert (
        client.post(
            "/logout", data=form, headers={"Referer": "https://evil.example/"}, **over
        ).status_code
        == 400
    )
