"""Effects of events on a watched action: at once, whichever process received them."""

import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import make_server

from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.actions.polling import EVENTS_COME
from dashboard.actions.service import ActionRequest
from dashboard.actions.tasks import poll_action
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.tasks.throttle import Throttle
from dashboard.webhooks import jobs as webhook_jobs
from dashboard.webhooks.models import WebhookEvent
from dashboard.webhooks.tasks import process_events
from dashboard.worker import dispatch
from tests.refresh.test_workers import sign_in
from tests.support.clock import Clock
from tests.support.databases import wait_for
from tests.support.event_builder import (
    NEW_RUN,
    process_all,
    run_of,
    send_events,
    states,
    stored_connection,
)
from tests.support.people import path_of
from tests.support.processes import Processes, make_environ
from tests.support.sandbox import Sandbox
from tests.support.webhook_sender import ADDRESS, SECRET, made

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("context")]


WHO = "olga@example.com"


def begin_sync(services: Services, connection: Any, interval: float = 15) -> Action:
    return sync.start(
        services.api, stored_connection(connection), ActionRequest(WHO, services.clock(), interval)
    )


def test_whoever_watches_sees_the_end_without_the_interval_having_passed(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    action = begin_sync(services, connection, interval=600)
    assert action.due_at is not None
    assert action.due_at > services.clock() + timedelta(seconds=500)
    assert actions.due(services.clock()) == []
    send_events(app, made(connection, "pipeline_run_completed", action.run_id))
    services.queues["jobs"].storage.flush_queue()
    process_events()
    assert actions.due(services.clock()) == [action.id]
    hinted = [task for task in services.queues["jobs"].pending() if task.name == "look"]
    assert [(task.args, task.eta) for task in hinted] == [((action.id,), None)]
    poll_action(action.id)
    db.session.refresh(action)
    assert (action.state, action.run_status) == ("done", "COMPLETED")


def test_an_older_runs_end_wakes_nobody(app: Flask, services: Services, sandbox: Sandbox) -> None:
    action = begin_sync(services, sandbox.healthy)
    assert action.run_id is not None
    send_events(
        app,
        made(sandbox.healthy, "pipeline_run_completed", action.run_id - 1),
        made(sandbox.healthy, "pipeline_run_started", 1),
    )
    assert process_all(services).actions == []
    assert actions.due(services.clock()) == []


def test_polling_slows_down_while_events_come_and_quickens_when_they_stop(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.life.run_seconds = (3600, 3600)
    connection = sandbox.healthy
    action = begin_sync(services, connection)

    def wait_after_a_poll() -> timedelta:
        clock.move(seconds=70)
        leased = actions.lease(action.id, clock())
        assert leased is not None
        at = clock()
        sync.poll(services.api, leased, at, 15)
        assert action.due_at is not None
        return action.due_at - at

    assert wait_after_a_poll() == timedelta(seconds=15)
    send_events(app, made(connection, "pipeline_run_started", action.run_id))
    process_all(services)
    assert wait_after_a_poll() == timedelta(seconds=60)
    clock.move(seconds=EVENTS_COME.total_seconds())
    assert wait_after_a_poll() == timedelta(seconds=15)


def test_an_end_that_is_told_while_somebody_looks_is_looked_at_right_after(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.life.run_seconds = (3600, 3600)
    connection = sandbox.healthy
    action = begin_sync(services, connection)
    clock.move(seconds=70)
    leased, reading_at = actions.lease(action.id, clock()), clock()
    assert leased is not None
    clock.move(seconds=1)
    send_events(app, made(connection, "pipeline_run_completed", action.run_id))
    process_all(services)
    sync.poll(services.api, leased, reading_at, 15)
    assert leased.due_at == reading_at + timedelta(seconds=1)


def test_a_hint_is_given_seldom_and_always_after_what_asked_for_it() -> None:
    given, all_given = [], threading.Event()
    enqueued = []

    def record() -> None:
        given.append(len(enqueued))
        if given[-1] == 100:
            all_given.set()

    hints = Throttle(record, 0.05)
    for number in range(100):
        enqueued.append(number)
        hints()
    assert all_given.wait(60)
    assert len(given) <= 3


def test_a_lost_hint_is_made_good_by_the_tick(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    send_events(app, made(sandbox.healthy, "pipeline_run_started", NEW_RUN))
    wait_for(services.queues["jobs"].pending_count, "the poll is enqueued")
    services.queues["jobs"].storage.flush_queue()
    assert not services.queues["jobs"].pending()
    clock.move(minutes=2)
    dispatch.every_minute()
    assert "take_events" in {task.name for task in services.queues["jobs"].pending()}


def test_two_that_take_at_once_take_each_event_once(
    app: Flask, services: Services, sandbox: Sandbox
) -> None:
    send_events(
        app,
        *[made(sandbox.healthy, "pipeline_run_started", NEW_RUN + number) for number in range(30)],
    )
    counted: list[int] = []

    def work() -> None:
        with app.app_context():
            counted.append(webhook_jobs.process_batch(services.clock(), 300).count)
            db.session.remove()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(counted) == [0, 0, 0, 30]


@pytest.fixture
def machines(store: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> Iterator[Processes]:
    found = Processes(make_environ(sandbox.url, tmp_path, dashboard_watch_interval=600, **store))
    yield found
    found.end_all()


def send_to(sandbox: Sandbox, url: str) -> None:
    sent = {"url": url + ADDRESS, "secret": SECRET}
    requests.post(
        f"{sandbox.url}/sandbox/control/webhooks", json=sent, timeout=30
    ).raise_for_status()


def test_from_the_stand_in_to_whoever_watches_in_no_time(
    app: Flask, sandbox: Sandbox, machines: Processes
) -> None:
    connection = sandbox.healthy
    url = machines.serve()
    machines.start("worker")
    send_to(sandbox, url)
    sandbox.life.run_seconds = (2, 2)
    session, _ = sign_in(url)
    page = session.get(url + path_of(connection), timeout=20).text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    session.post(
        f"{url}{path_of(connection)}/sync", data={"csrf_token": token}, timeout=20
    ).raise_for_status()

    def finished() -> Action | None:
        db.session.rollback()
        return db.session.scalar(select(Action).where(Action.settled_at.is_not(None)))

    # Polls are ten minutes apart: an earlier end is known only by the event.
    wait_for(finished, "the sync is finished")
    action = finished()
    assert action is not None
    assert action.state == "done"
    wait_for(lambda: set(states()) == {"done"} and len(states()) == 2, "both events are done")
    run = run_of(connection, action.run_id or 0)
    assert run is not None
    assert run.ended_at is not None
    assert action.settled_at is not None
    # Two seconds on an idle machine; other tests may run at the same time.
    assert action.settled_at - run.ended_at < timedelta(seconds=8)


def test_a_worker_that_is_killed_between_taking_and_settling_loses_nothing(
    app: Flask, sandbox: Sandbox, machines: Processes
) -> None:
    connection = sandbox.healthy
    sandbox.fault("servers", delay_ms=20_000)
    send_events(
        app, *[made(connection, "pipeline_run_error", NEW_RUN + number) for number in range(5)]
    )
    victim = machines.start("worker")

    def all_applied() -> bool:
        db.session.rollback()
        return not db.session.scalars(
            select(WebhookEvent.id).where(WebhookEvent.applied_at.is_(None))
        ).all()

    wait_for(
        lambda: all_applied() and sandbox.state()["calls"].get("servers", 0) > 0,
        "the worker has leased them",
    )
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert set(states()) == {"waiting"}
    sandbox.clear()
    machines.start("worker")
    wait_for(lambda: set(states()) == {"done"}, "another worker finishes them", within=60)
    assert len(states()) == 5
    assert stored_connection(connection).runs_read_at is not None


def test_an_event_over_a_real_socket_is_answered(app: Flask, sandbox: Sandbox) -> None:
    """The sandbox's sender signs with code of its own."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        send_to(sandbox, f"http://127.0.0.1:{server.server_port}")
        for more, expected in (({}, [204, 204]), ({"bad_signature": True}, [401, 401])):
            sent = {
                "connection_id": sandbox.healthy.id,
                "event": "pipeline_run_completed",
                "times": 2,
                **more,
            }
            response = requests.post(
                f"{sandbox.url}/sandbox/control/webhooks/send", json=sent, timeout=20
            )
            assert response.json() == expected
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
    assert states() == ["waiting"]
