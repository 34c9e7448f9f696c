"""Whatever Peliqan says and whatever a person types is text: on every page, in every fragment, in every file."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from jinja2 import FileSystemBytecodeCache

from dashboard.app import create_app
from dashboard.cli.shared import upgrade_schema
from dashboard.fleet.refresh import refresh_fleet
from dashboard.store import people
from dashboard.store.database import db
from dashboard.views.security import limiter
from tests.attacks.hostile import PAYLOAD, SCRIPT, HostileApi
from tests.attacks.places import Place, Places
from tests.attacks.seeded import make_one_of_each
from tests.conftest import PASSWORD, PASSWORD_HASH, Clock, Person, Sandbox, make_settings

TAG, ATTRIBUTE = "xss", "onxss"
# As a page has it where it is text.
ESCAPED = "&lt;xss onxss=1&gt;"
SCHEMES = {"", "http", "https", "mailto"}
LEADING = ("href", "src", "action", "formaction", "data", "hx-get", "hx-post", "xlink:href")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@pytest.fixture(scope="module")
def app(folder: Path, clock: Clock, sandbox_server: Sandbox, compiled: FileSystemBytecodeCache) -> Iterator[Flask]:
    """A console that has read a fleet in which every word is hostile, used by people who type nothing else."""
    sandbox_server.app.test_client().post("/sandbox/control/reset")
    made = create_app(make_settings(sandbox_server.url, folder), clock=clock, adapter=HostileApi())
    made.jinja_env.bytecode_cache = compiled
    limiter.enabled = False
    upgrade_schema(made)
    with made.app_context():
        for name, role in (("viv", "viewer"), ("olga", "operator"), ("adam", "admin")):
            people.create_user(f"{name}@example.com", role, PASSWORD, clock()).password_hash = PASSWORD_HASH
        db.session.commit()
        assert refresh_fleet(made.extensions["console"].fleet).error is None
        db.session.remove()
    olga, adam = (Person(made.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
    make_one_of_each(made, olga, adam, folder, PAYLOAD, PAYLOAD + "Title")
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(scope="module")
def walked(app: Flask, places: Places) -> list[tuple[Place, str, str, str]]:
    """Every GET route, as a page and as a fragment: place, how it was asked for, kind of the answer, text."""
    person = Person(app.test_client(), "adam@example.com")
    person.client.set_cookie("tz", PAYLOAD)
    found = []
    for place in places.all("GET"):
        for how in ({}, {"HX-Request": "true"}):
            path = place.path + {"desk.new_invite": "?account=1001", "tables.cell_value": f"?column={PAYLOAD}Title"}.get(
                place.endpoint, ""
            )
            answer = person.client.get(path, headers=how)
            assert answer.status_code < 500, f"{place}: {answer.status_code}\n{answer.text[:2000]}"
            found.append(
                (
                    place,
                    "fragment" if how else "page",
                    answer.mimetype,
                    answer.text
                    if answer.mimetype.startswith(("text/", "application/json", "application/x-ndjson", "application/jsonl"))
                    else "",
                )
            )
    return found


def test_nothing_that_was_told_or_typed_becomes_an_element_an_attribute_or_an_address(
    walked: list[tuple[Place, str, str, str]],
) -> None:
    for place, how, kind, text in walked:
        if kind != "text/html":
            continue
        assert "<xss" not in text, f"{place} as a {how}"
        assert "49\x1b" not in text, f"{place} as a {how}: a template ran it"
        soup = BeautifulSoup(text, "html.parser")
        assert soup.find(TAG) is None, f"{place} as a {how}"
        assert soup.find(attrs={ATTRIBUTE: True}) is None, f"{place} as a {how}"
        assert not soup.select("[style], [onclick], [onload], [onerror]"), f"{place} as a {how}"
        for element in soup.find_all(True):
            for name in LEADING:
                value = str(element.get(name, ""))
                scheme = urlsplit(value.strip()).scheme if ":" in value.partition("/")[0] else ""
                assert scheme in SCHEMES, f"{place} as a {how}: {name}={value[:80]}"


def test_the_walk_has_met_the_hostile_words_nearly_everywhere(walked: list[tuple[Place, str, str, str]]) -> None:
    """A walk over empty pages would prove nothing."""
    pages = {place.path for place, how, kind, _ in walked if kind == "text/html" and how == "page"}
    met = {place.path for place, how, kind, text in walked if kind == "text/html" and how == "page" and ESCAPED in text}
    assert len(pages) > 60
    without = pages - met
    assert without <= {"/embed/frame", "/trend", "/me", "/users", "/users/new", "/alerts/new", "/pulls/new", "/queries/new"}, (
        sorted(without)
    )


def test_files_for_spreadsheets_hold_no_formula_in_a_cell_or_a_heading(walked: list[tuple[Place, str, str, str]]) -> None:
    looked_at = 0
    for place, how, kind, text in walked:
        if kind != "text/csv" or how != "page":
            continue
        for line in csv.reader(io.StringIO(text)):
            for value in line:
                looked_at += 1
                plain_number = value[1:].replace(".", "", 1).isdigit()
                assert not value.lstrip(" ").startswith(FORMULAS) or plain_number, f"{place}: {value[:60]!r}"
    assert looked_at > 1000


def test_answers_for_scripts_are_json_that_no_browser_takes_for_a_page(app: Flask, places: Places) -> None:
    person = Person(app.test_client(), "adam@example.com")
    for place in places.all("GET"):
        if not place.path.endswith(".json"):
            continue
        answer = person.client.get(place.path)
        assert answer.mimetype == "application/json", place
        assert answer.headers["X-Content-Type-Options"] == "nosniff", place
        json.loads(answer.text)


def test_an_error_says_what_was_asked_for_as_text(app: Flask) -> None:
    person = Person(app.test_client(), "adam@example.com")
    for path in (
        f"/{PAYLOAD}", f"/connections?sort={PAYLOAD}", f"/connections?severity={PAYLOAD}", f"/find?q={PAYLOAD}",
        f"/accounts/1001/tables/10011900?sort={PAYLOAD}x", f"/accounts/1001/tables/10011900?f__{PAYLOAD}__equal=1",
        f"/since?since={PAYLOAD}", f"/embed?external_id={PAYLOAD}&connectors={PAYLOAD}&selected={PAYLOAD}",
        f"/queries/new?text={PAYLOAD}", f"/accounts/1001/sql?text={PAYLOAD}", f"/login?next={PAYLOAD}",
    ):  # fmt: skip
        for how in ({}, {"HX-Request": "true"}):
            answer = person.client.get(path.replace("\x1b", "%1b"), headers=how)
            assert answer.status_code < 500, path
            assert "<xss" not in answer.text, path
            assert BeautifulSoup(answer.text, "html.parser").find(TAG) is None, path


def test_a_message_for_the_mail_program_carries_everything_as_text(walked: list[tuple[Place, str, str, str]]) -> None:
    links = [
        str(each["href"])
        for _, _, kind, text in walked
        if kind == "text/html"
        for each in BeautifulSoup(text, "html.parser").select("a[href^='mailto:']")
    ]
    assert links
    for link in links:
        assert not set(link) & set(" <>\"'\r\n"), link
        assert not {"cc", "bcc", "to", "attach"} & {part.partition("=")[0].lower() for part in link.partition("?")[2].split("&")}
    assert any(PAYLOAD[:-5] in unquote(link) for link in links)


def test_a_cell_that_says_it_is_an_address_leads_nowhere_but_to_the_web(app: Flask) -> None:
    person = Person(app.test_client(), "adam@example.com")
    page = person.client.get("/accounts/1001/tables/10011900").text
    assert SCRIPT in page
    assert not BeautifulSoup(page, "html.parser").select("a[href^='javascript:']")
