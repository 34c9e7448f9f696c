"""Text from Peliqan and from users is never markup: on every page, fragment and file."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from jinja2 import FileSystemBytecodeCache

from dashboard.app import create_app
from dashboard.cli.common import upgrade_schema
from dashboard.core.database import db
from dashboard.refresh.service import refresh_fleet
from dashboard.tables.cells import cell
from dashboard.users import service as users
from dashboard.web.security import limiter
from tests.security.hostile_api import PAYLOAD, SCRIPT, HostileApi
from tests.security.route_requests import RouteRequest, RouteRequests, send_request
from tests.security.seeded_objects import make_one_of_each
from tests.support.alert_receiver import RECEIVERS
from tests.support.clock import Clock
from tests.support.hook_receiver import HOOK
from tests.support.people import PASSWORD, PASSWORD_HASH, Person
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

TAG = "xss"
# The payload's form on a page where it is text.
ESCAPED = "&lt;xss onxss=1&gt;"
SCHEMES = {"", "http", "https", "mailto"}
LEADING = {"href", "src", "action", "formaction", "data", "hx-get", "hx-post", "xlink:href"}
# The parameters that a route needs to show anything.
ASKED = {
    "desk.new_invite": "?account=1001",
    "tables.cell_value": f"?column={quote(PAYLOAD)}Title",
    "overview.find": "?q=amber",
}
SAY_NOTHING_OF_ANYBODY = {
    "people.login", "embed.frame", "passwords.show", "people.me", "second.new", "admin.users",
    "admin.user", "admin.new_user", "trend.show", "pulls.new",
    "connections.link_status", "connections.run_status", "exports.progress",
    "overview.refresh_status", "queries.new",
}  # fmt: skip
A_NUMBER = re.compile(r"-\d+(\.\d+)?(e[+-]?\d+)?")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@pytest.fixture(scope="module")
def app(
    folder: Path, clock: Clock, sandbox_server: Sandbox, compiled: FileSystemBytecodeCache
) -> Iterator[Flask]:
    """A console with a fleet and users in which every text is hostile."""
    sandbox_server.app.test_client().post("/sandbox/control/reset")
    # A few customers, and those with pending links or consents.
    wanting = (
        sandbox_server.find(failure="expired", auth="oauth2"),
        sandbox_server.find(auth="saltedge"),
    )
    accounts = {*range(1001, 1007), *(each.account_id for each in wanting)}
    made = create_app(
        make_settings(sandbox_server.url, folder, **HOOK, **RECEIVERS),
        clock=clock,
        adapter=HostileApi(accounts),
    )
    made.jinja_env.bytecode_cache = compiled
    limiter.enabled = False
    upgrade_schema(made)
    with made.app_context():
        for name, role in (("viv", "viewer"), ("olga", "operator"), ("adam", "admin")):
            users.create_user(
                f"{name}@example.com", role, PASSWORD, clock()
            ).password_hash = PASSWORD_HASH
        db.session.commit()
        assert refresh_fleet(made.extensions["services"]).error is None
        db.session.remove()
    olga, adam = (Person(made.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
    make_one_of_each(made, olga, adam, folder, PAYLOAD, PAYLOAD + "Title")
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


@dataclass(frozen=True)
class Walked:
    """A response. ``kind``: its content type."""

    request: RouteRequest
    is_fragment: bool
    status: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.request}{' as a fragment' if self.is_fragment else ''}"


@pytest.fixture(scope="module")
def responses(app: Flask, route_requests: RouteRequests) -> list[Walked]:
    """The response of every GET route, as a page and as a fragment."""
    person = Person(app.test_client(), "adam@example.com")
    person.client.set_cookie("tz", PAYLOAD)
    found = []
    for request in route_requests.all("GET"):
        for is_fragment in (False, True):
            if (is_fragment and request.is_for_scripts) or request.path.endswith(".parquet"):
                continue
            path = request.path + ASKED.get(request.endpoint, "")
            response = send_request(
                person.client,
                request,
                path=path,
                headers={"HX-Request": "true"} if is_fragment else {},
            )
            assert response.status_code < 500, (
                f"{request}: {response.status_code}\n{response.text[:2000]}"
            )
            found.append(
                Walked(request, is_fragment, response.status_code, response.mimetype, response.text)
            )
    return found


@pytest.fixture(scope="module")
def pages(responses: list[Walked]) -> list[tuple[Walked, BeautifulSoup]]:
    """The HTML responses, parsed once."""
    return [
        (each, BeautifulSoup(each.text, "html.parser"))
        for each in responses
        if each.kind == "text/html"
    ]


def test_nothing_that_was_told_or_typed_becomes_an_element_an_attribute_or_an_address(
    pages: list[tuple[Walked, BeautifulSoup]],
) -> None:
    for each, soup in pages:
        assert "<xss" not in each.text, each
        assert "49\x1b" not in each.text, f"{each}: a template ran it"
        assert soup.find(TAG) is None, each
        for element in soup.find_all(True):
            assert not {
                name for name in element.attrs if name.startswith("on") or name == "style"
            }, f"{each}: {element.name}"
            for name in LEADING & element.attrs.keys():
                value = str(element[name]).strip()
                scheme = urlsplit(value).scheme if ":" in value.partition("/")[0] else ""
                assert scheme in SCHEMES, f"{each}: {name}={value[:80]}"


def test_the_walk_has_met_the_hostile_words_nearly_everywhere(responses: list[Walked]) -> None:
    """Empty pages would prove nothing."""
    shown = [each for each in responses if each.kind == "text/html" and each.status == 200]
    without = {each.request.endpoint for each in shown} - {
        each.request.endpoint for each in shown if ESCAPED in each.text
    }
    assert len(shown) > 80
    assert without <= SAY_NOTHING_OF_ANYBODY, sorted(without - SAY_NOTHING_OF_ANYBODY)


def test_files_for_spreadsheets_hold_no_formula_in_a_cell_or_a_heading(
    responses: list[Walked],
) -> None:
    looked_at = 0
    for each in responses:
        for line in csv.reader(io.StringIO(each.text)) if each.kind == "text/csv" else ():
            for value in line:
                looked_at += 1
                assert not value.lstrip(" ").startswith(FORMULAS) or A_NUMBER.fullmatch(value), (
                    f"{each}: {value[:60]!r}"
                )
    assert looked_at > 1000


def test_answers_for_scripts_are_json_that_no_browser_takes_for_a_page(
    app: Flask, route_requests: RouteRequests
) -> None:
    person = Person(app.test_client(), "adam@example.com")
    for request in route_requests.all("GET"):
        if not request.path.endswith(".json"):
            continue
        response = send_request(person.client, request)
        assert response.mimetype == "application/json", request
        assert response.headers["X-Content-Type-Options"] == "nosniff", request
        json.loads(response.text)


def test_an_error_says_what_was_asked_for_as_text(app: Flask) -> None:
    person = Person(app.test_client(), "adam@example.com")
    for path in (
        f"/{PAYLOAD}", f"/connections?sort={PAYLOAD}", f"/connections?severity={PAYLOAD}",
        f"/find?q={PAYLOAD}",
        f"/accounts/1001/tables/10011900?sort={PAYLOAD}x",
        f"/accounts/1001/tables/10011900?f__{PAYLOAD}__equal=1",
        f"/since?since={PAYLOAD}",
        f"/embed?external_id={PAYLOAD}&connectors={PAYLOAD}&selected={PAYLOAD}",
        f"/queries/new?text={PAYLOAD}", f"/accounts/1001/sql?text={PAYLOAD}",
        f"/login?next={PAYLOAD}",
    ):  # fmt: skip
        for how in ({}, {"HX-Request": "true"}):
            response = person.client.get(path.replace("\x1b", "%1b"), headers=how)
            assert response.status_code < 500, path
            assert "<xss" not in response.text, path
            assert BeautifulSoup(response.text, "html.parser").find(TAG) is None, path


def test_a_message_for_the_mail_program_carries_everything_as_text(
    pages: list[tuple[Walked, BeautifulSoup]],
) -> None:
    links = [str(link["href"]) for _, soup in pages for link in soup.select("a[href^='mailto:?']")]
    assert links
    for link in links:
        assert not set(link) & set(" <>\"'\r\n"), link
        assert {part.partition("=")[0].lower() for part in link.partition("?")[2].split("&")} == {
            "subject",
            "body",
        }
    assert any(PAYLOAD[:-5] in unquote(link) for link in links)


def test_a_cell_that_says_it_is_an_address_leads_nowhere_but_to_the_web(app: Flask) -> None:
    person = Person(app.test_client(), "adam@example.com")
    page = person.client.get("/accounts/1001/tables/10011900").text
    assert SCRIPT in page
    assert not BeautifulSoup(page, "html.parser").select("a[href^='javascript:']")


@pytest.mark.parametrize(
    "value",
    [
        "a@example.com?cc=b@example.com&body=x",
        "a@example.com,b@example.com",
        "a@example.com%0d%0aBcc:b@example.com",
        "a@x#y",
    ],
)
def test_a_cell_with_an_email_address_brings_no_header_and_no_other_recipient_into_a_message(
    value: str,
) -> None:
    href = cell(value, "email").href or ""
    assert not set(href.removeprefix("mailto:")) & set("?&#,;")
    assert unquote(href) == f"mailto:{value}"
    assert cell("o'neil+x@example.com", "email").href == "mailto:o'neil+x@example.com"
