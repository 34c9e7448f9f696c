"""Effects of events on the snapshot: against the sandbox over sockets, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings import queries as finding_queries
from dashboard.fleet import queries
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.models import Run
from dashboard.refresh import writer
from dashboard.refresh.schedule import WITH_NEXT_REFRESH
from dashboard.webhooks import retention as event_retention
from dashboard.webhooks import service as webhook_events
from dashboard.webhooks.models import WebhookEvent
from dashboard.webhooks.tasks import read_reported
from tests.support.clock import Clock
from tests.support.event_builder import (
    NEW_RUN,
    NEW_RUNS,
    process_all,
    run_of,
    send_events,
    states,
    stored_connection,
)
from tests.support.sandbox import Sandbox
from tests.support.webhook_sender import made

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("context")]


def test_a_run_that_begins_is_in_the_snapshot_without_a_call(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection, before = sandbox.healthy, sandbox.state()["calls"]
    sent = made(connection, "pipeline_run_started", NEW_RUN, "RUNNING")
    send_events(app, sent)
    assert process_all(services).count == 1
    row, run = stored_connection(connection), run_of(connection, NEW_RUN)
    assert (row.running, row.last_run_status) == (True, "RUNNING")
    assert row.last_run_at == datetime.fromisoformat(sent["timestamp"])
    assert row.event_at is not None
    assert run is not None
    assert (run.status, run.ended_at) == ("RUNNING", None)
    assert states() == ["done"]
    assert sandbox.state()["calls"] == before


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("pipeline_run_completed", "COMPLETED"),
        ("pipeline_run_completed_with_errors", "COMPLETED_WITH_ERRORS"),
        ("pipeline_run_internal_error", "INTERNAL_ERROR"),
        ("pipeline_run_error", "ERROR"),
        ("pipeline_run_killed", "KILLED"),
    ],
)
def test_how_a_run_ended_is_shown_at_once_and_read_right_after(
    app: Flask, services: Services, sandbox: Sandbox, event: str, status: str
) -> None:
    connection = sandbox.healthy
    send_events(
        app, made(connection, "pipeline_run_started", NEW_RUN), made(connection, event, NEW_RUN)
    )
    assert process_all(services).accounts == {connection.account_id}
    row = stored_connection(connection)
    assert (row.running, row.last_run_status) == (False, status)
    assert states() == ["done", "waiting"]
    before = sandbox.state()["calls"].get("runs", 0)
    read_reported()
    assert states() == ["done", "done"]
    # The account is read, and only this connection's runs.
    assert sandbox.state()["calls"]["runs"] - before == 1
    assert stored_connection(connection).runs_read_at >= stored_connection(connection).event_at  # type: ignore[operator]


def test_a_new_events_name_counts_by_the_status_it_carries(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    send_events(app, made(connection, "pipeline_run_stopped", NEW_RUN, "KILLED"))
    process_all(services)
    assert stored_connection(connection).last_run_status == "KILLED"


def test_findings_follow_with_the_reading_and_recover_after_the_event(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy

    def rules() -> set[str]:
        db.session.expire_all()
        return {
            finding.rule
            for finding in finding_queries.of_connection(connection.account_id, connection.id)
        }

    for ends_as, event, expected in (
        ("ERROR", "pipeline_run_error", {"noisy"}),
        (None, "pipeline_run_completed", set()),
    ):
        before = rules()
        sandbox.set(connection.id, next_run=ends_as)
        run = sandbox.life.start(connection)
        send_events(app, made(connection, event, run.id))
        process_all(services)
        # An event has neither the error nor the tables: incomplete facts make no findings.
        assert rules() == before
        read_reported()
        assert rules() == expected
        clock.move(seconds=2)


def test_an_end_that_comes_before_its_beginning_stays_the_end(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection, now = sandbox.healthy, datetime.now(UTC)
    started = made(
        connection,
        "pipeline_run_started",
        NEW_RUN,
        timestamp=(now - timedelta(minutes=5)).isoformat(),
    )
    ended = made(connection, "pipeline_run_error", NEW_RUN, timestamp=now.isoformat())
    for batch in ([ended], [started], [ended, started]):
        send_events(app, *batch)
        process_all(services)
        row = stored_connection(connection)
        assert (row.running, row.last_run_status) == (False, "ERROR")
    assert stored_connection(connection).last_run_at == now - timedelta(minutes=5)


def test_an_older_runs_event_never_covers_a_newer_run(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    send_events(app, made(connection, "pipeline_run_started", NEW_RUN + 1))
    process_all(services)
    send_events(
        app,
        made(connection, "pipeline_run_error", NEW_RUN),
        made(connection, "pipeline_run_started", NEW_RUN - 1),
    )
    process_all(services)
    row = stored_connection(connection)
    assert (row.running, row.last_run_status) == (True, "RUNNING")
    old = run_of(connection, NEW_RUN)
    assert old is not None
    assert old.status == "ERROR"
    assert run_of(connection, NEW_RUN - 1) is None


def test_a_run_that_was_read_as_ended_does_not_run_again(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    newest = fleet_runs.newest_id(connection.account_id, connection.id)
    before = stored_connection(connection).last_run_status
    send_events(app, made(connection, "pipeline_run_started", newest))
    process_all(services)
    assert (
        stored_connection(connection).running,
        stored_connection(connection).last_run_status,
    ) == (False, before)


def test_a_reading_that_began_before_an_event_does_not_undo_it(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    sandbox.life.run_seconds = (600, 600)
    run = sandbox.life.start(connection)
    asked_at, account = clock(), services.api.for_account(connection.account_id)
    seen, runs = account.connections(), account.runs(connection.id)
    assert runs[0].is_running
    clock.move(seconds=1)
    send_events(app, made(connection, "pipeline_run_completed", run.id))
    process_all(services)
    reading = writer.AccountFetch(
        connection.account_id, asked_at, WITH_NEXT_REFRESH, seen, {connection.id: runs}
    )
    writer.save_readings([reading], {})
    assert (
        stored_connection(connection).running,
        stored_connection(connection).last_run_status,
    ) == (False, "COMPLETED")
    assert states() == ["waiting"]


def test_duplicates_and_replays_change_nothing(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sent = made(connection, "pipeline_run_started", NEW_RUN)
    send_events(app, sent, sent)
    assert process_all(services).count == 1
    send_events(app, made(connection, "pipeline_run_completed", NEW_RUN))
    process_all(services)
    send_events(app, sent)
    assert process_all(services).count == 0
    webhook_events.replay(
        db.session.scalars(select(WebhookEvent).where(WebhookEvent.key == sent["event_id"])).one()
    )
    assert process_all(services).count == 1
    assert (
        stored_connection(connection).running,
        stored_connection(connection).last_run_status,
    ) == (False, "COMPLETED")


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(range(6)), cuts=st.sets(st.integers(1, 5)))
def test_any_order_in_any_batches_comes_to_the_same(
    app: Flask, services: Services, sandbox: Sandbox, order: list[int], cuts: set[int]
) -> None:
    connection, start, first = (
        sandbox.healthy,
        datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1),
        next(NEW_RUNS),
    )
    names = ["started", "completed", "started", "error", "started", "completed_with_errors"]
    sent = [
        made(
            connection,
            f"pipeline_run_{name}",
            first + index // 2,
            timestamp=(start + timedelta(minutes=index)).isoformat(),
        )
        for index, name in enumerate(names)
    ]
    for index, which in enumerate(order):
        if index in cuts:
            process_all(services)
        send_events(app, sent[which])
    process_all(services)
    row = stored_connection(connection)
    assert (row.running, row.last_run_status) == (False, "COMPLETED_WITH_ERRORS")
    assert row.last_run_at == start + timedelta(minutes=4)


def test_a_connection_that_is_added_is_there_after_one_reading(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    ids = {"account_id": connection.account_id, "connection_id": connection.id}
    db.session.execute(
        db.delete(Run).where(
            Run.account_id == connection.account_id, Run.connection_id == connection.id
        )
    )
    db.session.delete(stored_connection(connection))
    db.session.commit()
    assert queries.connection_or_none(**ids) is None
    send_events(app, made(connection, "connection_added"))
    process_all(services)
    read_reported()
    assert stored_connection(connection).last_run_status is not None
    assert states() == ["done"]


def test_a_connection_that_is_removed_is_gone_with_the_next_listing_without_it(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    listed = [
        each
        for each in services.api.for_account(connection.account_id).connections()
        if each.id != connection.id
    ]
    send_events(app, made(connection, "connection_removed"))
    assert process_all(services).accounts == {connection.account_id}
    assert stored_connection(connection).gone_at is None
    clock.move(seconds=1)
    reading = writer.AccountFetch(connection.account_id, clock(), WITH_NEXT_REFRESH, listed)
    writer.save_readings([reading], {})
    assert stored_connection(connection).gone_at is not None
    assert states() == ["done"]


def test_one_that_is_said_to_be_removed_but_is_listed_stays(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    send_events(app, made(sandbox.healthy, "connection_removed"))
    process_all(services)
    read_reported()
    assert (
        stored_connection(sandbox.healthy).missing_at,
        stored_connection(sandbox.healthy).gone_at,
    ) == (None, None)


def test_an_event_that_is_played_again_after_it_was_forgotten_does_nothing(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    removed, started = (
        made(connection, "connection_removed"),
        made(connection, "pipeline_run_started", NEW_RUN),
    )
    send_events(app, removed, started)
    process_all(services)
    read_reported()
    before = stored_connection(connection).missing_at, stored_connection(connection).running
    clock.move(days=14, seconds=60)
    assert event_retention.delete_old_events(clock()) == 2
    db.session.commit()
    send_events(
        app,
        removed,
        made(connection, "pipeline_run_started", NEW_RUN + 1, timestamp=started["timestamp"]),
    )
    assert process_all(services).accounts == set()
    assert states() == ["ignored", "ignored"]
    assert (
        (stored_connection(connection).missing_at, stored_connection(connection).running)
        == before
        == (None, False)
    )
    assert run_of(connection, NEW_RUN + 1) is None


def test_an_event_that_does_not_name_its_account_finds_it(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sent = made(connection, "pipeline_run_completed", NEW_RUN)
    del sent["account_id"]
    send_events(app, sent, {"event": "connection_added", "event_id": "nobody's"})
    process_all(services)
    assert stored_connection(connection).last_run_status == "COMPLETED"
    read_reported()
    assert states() == ["done", "ignored"]
