"""After every action, successful or not, the connection is read and the outcome recorded."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.actions.service import ActionRequest
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.customer_links import service as customer_links
from dashboard.findings import evaluate
from dashboard.findings import queries as finding_queries
from dashboard.findings.models import Finding
from dashboard.fleet.models import Connection
from tests.actions.test_sync import WHO, poll, start, stored_connection
from tests.support.clock import Clock
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def rules(connection: Any) -> list[str]:
    return [
        finding.rule
        for finding in finding_queries.of_connection(connection.account_id, connection.id)
    ]


def request_link(
    services: Services, clock: Clock, connection: Any, kind: str = actions.REAUTHORISE
) -> Action:
    return customer_links.request_link(
        services.api, kind, stored_connection(connection), ActionRequest(WHO, clock(), 15)
    )


def read_calls(sandbox: Sandbox) -> int:
    calls: int = sandbox.state()["calls"].get("server", 0)
    return calls


def test_a_finding_recovers_by_itself_after_a_reauthorisation_that_worked(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    assert rules(connection) == ["auth_failed"]
    finding_id = finding_queries.of_connection(connection.account_id, connection.id)[0].id
    action = request_link(services, clock, connection)
    sandbox.life.allow(connection.id)
    sandbox.life.touch(connection.id).allowed_at = None
    poll(services, clock, action)
    assert rules(connection) == []
    assert db.session.get_one(Finding, finding_id).state == "recovered"
    assert (action.rule, action.status_before, action.status_after, action.verdict) == (
        "auth_failed",
        "ERROR",
        "OK",
        "worked",
    )


def test_a_finding_recovers_by_itself_after_a_sync_that_worked(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    same_connection = (
        Connection.account_id == connection.account_id,
        Connection.id == connection.id,
    )
    db.session.execute(
        update(Connection)
        .where(*same_connection)
        .values(last_run_at=None, last_success_at=None, last_run_status=None)
    )
    evaluate.evaluate([connection.account_id], clock())
    db.session.commit()
    db.session.expire_all()
    assert rules(connection) == ["never_ran"]
    action = poll(services, clock, start(services, connection))
    assert rules(connection) == []
    assert (action.state, action.rule, action.verdict) == ("done", "never_ran", "worked")


def test_a_sync_that_fails_has_no_effect_and_its_finding_stays(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = poll(services, clock, start(services, connection))
    assert (action.state, action.verdict) == ("failed", "no_effect")
    assert rules(connection) == ["auth_failed"]


def test_a_sync_that_breaks_what_was_well_made_it_worse(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sandbox.set(connection.id, next_run="ERROR")
    action = poll(services, clock, start(services, connection))
    assert (action.rule, action.status_before, action.status_after, action.verdict) == (
        None,
        "OK",
        "ERROR",
        "worse",
    )


def test_a_run_that_is_stuck_is_read_and_judged(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sandbox.set(connection.id, never_finishes=True)
    action = start(services, connection)
    poll(services, clock, action, times=4)
    assert (action.state, action.verdict) == ("stuck", "no_effect")
    assert stored_connection(connection).running


def test_a_run_without_an_end_in_a_day_is_read_and_judged(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    sandbox.life.run_seconds = (60, 60)
    connection = sandbox.healthy
    action = start(services, connection)
    clock.move(hours=25)
    before = read_calls(sandbox)
    poll(services, clock, action)
    assert action.state == "stuck"
    assert action.verdict is not None
    assert read_calls(sandbox) == before + 1


@pytest.mark.parametrize("kind", [actions.SYNC, actions.REAUTHORISE])
def test_what_peliqan_refuses_is_read_and_judged_at_once(
    services: Services, clock: Clock, sandbox: Sandbox, kind: str
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    for route in ("syncdb", "reauthorise"):
        sandbox.fault(
            route, status=400, body={"error": "ERROR_LICENSE", "detail": "The trial has ended."}
        )
    action = (
        start(services, connection)
        if kind == actions.SYNC
        else request_link(services, clock, connection)
    )
    assert (action.state, action.status_after, action.verdict) == ("failed", "ERROR", "no_effect")
    assert read_calls(sandbox) == 1


def test_an_api_that_is_away_is_not_waited_for_a_second_time_before_the_failure_is_shown(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    sandbox.fault("reauthorise", status=500)
    action = request_link(services, clock, connection)
    assert (action.state, action.verdict) == ("failed", "no_effect")
    assert read_calls(sandbox) == 0


def test_a_link_that_nobody_followed_had_no_effect(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = request_link(services, clock, connection)
    clock.move(hours=25)
    poll(services, clock, action)
    assert (action.state, action.verdict) == ("failed", "no_effect")
    assert "Nobody followed" in action.detail


def test_a_link_whose_connection_cannot_be_read_for_a_day_ends_all_the_same(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = request_link(services, clock, connection)
    sandbox.fault("server", status=500)
    poll(services, clock, action)
    assert action.settled_at is None
    clock.move(hours=25)
    poll(services, clock, action)
    assert (action.state, action.verdict) == ("failed", "no_effect")
    assert "not known whether the customer followed" in action.detail
