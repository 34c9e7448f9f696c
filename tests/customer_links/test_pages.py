"""Customer links: waiting ones, messages to customers, and due reminders."""

import logging
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.actions import service as actions
from dashboard.actions.tasks import poll_action
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings import evaluate
from dashboard.fleet.models import Connection
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox
from tests.support.statements import counted

pytestmark = pytest.mark.both_engines


def expired(sandbox: Sandbox) -> Any:
    return sandbox.find(failure="expired", auth="oauth2")


def make_link(person: Person, connection: Any) -> str:
    """Request a link; return the address of its message."""
    way = "saltedge-refresh" if connection.connector.auth == "saltedge" else "reauthorise"
    assert person.post(path_of(connection, f"/{way}")).status_code == 303
    newest = max(person.json("/desk.json?sort=-since")["items"], key=lambda item: int(item["id"]))
    assert newest["connection_id"] == connection.id
    return f"/desk/links/{newest['id']}"


def only(person: Person) -> dict[str, Any]:
    items = person.json("/desk.json")["items"]
    assert len(items) == 1
    return dict(items[0])


def poll(app: Flask, services: Services, clock: Clock) -> None:
    clock.move(seconds=61)
    with app.app_context():
        for action_id in actions.due(clock()):
            poll_action(action_id)


def entries(adam: Person, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = adam.json(f"/audit.json?what={what}")["items"]
    return found


def test_a_link_comes_with_a_message_ready_to_send_on_its_connections_page(
    olga: Person, sandbox: Sandbox
) -> None:
    connection = expired(sandbox)
    make_link(olga, connection)
    page = olga.get(path_of(connection))
    message = page.select_one("#connection #message")
    assert message is not None
    link = page.select_one("a#link")
    assert link is not None
    body = message.select_one("#message-body")
    assert body is not None
    assert str(link["href"]) in body.text.splitlines()
    assert "no longer accepts the access" in body.text
    assert "from now" in body.text
    assert "Do not open the link yourself" in words(message)
    assert "gives access in their own name" in words(message)
    assert "23 hours from now" in words(message)
    mailto = str(message.select_one("a#mailto")["href"])
    assert unquote(mailto.split("&body=")[1]) == body.text.replace("\n", "\r\n")
    # The poll replaces only the link's state; the chosen language stays.
    assert not olga.fragment(path_of(connection, "/link-status")).select("#message")


def test_the_language_is_chosen_and_kept_for_the_customer(olga: Person, sandbox: Sandbox) -> None:
    connection = expired(sandbox)
    path = make_link(olga, connection)
    for language, word in (
        ("en", "Hello"),
        ("nl", "Goedendag"),
        ("fr", "Bonjour"),
        ("de", "Guten Tag"),
        ("es", "Buenos días"),
    ):
        page = olga.get(f"{path}?language={language}")
        assert word in words(page.select_one("#message-body"))
        assert page.select_one(f".message-text[lang={language}]")
        part = olga.fragment(f"{path}?language={language}")
        assert part.html is None
        assert words(part.select_one("#message-body")) == words(page.select_one("#message-body"))
    assert olga.client.get(f"{path}?language=xx").status_code == 400
    assert olga.post(f"{path}/sent", language="../en").status_code == 400
    olga.post(f"{path}/sent", language="fr")
    again = olga.get(make_link(olga, connection))
    assert "Bonjour" in words(again)


def test_who_sent_it_when_and_in_which_language_is_seen_by_everybody(
    olga: Person, viv: Person, adam: Person, sandbox: Sandbox
) -> None:
    connection = expired(sandbox)
    path = make_link(olga, connection)
    assert only(viv)["stage"] == "unsent"
    part = olga.post(f"{path}/sent", htmx=True, language="nl")
    assert part.text.lstrip().startswith('<div id="message"')
    assert "Sent by olga@example.com just now in Dutch. Nothing followed yet." in words(
        olga.get(path_of(connection))
    )
    assert "I have sent it" not in part.text
    item = only(viv)
    assert (item["stage"], item["sent_by"], item["language"]) == ("sent", "olga@example.com", "nl")
    assert "by olga@example.com" in words(viv.get("/desk"))
    (entry,) = entries(adam, "link_sent")
    assert (entry["who"], entry["connection_id"], entry["detail"]) == (
        "olga@example.com",
        connection.id,
        "reauthorise, in nl",
    )
    response = olga.post(f"{path}/sent", language="nl")
    assert (response.status_code, response.location) == (303, f"{path}?language=nl")


def new_session(app: Flask, name: str) -> Person:
    """Return a user who has just signed in: a session expires after an hour without use."""
    return Person(app.test_client(), f"{name}@example.com")


def test_what_was_sent_long_ago_and_followed_by_nobody_stands_on_top_with_a_reminder(
    olga: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    first = make_link(olga, expired(sandbox))
    olga.post(f"{first}/sent", language="en")
    clock.move(hours=19, minutes=30)
    poll(app, services, clock)
    olga = new_session(app, "olga")
    make_link(olga, sandbox.find(auth="saltedge", failure=None))
    assert [item["stage"] for item in olga.json("/desk.json")["items"]] == ["unsent", "sent"]
    clock.move(minutes=30)
    rows = olga.get("/desk").select("tr[data-action-id]")
    assert [row["data-stage"] for row in rows] == ["remind", "unsent"]
    assert "Nothing followed: remind them" in words(rows[0])
    page = olga.get(first)
    assert str(page.select_one("#message-subject").text).startswith("Reminder: ")
    assert "we wrote to you before" in words(page.select_one("#message-body"))
    assert "I have reminded them" in words(page)
    assert olga.post(f"{first}/reminded", language="en").status_code == 303
    shown = words(olga.get(first))
    assert "Reminded just now" in shown
    assert "Nothing followed yet." in shown
    assert "I have reminded them" not in shown
    # After a reminder it waits again, below the links that were never sent.
    assert [item["stage"] for item in olga.json("/desk.json")["items"]] == ["unsent", "sent"]
    (entry,) = entries(new_session(app, "adam"), "link_reminded")
    assert (entry["who"], entry["result"]) == ("olga@example.com", "done")


def test_a_link_that_somebody_follows_says_so_and_needs_no_reminder(
    olga: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = expired(sandbox)
    path = make_link(olga, connection)
    olga.post(f"{path}/sent", language="en")
    clock.move(minutes=30)
    sandbox.set(connection.id, health_status="AUTHORIZING")
    poll(app, services, clock)
    assert only(olga)["stage"] == "followed"
    assert "Somebody follows it" in words(olga.get("/desk"))
    clock.move(hours=22)
    assert only(new_session(app, "olga"))["stage"] == "followed"


def test_what_came_back_today_is_shown_and_no_message_is_left(
    app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    # At noon, so that the day does not change during this test.
    clock.move(hours=24 - (clock().hour - 12) % 24)
    olga, viv = new_session(app, "olga"), new_session(app, "viv")
    connection = expired(sandbox)
    path = make_link(olga, connection)
    olga.post(f"{path}/sent", language="en")
    sandbox.life.allow(connection.id)
    sandbox.life.touch(connection.id).allowed_at = None
    poll(app, services, clock)
    assert viv.json("/desk.json")["total"] == 0
    assert "The connection is OK again. just now sent by olga@example.com" in words(
        viv.get("/desk")
    )
    page = olga.get(path)
    assert "It worked" in words(page)
    assert not page.select("#message-body")
    late = olga.post(f"{path}/sent", htmx=True, language="nl")
    assert "waits no more" in late.text
    assert "waits no more" in words(olga.get(olga.post(f"{path}/reminded", language="nl").location))
    clock.move(days=1)
    assert "No link has done its work yet today." in words(new_session(app, "viv").get("/desk"))


def test_who_must_act_and_has_no_link_is_listed_until_there_is_one_and_again_when_it_ran_out(
    olga: Person, viv: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = expired(sandbox)
    before = viv.json("/desk/needed.json?per_page=200")
    assert {item["rule"] for item in before["items"]} <= {"auth_failed", "consent_expiring"}
    assert connection.id in [item["connection_id"] for item in before["items"]]
    assert not viv.get("/desk/needed?per_page=200").select("tr form")
    row = olga.get("/desk/needed?per_page=200").select_one(
        f"tr[data-connection-id='{connection.id}']"
    )
    assert row is not None
    form = row.select_one("form")
    assert form is not None
    response = olga.client.post(str(form["action"]), data={"csrf_token": olga.token()})
    assert response.location == path_of(connection)
    assert olga.get(response.location).select("#message-body")
    assert viv.json("/desk/needed.json")["total"] == before["total"] - 1
    assert f"Must act, and have no link yet {before['total'] - 1}" in words(viv.get("/desk"))
    clock.move(hours=25)
    poll(app, services, clock)
    viv = new_session(app, "viv")
    again = viv.get("/desk/needed?per_page=200").select_one(
        f"tr[data-connection-id='{connection.id}']"
    )
    assert again is not None
    assert "failed just now never sent" in words(again)


def test_what_no_link_can_mend_says_so(
    olga: Person, app: Flask, services: Services, sandbox: Sandbox
) -> None:
    with app.app_context():
        row = db.session.scalars(
            select(Connection).where(Connection.connector == "odoo", Connection.severity == "ok")
        ).first()
        assert row is not None
        row.status, row.severity, row.severity_rank, row.last_error = (
            "ERROR",
            "error",
            0,
            "401 Unauthorized: invalid api key",
        )
        evaluate.evaluate([row.account_id], services.clock())
        db.session.commit()
        number = row.id
    found = olga.get("/desk/needed?per_page=200&connector=odoo").select_one(
        f"tr[data-connection-id='{number}']"
    )
    assert found is not None
    assert "No link: its key has to be replaced at Peliqan (api key)." in words(found)
    assert not found.select("form")


def test_a_viewer_looks_and_never_sees_a_link(viv: Person, olga: Person, sandbox: Sandbox) -> None:
    connection = expired(sandbox)
    path = make_link(olga, connection)
    secret = f"/sandbox/consent/{connection.id}"
    assert secret in olga.client.get(path).text
    for seen in (
        "/desk",
        "/desk.json",
        "/desk.csv",
        "/desk/needed",
        "/desk/banks",
        path_of(connection),
        f"/accounts/{connection.account_id}",
    ):
        response = viv.client.get(seen)
        assert response.status_code == 200, seen
        assert secret not in response.text, seen
    assert (
        secret
        not in viv.client.get(
            path_of(connection, "/link-status"), headers={"HX-Request": "true"}
        ).text
    )
    assert viv.client.get(path).status_code == 403
    assert viv.client.get("/desk/invite?account=1001").status_code == 403
    for act in (f"{path}/sent", f"{path}/reminded", "/accounts/1001/invite"):
        assert viv.post(act, language="en", connector="xero").status_code == 403, act


def test_nothing_of_a_link_is_logged_or_stands_in_the_audit_trail_or_in_an_address_of_ours(
    olga: Person,
    adam: Person,
    app: Flask,
    clock: Clock,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    connection = expired(sandbox)
    path = make_link(olga, connection)
    invited = olga.post("/accounts/1001/invite", connector="sftp_files").location
    for each in (path, invited):
        response = olga.post(f"{each}/sent", language="de")
        assert response.location == f"{each}?language=de"
        olga.get(response.location)
        olga.fragment(response.location)
    poll(app, app.extensions["services"], clock)
    text = (
        adam.client.get("/audit.json?per_page=200").text
        + adam.client.get("/audit.csv").text
        + caplog.text
    )
    for part in ("/sandbox/consent", "/sandbox/invite"):
        assert part not in text
    for page in (path, path_of(connection), invited, "/desk"):
        soup = olga.get(page)
        ours = [
            each.get(name, "")
            for each in soup.select("[href],[action],[hx-get],[hx-post],[src]")
            for name in ("href", "action", "hx-get", "hx-post", "src")
        ]
        addresses = [str(each) for each in ours if each and str(each).startswith("/")]
        assert addresses
        assert not [each for each in addresses if "consent/" in each or "sandbox" in each]


@pytest.mark.parametrize(
    "path",
    ["/desk/links/999", f"/desk/links/{9**25}", "/desk/invite?account=4", "/accounts/4/invite"],
)
def test_what_there_is_not_is_a_404(olga: Person, path: str) -> None:
    response = (
        olga.post(path, connector="xero") if path.startswith("/accounts") else olga.client.get(path)
    )
    assert response.status_code == 404


def test_the_desk_is_one_click_away_for_everybody(viv: Person) -> None:
    assert viv.get("/").select(".console-nav a[href='/desk']")
    assert "No link waits" in words(viv.get("/desk"))


def test_lists_are_searched_filtered_sorted_and_have_their_twins(
    olga: Person, sandbox: Sandbox
) -> None:
    make_link(olga, expired(sandbox))
    make_link(olga, sandbox.find(auth="saltedge", failure=None))
    olga.post("/accounts/1001/invite", connector="sftp_files")
    assert olga.json("/desk.json")["total"] == 3
    for kind in ("reauthorise", "saltedge_refresh", "invite"):
        assert [item["kind"] for item in olga.json(f"/desk.json?kind={kind}")["items"]] == [kind]
    for sort in ("stage", "-since", "account", "sent", "-sent"):
        assert olga.json(f"/desk.json?sort={sort}")["total"] == 3
    assert olga.json("/desk.json?account=1001&q=sftp")["total"] == 1
    assert olga.json("/desk.json?stage=unsent&by=olga@example.com")["total"] == 3
    assert olga.client.get("/desk?stage=lost").status_code == 400
    assert olga.client.get("/desk.csv").text.count("\n") == 4
    assert olga.fragment("/desk?kind=invite").select("tr[data-action-id]")


def test_the_desk_asks_as_many_questions_for_many_links_as_for_one(
    olga: Person, app: Flask, sandbox: Sandbox
) -> None:
    statement_counts = []
    found = [
        each
        for account in sandbox.life.accounts(0, 60)
        for each in sandbox.life.connections(account.id)
        if each.connector.auth == "oauth2"
    ]
    for connection in (found[0], *found[1:6]):
        olga.post(path_of(connection, "/reauthorise"))
        for path in ("/desk", "/desk/needed", "/desk/banks"):
            olga.client.get(path)
            with counted(app) as statements:
                assert olga.client.get(path).status_code == 200
            statement_counts.append((path, len(statements)))
    assert len(set(statement_counts)) == 3, statement_counts
