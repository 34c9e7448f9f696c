"""Inviting a customer to connect something new."""

import pytest
from flask import Flask

from dashboard.actions import service as actions
from dashboard.core.database import db
from dashboard.fleet.models import Account
from dashboard.refresh import service as refresh
from tests.customer_links.test_pages import entries, only, poll
from tests.support.clock import Clock
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


def test_a_customer_without_such_a_connection_is_invited_with_the_same_kind_of_message(
    olga: Person,
    viv: Person,
    adam: Person,
    app: Flask,
    clock: Clock,
    sandbox: Sandbox,
) -> None:
    account = "/accounts/1001"
    form = olga.get(str(olga.get(account).select_one("a[href*='/desk/invite']")["href"]))
    has = {each.connector.name for each in sandbox.life.connections(1001)}
    offered = {str(option["value"]) for option in form.select("#offered option")}
    assert "sftp_files" in offered
    assert not offered & has
    response = olga.post(f"{account}/invite", connector="sftp_files")
    assert response.status_code == 303
    page = olga.get(response.location)
    assert f"{sandbox.url}/sandbox/invite/" in str(page.select_one("#message-body"))
    assert "connect Sftp Files" in words(page.select_one("#message-subject"))
    assert sandbox.state()["calls"]["invite"] == 1
    item = only(viv)
    assert (item["kind"], item["connection_id"], item["connector"]) == (
        "invite",
        None,
        "sftp_files",
    )
    assert "Invite: Sftp Files" in words(viv.get("/desk"))
    assert "Waits for the customer" in words(viv.get(account))
    assert olga.post(f"{response.location}/sent", language="es").status_code == 303
    sandbox.life.add_connection(1001, "sftp_files", "Their files")
    with app.app_context():
        refresh.refresh_account(app.extensions["services"], 1001)
    poll(app, app.extensions["services"], clock)
    assert viv.json("/desk.json")["total"] == 0
    assert "The customer made the connection Their files." in words(viv.get("/desk"))
    (entry,) = entries(adam, "invite")
    assert (entry["result"], entry["account_id"], entry["connection_id"]) == ("done", 1001, None)
    # An existing connection is reauthorised instead of connected a second time.
    assert olga.post(f"{account}/invite", connector="SFTP_files").status_code == 400
    assert entries(adam, "invite")[0]["result"] == "refused"
    assert sandbox.state()["calls"]["invite"] == 1


@pytest.mark.parametrize("connector", ["", "   ", "x" * 81, "a\nb", "a\0b"])
def test_what_is_no_name_of_a_connector_is_refused_before_anything_is_asked(
    olga: Person, sandbox: Sandbox, connector: str
) -> None:
    assert olga.post("/accounts/1001/invite", connector=connector).status_code == 400
    assert sandbox.state()["calls"].get("invite", 0) == 0


def test_an_invite_that_peliqan_refuses_says_why_and_leads_back(
    olga: Person, sandbox: Sandbox
) -> None:
    sandbox.fault(
        "invite",
        status=403,
        body={"error": "ERROR_LICENSE", "detail": "No invites in this licence."},
    )
    page = olga.get(olga.post("/accounts/1001/invite", connector="sftp_files").location)
    assert "No invites in this licence." in words(page)
    assert page.select("a[href*='/desk/invite?account=1001']")


def test_an_invite_in_another_spelling_is_the_one_that_is_under_way(
    app: Flask, clock: Clock
) -> None:
    with app.app_context():
        account = db.session.get_one(Account, 1001)
        first, is_new = actions.start_invite(account, "École Portal", "olga@example.com", clock())
        assert is_new
        for spelling in (
            "École Portal",
            "ÉCOLE PORTAL",
            "E\u0301cole portal",
            "ÉＣＯＬＥ\u3000portal",
        ):
            assert actions.invite_in_flight(1001, spelling) is first
            again, is_new = actions.start_invite(
                db.session.get_one(Account, 1001), spelling, "olga@example.com", clock()
            )
            assert (again.id, is_new) == (first.id, False)
        other, is_new = actions.start_invite(
            db.session.get_one(Account, 1001), "Ecole Portal", "olga@example.com", clock()
        )
        assert is_new
        assert other.id != first.id
