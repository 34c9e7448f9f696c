"""Changes since the last visit: on the overview, on a page of its own, and as text."""

import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet import queries
from dashboard.fleet.models import Account
from dashboard.refresh import service as refresh
from dashboard.users import service as users
from tests.support.clock import Clock
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox


def read_now(app: Flask, services: Services) -> None:
    with app.app_context():
        assert refresh.refresh_fleet(services).error is None


def break_one(app: Flask, services: Services, sandbox: Sandbox) -> tuple[int, str]:
    """Give a connection an unknown status and refresh; return its id and the cause's title."""
    connection = sandbox.healthy
    sandbox.set(connection.id, health_status="NEVER_HEARD_OF")
    read_now(app, services)
    return connection.id, f"A status nobody knows: {connection.connector.name}"


def come_back(app: Flask, name: str = "viv") -> Person:
    return Person(app.test_client(), f"{name}@example.com")


def lists(soup: BeautifulSoup) -> dict[str, list[str]]:
    """Return the titles on the page by section."""
    return {
        str(section["aria-labelledby"]): [link.text for link in section.select("a.row-link")]
        for section in soup.select("section[aria-labelledby]")
    }


def test_who_was_away_finds_what_is_new_in_the_heading_and_on_one_page(
    viv: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    assert "In the last 24 hours:" in words(viv.get("/"))
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        left_at = user.seen_at
    assert left_at is not None
    clock.move(hours=15)
    _, title = break_one(app, services, sandbox)
    again = come_back(app)
    page = again.get("/since")
    found = lists(page)
    assert title in found["new"]
    link = again.get("/").select_one("a.since-link")
    assert link is not None
    assert link["href"] == "/since"
    numbers = (
        f"{len(found['new'])} new, {len(found['worse'])} worse, {len(found['recovered'])} recovered"
    )
    assert re.search(
        rf"Since you left (today|on \w+day) {left_at:%H:%M} UTC: {numbers}", words(link)
    )
    line = next(each for each in page.select("li.since-line") if title in each.text)
    assert "1 connection of 1 account" in words(line)
    assert "nobody is on it" in words(line)
    assert str(line.select_one("a")["href"]).startswith("/causes/")  # type: ignore[index]


def test_what_recovers_while_one_is_away_is_said(
    viv: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection_id, title = break_one(app, services, sandbox)
    clock.move(hours=2)
    olga = come_back(app, "olga")
    assert title in lists(olga.get("/since"))["new"]
    sandbox.set(connection_id, health_status=None)
    clock.move(hours=2)
    read_now(app, services)
    found = lists(come_back(app, "olga").get("/since"))
    assert title in found["recovered"]
    assert title not in found["new"] + found["worse"] + found["still"]


def test_an_account_that_became_unreadable_is_told_with_its_reason(
    viv: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    clock.move(hours=3)
    sandbox.fault(
        "servers", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."}, times=1
    )
    with app.app_context():
        refresh.refresh_fleet(services)
        account = db.session.scalars(
            db.select(Account).where(Account.unreadable_reason.is_not(None))
        ).one()
        title = account.title
    again = come_back(app)
    assert "1 unreadable" in words(again.get("/").select_one("a.since-link"))  # type: ignore[arg-type]
    page = again.get("/since")
    assert lists(page)["unreadable"] == [title]
    assert "Trial over." in words(page)
    assert not [each for each in lists(page)["new"] if "cannot be read" in each]


def test_the_text_is_what_the_page_copies_and_what_a_file_gives(viv: Person) -> None:
    page = viv.get("/since?hours=8")
    button = page.select_one("button[data-copy]")
    assert button is not None
    shown = page.select_one(str(button["data-copy"]))
    assert shown is not None
    response = viv.client.get("/since.txt?hours=8")
    assert response.mimetype == "text/plain"
    assert "charset=utf-8" in response.headers["Content-Type"]
    assert shown.text.strip().splitlines()[1:] == response.text.strip().splitlines()[1:]
    for title in lists(page)["new"]:
        assert title in response.text
    assert "http://localhost/causes/" in response.text
    assert page.select_one("a[href='/since.txt?hours=8']")


def test_the_time_that_is_asked_for_goes_over_the_last_visit(
    viv: Person, app: Flask, clock: Clock
) -> None:
    clock.move(hours=15)
    again = come_back(app)
    assert "Since you left" in again.get("/since").h1.text  # type: ignore[union-attr]
    assert again.get("/since?hours=8").h1.text == "In the last 8 hours"  # type: ignore[union-attr]
    since = (clock() - timedelta(days=2)).replace(microsecond=0)
    for written in (
        since.isoformat(),
        quote(since.isoformat()),
        since.strftime("%Y-%m-%dT%H:%M:%SZ"),
    ):
        assert f"From {since.day} {since:%b} {since:%H:%M} UTC" in words(
            again.get(f"/since?since={written}")
        )
    again.client.set_cookie("tz", "Asia/Tokyo")
    assert f"From {since.day} {since:%b} {since:%H:%M} JST" in words(
        again.get(f"/since?since={since.replace(tzinfo=None).isoformat()}")
    )


@pytest.mark.parametrize(
    ("since", "says"),
    [
        ("hours=0", "no hours"), ("hours=-3", "no hours"), ("hours=soon", "no hours"),
        ("hours=99999", "History goes back 90 days"), ("since=yesterday", "is no time"),
        ("since=2999-01-01T00:00", "not come yet"),
        ("since=2001-01-01", "History goes back 90 days"),
        ("since=0001-01-01T00:00", "History goes back"), ("hours=999999999999", "no hours"),
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_read_is_said_in_a_sentence(
    viv: Person, since: str, says: str
) -> None:
    assert says in words(viv.get(f"/since?{since}", 400))
    assert viv.client.get(f"/since.txt?{since}").status_code == 400


def test_who_left_before_the_history_begins_is_told_so(
    viv: Person, app: Flask, clock: Clock
) -> None:
    clock.move(days=120)
    assert "You left before the history that is kept begins" in words(come_back(app).get("/since"))


def test_a_name_of_an_address_is_never_taken_from_the_address(viv: Person) -> None:
    page = viv.get("/since?hours=8&_external=1&_scheme=ftp&endpoint=x")
    assert page.select_one("a[href='/since.txt?hours=8']")


def test_an_error_text_from_outside_is_text(viv: Person, app: Flask, services: Services) -> None:
    with app.app_context():
        connection = next(
            iter(db.session.scalars(db.select(Finding).where(Finding.connection_id.is_not(None))))
        )
        assert queries.connection_or_none(connection.account_id, connection.connection_id or 0)
        cause = db.session.get_one(
            type(connection).cause.property.mapper.class_, connection.cause_id
        )
        cause.example, cause.owner = "<script>alert(1)</script>", "<b>olga</b>"
        db.session.commit()
    html = viv.client.get("/since").text
    assert "<script>alert(1)</script>" not in html
    assert "<b>olga</b>" not in html
    assert "&lt;script&gt;alert(1)" in html
