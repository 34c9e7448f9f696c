"""Pages during an outage of Peliqan are quick, show a banner, and send nothing."""

import time

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.actions.models import Action
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.peliqan.circuit_breaker import Outage
from dashboard.peliqan.limits import FIRST_PROBE_AFTER
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox

PAGES = ("/", "/connections", "/accounts", "/causes", "/desk", "/accounts/1001", "/audit", "/me")


def begin_outage(app: Flask, services: Services, clock: Clock) -> None:
    with app.app_context():
        services.outages.start(
            Outage(clock(), clock() + FIRST_PROBE_AFTER, reason="Peliqan could not be reached.")
        )
    clock.move(seconds=1)


def end_outage(app: Flask, services: Services, clock: Clock) -> None:
    with app.app_context():
        services.outages.finish(clock())
    clock.move(seconds=1)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_since_when_in_the_viewers_zone_and_of_when_its_state_is(
    adam: Person, app: Flask, services: Services, clock: Clock, path: str
) -> None:
    begin_outage(app, services, clock)
    adam.client.set_cookie("tz", "Asia/Kathmandu")
    soup = adam.get(path)
    (banner,) = soup.select("#coverage .alert-danger")
    text = words(banner)
    assert "Peliqan has not answered since" in text
    assert "This is the state of" in text
    assert "+0545" in text
    assert "every 15s" in str(soup.select_one("#coverage"))


def test_the_banner_goes_with_the_next_page(
    viv: Person, app: Flask, services: Services, clock: Clock
) -> None:
    begin_outage(app, services, clock)
    assert viv.get("/").select("#coverage .alert-danger")
    end_outage(app, services, clock)
    assert not viv.get("/").select("#coverage .alert-danger")
    assert not viv.fragment("/refresh-status").select("[hx-get]")


@pytest.mark.parametrize("below", ["/sync", "/reauthorise"])
@pytest.mark.parametrize("htmx", [False, True])
def test_a_press_is_refused_at_once_with_words_and_the_audit_trail_says_that_it_was_not_sent(
    olga: Person, app: Flask, clock: Clock, sandbox: Sandbox, below: str, htmx: bool
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    begin_outage(app, app.extensions["services"], clock)
    before = sandbox.state()["calls"]
    started_at = time.monotonic()
    response = olga.post(path_of(connection, below), htmx=htmx)
    assert time.monotonic() - started_at < 1
    assert response.status_code == 503
    assert "Peliqan does not answer." in response.text
    assert "so this was not sent" in response.text
    assert sandbox.state()["calls"] == before
    with app.app_context():
        entry = db.session.scalars(select(AuditEntry).where(AuditEntry.what == below[1:])).one()
        assert (entry.result, entry.who, entry.connection_id) == (
            "refused",
            "olga@example.com",
            connection.id,
        )
        assert "was not sent" in entry.detail
        assert db.session.scalars(select(Action)).all() == []


def test_an_invite_and_a_widgets_token_are_not_sent_either(
    olga: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    begin_outage(app, services, clock)
    before = sandbox.state()["calls"]
    assert olga.post("/accounts/1001/invite", connector="teamleader_new").status_code == 503
    token = olga.post("/embed/token", external_id="cust-00001")
    assert (token.status_code, token.json["error"]) == (502, "away")  # type: ignore[index]
    assert sandbox.state()["calls"] == before
    with app.app_context():
        entries = db.session.scalars(
            select(AuditEntry).where(AuditEntry.what.in_(("invite", "widget_token")))
        ).all()
        assert {(each.what, each.result) for each in entries} == {
            ("invite", "refused"),
            ("widget_token", "failed"),
        }
        assert all("was not sent" in each.detail for each in entries)


def test_what_is_read_live_says_so_beside_what_is_known(
    viv: Person, app: Flask, services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    clock.move(minutes=5)
    begin_outage(app, services, clock)
    before = sandbox.state()["calls"]
    live = viv.fragment(path_of(connection, "/live"))
    assert "Peliqan does not answer." in words(live)
    assert live.select("#connection[data-status]")
    assert "Peliqan does not answer." in words(viv.fragment("/accounts/1001/databases"))
    assert "Peliqan does not answer." in words(
        viv.get("/accounts/1001/tables/10011000", status=503)
    )
    assert viv.json("/accounts/1001/tables/10011000.json", status=503)["error"] == "away"
    assert sandbox.state()["calls"] == before
