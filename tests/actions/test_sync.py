"""A sync is started once and polled to its end, against the sandbox over sockets."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.actions.service import ActionRequest
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.customer_links import service as customer_links
from dashboard.fleet import queries
from dashboard.fleet.models import Connection
from tests.support.clock import Clock
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


WHO = "olga@example.com"


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def stored_connection(connection: Any) -> Connection:
    row = queries.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    return row


def start(services: Services, connection: Any) -> Action:
    return sync.start(
        services.api, stored_connection(connection), ActionRequest(WHO, services.clock(), 15)
    )


def poll(services: Services, clock: Clock, action: Action, times: int = 1) -> Action:
    for _ in range(times):
        clock.move(seconds=70)
        leased = actions.lease(action.id, clock())
        assert leased is not None
        looker = sync.poll if action.kind == actions.SYNC else customer_links.poll
        looker(services.api, leased, clock(), 15)
    db.session.refresh(action)
    return action


def entry_of(action: Action) -> AuditEntry:
    return db.session.get_one(AuditEntry, action.audit_id)


def test_a_sync_is_followed_to_its_end_with_its_records(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    action = start(services, sandbox.healthy)
    assert action.state == "running"
    poll(services, clock, action)
    assert (action.state, action.run_status) == ("done", "COMPLETED")
    assert action.records is not None
    assert entry_of(action).result == "done"
    assert stored_connection(sandbox.healthy).last_run_status == "COMPLETED"


def test_ten_presses_start_one_run(services: Services, sandbox: Sandbox) -> None:
    sandbox.life.run_seconds = (60, 60)
    connection = sandbox.healthy
    ids = {start(services, connection).id for _ in range(10)}
    assert len(ids) == 1
    assert sandbox.state()["calls"]["syncdb"] == 1
    assert sandbox.state()["syncs"] == {str(connection.id): 1}


def test_a_run_that_was_going_already_is_followed_and_not_started_again(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sandbox.life.run_seconds = (1, 1)
    sandbox.life.start(connection)
    action = start(services, connection)
    assert action.state == "running"
    assert "already under way" in action.detail
    assert sandbox.state()["syncs"] == {str(connection.id): 1}


def test_an_answer_that_does_not_come_is_unknown_and_found_out_without_starting_again(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    # The sandbox starts the run but responds too late, so the client times out.
    sandbox.fault("syncdb", kind="html", times=1)
    action = start(services, connection)
    assert action.state == "unknown"
    assert entry_of(action).result == "pending"
    poll(services, clock, action)
    assert action.state == "done", action.detail
    assert sandbox.state()["calls"]["syncdb"] == 1
    assert sandbox.state()["syncs"] == {str(connection.id): 1}


def test_a_start_that_never_arrived_ends_as_failed_and_can_be_pressed_again(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sandbox.fault("syncdb", status=500, times=1)
    action = start(services, connection)
    assert action.state == "unknown"
    poll(services, clock, action, times=3)
    assert (action.state, entry_of(action).result) == ("failed", "failed")
    assert "No run began" in action.detail
    assert start(services, connection).id != action.id


def test_a_refusal_is_settled_at_once_with_peliqans_words(
    services: Services, sandbox: Sandbox
) -> None:
    sandbox.fault(
        "syncdb", status=400, body={"error": "ERROR_LICENSE", "detail": "The trial has ended."}
    )
    action = start(services, sandbox.healthy)
    assert action.state == "failed"
    assert "The trial has ended." in action.detail
    assert entry_of(action).result == "failed"


def test_running_false_with_status_running_is_asked_again_and_then_called_stuck(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sandbox.set(connection.id, never_finishes=True)
    action = start(services, connection)
    poll(services, clock, action, times=3)
    assert action.settled_at is None
    poll(services, clock, action)
    assert action.state == "stuck"
    assert "not complete" in action.detail


def test_a_failed_run_says_the_connections_own_error(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired")
    action = poll(services, clock, start(services, connection))
    assert (action.state, action.run_status) == ("failed", "ERROR")
    assert "invalid_grant" in action.detail


def test_an_api_that_is_away_while_a_run_is_followed_decides_nothing(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    action = start(services, sandbox.healthy)
    sandbox.fault("syncdb_status", status=500, times=1)
    poll(services, clock, action)
    assert action.settled_at is None
    sandbox.clear()
    assert poll(services, clock, action).state == "done"


def test_only_one_looks_at_a_time(services: Services, clock: Clock, sandbox: Sandbox) -> None:
    sandbox.life.run_seconds = (60, 60)
    action = start(services, sandbox.healthy)
    clock.move(seconds=20)
    assert actions.lease(action.id, clock()) is not None
    assert actions.lease(action.id, clock()) is None


def test_a_process_that_died_between_writing_and_asking_is_found_out(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    action, _ = actions.start_action(actions.SYNC, stored_connection(connection), WHO, clock())
    clock.move(seconds=61)
    assert actions.due(clock()) == [action.id]
    poll(services, clock, action, times=3)
    assert action.state == "failed"
    assert sandbox.state()["syncs"] == {}


def test_reauthorising_gives_a_checked_link_and_ends_when_the_connection_is_well(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = customer_links.request_link(
        services.api,
        actions.REAUTHORISE,
        stored_connection(connection),
        ActionRequest(WHO, clock(), 15),
    )
    assert action.state == "waiting"
    assert action.url == f"{sandbox.url}/sandbox/consent/{connection.id}"
    poll(services, clock, action)
    assert action.settled_at is None
    sandbox.life.allow(connection.id)
    sandbox.life.touch(connection.id).allowed_at = None
    poll(services, clock, action)
    assert (action.state, action.url) == ("done", None)


def test_a_link_has_done_its_work_when_the_connection_loads_a_part_again(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = customer_links.request_link(
        services.api,
        actions.REAUTHORISE,
        stored_connection(connection),
        ActionRequest(WHO, clock(), 15),
    )
    sandbox.set(connection.id, health_status="COMPLETED_WITH_ERRORS")
    poll(services, clock, action)
    assert (action.state, action.detail) == (
        "done",
        "The connection loads data again (COMPLETED_WITH_ERRORS).",
    )


def test_a_second_link_replaces_the_first(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    first = customer_links.request_link(
        services.api,
        actions.REAUTHORISE,
        stored_connection(connection),
        ActionRequest(WHO, clock(), 15),
    )
    second = customer_links.request_link(
        services.api,
        actions.REAUTHORISE,
        stored_connection(connection),
        ActionRequest(WHO, clock(), 15),
    )
    db.session.refresh(first)
    assert (first.state, second.state) == ("superseded", "waiting")


def test_a_second_bank_refresh_within_the_hour_is_refused_in_words(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(auth="saltedge")
    customer_links.request_link(
        services.api,
        actions.BANK_REFRESH,
        stored_connection(connection),
        ActionRequest(WHO, clock(), 15),
    )
    again = customer_links.request_link(
        services.api,
        actions.BANK_REFRESH,
        stored_connection(connection),
        ActionRequest(WHO, clock(), 15),
    )
    assert again.state == "failed"
    assert "minutes" in again.detail


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://example.com/",
        "https://user@example.com/",
        "https://example.com@evil.example/",
        "//example.com",
        "https://",
        "ftp://example.com",
        "https://exam ple.com",
        "https://еxample.com/",
        "https://example.com\\@evil.example",
        "",
    ],
)
def test_an_address_that_disguises_itself_is_not_handed_out(url: str) -> None:
    with pytest.raises(customer_links.UnsafeLink):
        customer_links.check_link(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/x?y=1",
        "http://127.0.0.1:8901/x",
        "http://localhost/x",
        "http://[::1]:1/x",
    ],
)
def test_https_and_this_machine_are_handed_out_with_their_host(url: str) -> None:
    assert customer_links.check_link(url).host in url


def test_an_unsafe_address_of_the_api_is_a_failure_and_never_kept(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    sandbox.fault("reauthorise", status=200, body={"auth_uri": "javascript:alert(document.cookie)"})
    action = customer_links.request_link(
        services.api,
        actions.REAUTHORISE,
        stored_connection(connection),
        ActionRequest(WHO, clock(), 15),
    )
    assert (action.state, action.url) == ("failed", None)
    assert "not safe" in action.detail
    assert (
        db.session.scalar(select(func.count()).select_from(Action).where(Action.url.is_not(None)))
        == 0
    )


@pytest.mark.parametrize("refusal", [404, 405, 403, 400])
@pytest.mark.parametrize(
    "missing",
    [
        ("pipeline_runs",),
        ("syncdb_status",),
        ("server",),
        ("pipeline_runs", "syncdb_status", "server"),
    ],
)
def test_a_sync_ends_as_its_run_did_though_routes_are_missing(
    services: Services, clock: Clock, sandbox: Sandbox, missing: tuple[str, ...], refusal: int
) -> None:
    for route in missing:
        sandbox.fault(route, status=refusal, body={"detail": "Not found."})
    action = sync.start(
        services.api, stored_connection(sandbox.healthy), ActionRequest(WHO, clock(), 15)
    )
    for _ in range(6):
        if action.settled_at is None:
            clock.move(seconds=20)
            sync.poll(services.api, action, clock(), 15)
    assert (action.state, action.run_status) == ("done", "COMPLETED")
    # Each is requested once, however often the sync is polled and whoever starts the next one.
    again = sync.start(
        services.api, stored_connection(sandbox.healthy), ActionRequest(WHO, clock(), 15)
    )
    for _ in range(6):
        if again.settled_at is None:
            clock.move(seconds=20)
            sync.poll(services.api, again, clock(), 15)
    assert again.state == "done"
    assert {route: sandbox.state()["calls"].get(route, 0) for route in missing} == dict.fromkeys(
        missing, 1
    )
