"""Reads that events cause: one an account, whatever the number of events, and retries."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.fleet.models import Account, AccountRefreshState
from dashboard.refresh import queue as refresh_queue
from dashboard.refresh.schedule import WITH_NEXT_REFRESH
from dashboard.webhooks import jobs as webhook_jobs
from dashboard.webhooks import service as webhook_events
from dashboard.webhooks.limits import MOST_TRIES
from dashboard.webhooks.models import WebhookEvent
from dashboard.webhooks.tasks import read_reported
from tests.support.clock import Clock
from tests.support.event_builder import NEW_RUN, process_all, send_events, states, stored_connection
from tests.support.sandbox import Sandbox
from tests.support.webhook_sender import made

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("context")]


def test_a_storm_of_one_account_costs_one_reading(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    send_events(
        app, *[made(connection, "pipeline_run_error", NEW_RUN + number) for number in range(40)]
    )
    process_all(services)
    before = sandbox.state()["calls"]
    read_reported()
    calls = sandbox.state()["calls"]
    assert {name: calls[name] - before.get(name, 0) for name in ("servers", "runs")} == {
        "servers": 1,
        "runs": 1,
    }
    assert set(states()) == {"done"}


def test_in_a_storm_what_is_told_is_shown_at_once_and_the_accounts_are_read_once_after_it(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    theirs = (
        each
        for account in sandbox.life.accounts(1, 20)
        for each in sandbox.life.connections(account.id)
    )
    other = next(
        each
        for each in theirs
        if not each.failure and not each.placed and each.account_id != connection.account_id
    )
    send_events(
        app,
        *[
            made(connection, "pipeline_run_error", NEW_RUN + number)
            for number in range(webhook_jobs.MOST_WAITING + 1)
        ],
    )
    assert process_all(services).accounts == {connection.account_id}
    send_events(
        app,
        *[made(other, f"pipeline_run_{name}", NEW_RUN) for name in ("started", "internal_error")],
    )
    assert process_all(services).accounts == set()
    assert stored_connection(other).last_run_status == "INTERNAL_ERROR"
    clock.move(seconds=6)
    assert other.account_id not in process_all(services).accounts
    clock.move(seconds=5)
    assert other.account_id in process_all(services).accounts
    read_reported()
    assert set(states()) == {"done"}


def test_a_failing_api_leaves_the_event_waiting_with_the_reason_and_is_asked_again(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    sandbox.fault("servers", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."})
    send_events(app, made(connection, "pipeline_run_completed", NEW_RUN))
    process_all(services)
    read_reported()
    event = db.session.scalars(select(WebhookEvent)).one()
    assert event.state == "waiting"
    assert "Trial over." in event.detail
    # What the event reports is shown although the read failed.
    assert stored_connection(connection).last_run_status == "COMPLETED"
    sandbox.clear()
    assert process_all(services).accounts == set()
    clock.move(seconds=6)
    assert process_all(services).accounts == {connection.account_id}
    read_reported()
    assert states() == ["done"]


def test_what_cannot_be_read_at_all_fails_in_the_end_and_says_why(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.fault("servers", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."})
    send_events(app, made(sandbox.healthy, "pipeline_run_completed", NEW_RUN))
    tries = 0
    for _ in range(60):
        tries += bool(process_all(services).accounts)
        read_reported()
        clock.move(minutes=1)
    event = db.session.scalars(select(WebhookEvent)).one()
    assert (event.state, tries) == ("failed", MOST_TRIES)
    assert "Trial over." in event.detail
    assert webhook_events.next_due() is None


def test_a_replay_reads_what_could_not_be_read_before(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    sandbox.fault("servers", status=403)
    send_events(app, made(connection, "pipeline_run_completed", NEW_RUN))
    for _ in range(30):
        process_all(services)
        read_reported()
        clock.move(minutes=1)
    event = db.session.scalars(select(WebhookEvent)).one()
    assert event.state == "failed"
    sandbox.clear()
    webhook_events.replay(event)
    assert process_all(services).accounts == {connection.account_id}
    read_reported()
    assert states() == ["done"]
    # The account was read after the event, so a replay needs no other read.
    webhook_events.replay(event)
    assert process_all(services).accounts == set()
    assert states() == ["done"]


def test_an_event_of_an_account_that_is_not_known_yet_waits_for_it(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    send_events(app, made(sandbox.healthy, "connection_added", account_id=999_999))
    assert process_all(services).accounts == set()
    event = db.session.scalars(select(WebhookEvent)).one()
    assert event.state == "waiting"
    assert "999999 is not known yet" in event.detail
    db.session.add(
        Account(
            id=999_999,
            name="New",
            first_seen_at=clock(),
            check=AccountRefreshState(due_at=WITH_NEXT_REFRESH),
        )
    )
    db.session.commit()
    clock.move(seconds=6)
    assert process_all(services).accounts == {999_999}


def test_what_events_ask_for_is_read_before_the_rest_of_a_pass(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.find(auth="saltedge")
    db.session.execute(update(AccountRefreshState).values(due_at=clock() - timedelta(seconds=30)))
    db.session.commit()
    send_events(app, made(connection, "pipeline_run_completed", NEW_RUN))
    process_all(services)
    assert [each.account_id for each in refresh_queue.lease_accounts(clock(), 1)] == [
        connection.account_id
    ]
