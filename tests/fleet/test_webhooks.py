"""What events do to the snapshot and to whoever watches: against the sandbox over sockets, on both databases."""

import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from werkzeug.serving import make_server

from dashboard.app import Console
from dashboard.fleet import sync, webhooks
from dashboard.fleet.hints import Seldom
from dashboard.fleet.pace import EVENTS_COME, WITH_THE_NEXT_PASS
from dashboard.store import actions, diagnosed, due, events, retention, run_log, snapshot
from dashboard.store.database import db
from dashboard.store.models import Account, AccountCheck, Action, Connection, Run, WebhookEvent
from tests.conftest import Clock, Sandbox, path_of
from tests.engines import wait_for
from tests.fleet.test_workers import sign_in
from tests.processes import Processes, make_environ
from tests.webhooks import ADDRESS, SECRET, made, post

WHO = "olga@example.com"
NEW_RUN = 2**62
NEW_RUNS = count(NEW_RUN, 10)


@pytest.fixture
def store(store: dict[str, str]) -> dict[str, str]:
    return {**store, "peliqan_webhook_secret": SECRET}


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    """Nothing is due but what events make so."""
    with app.app_context():
        db.session.execute(update(AccountCheck).values(due_at=WITH_THE_NEXT_PASS))
        db.session.commit()
        yield


def known(connection: Any) -> Connection:
    db.session.expire_all()
    row = snapshot.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    return row


def tell(app: Flask, *told: dict[str, Any]) -> None:
    client = app.test_client()
    for each in told:
        assert post(client, each).status_code == 204


def take(parts: Console) -> webhooks.Taken:
    found = webhooks.take_all(parts.clock, parts.fleet.interval)
    db.session.expire_all()
    return found


def states() -> list[str]:
    db.session.expire_all()
    return list(db.session.scalars(select(WebhookEvent.state).order_by(WebhookEvent.id)))


def run_of(connection: Any, run_id: int) -> Run | None:
    return db.session.get(Run, (connection.account_id, connection.id, run_id))


def test_a_run_that_begins_is_in_the_snapshot_without_a_call(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection, before = sandbox.healthy, sandbox.state()["calls"]
    told = made(connection, "pipeline_run_started", NEW_RUN, "RUNNING")
    tell(app, told)
    assert take(parts).count == 1
    row, run = known(connection), run_of(connection, NEW_RUN)
    assert (row.running, row.last_run_status) == (True, "RUNNING")
    assert row.last_run_at == datetime.fromisoformat(told["timestamp"])
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
    app: Flask, parts: Console, sandbox: Sandbox, event: str, status: str
) -> None:
    connection = sandbox.healthy
    tell(app, made(connection, "pipeline_run_started", NEW_RUN), made(connection, event, NEW_RUN))
    assert take(parts).accounts == {connection.account_id}
    row = known(connection)
    assert (row.running, row.last_run_status) == (False, status)
    assert states() == ["done", "waiting"]
    before = sandbox.state()["calls"].get("runs", 0)
    parts.work.read_told()
    assert states() == ["done", "done"]
    # The account is read, and the runs of this connection alone.
    assert sandbox.state()["calls"]["runs"] - before == 1
    assert known(connection).runs_read_at >= known(connection).event_at  # type: ignore[operator]


def test_a_new_events_name_counts_by_the_status_it_carries(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    tell(app, made(connection, "pipeline_run_stopped", NEW_RUN, "KILLED"))
    take(parts)
    assert known(connection).last_run_status == "KILLED"


def test_findings_follow_with_the_reading_and_recover_after_the_event(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy

    def rules() -> set[str]:
        db.session.expire_all()
        return {finding.rule for finding in diagnosed.of_connection(connection.account_id, connection.id)}

    for ends_as, event, expected in (("ERROR", "pipeline_run_error", {"noisy"}), (None, "pipeline_run_completed", set())):
        before = rules()
        sandbox.set(connection.id, next_run=ends_as)
        run = sandbox.life.start(connection)
        tell(app, made(connection, event, run.id))
        take(parts)
        # An event tells neither why nor what: half of the facts make no findings.
        assert rules() == before
        parts.work.read_told()
        assert rules() == expected
        clock.move(seconds=2)


def test_an_end_that_comes_before_its_beginning_stays_the_end(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection, now = sandbox.healthy, datetime.now(UTC)
    started = made(connection, "pipeline_run_started", NEW_RUN, timestamp=(now - timedelta(minutes=5)).isoformat())
    ended = made(connection, "pipeline_run_error", NEW_RUN, timestamp=now.isoformat())
    for batch in ([ended], [started], [ended, started]):
        tell(app, *batch)
        take(parts)
        row = known(connection)
        assert (row.running, row.last_run_status) == (False, "ERROR")
    assert known(connection).last_run_at == now - timedelta(minutes=5)


def test_an_older_runs_event_never_covers_a_newer_run(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    tell(app, made(connection, "pipeline_run_started", NEW_RUN + 1))
    take(parts)
    tell(app, made(connection, "pipeline_run_error", NEW_RUN), made(connection, "pipeline_run_started", NEW_RUN - 1))
    take(parts)
    row = known(connection)
    assert (row.running, row.last_run_status) == (True, "RUNNING")
    old = run_of(connection, NEW_RUN)
    assert old is not None
    assert old.status == "ERROR"
    assert run_of(connection, NEW_RUN - 1) is None


def test_a_run_that_was_read_as_ended_does_not_run_again(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    newest = run_log.newest_id(connection.account_id, connection.id)
    before = known(connection).last_run_status
    tell(app, made(connection, "pipeline_run_started", newest))
    take(parts)
    assert (known(connection).running, known(connection).last_run_status) == (False, before)


def test_a_reading_that_began_before_an_event_does_not_undo_it(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    sandbox.life.run_seconds = (600, 600)
    run = sandbox.life.start(connection)
    asked_at, account = clock(), parts.api.for_account(connection.account_id)
    seen, runs = account.connections(), account.runs(connection.id)
    assert runs[0].is_running
    clock.move(seconds=1)
    tell(app, made(connection, "pipeline_run_completed", run.id))
    take(parts)
    reading = snapshot.Reading(connection.account_id, asked_at, WITH_THE_NEXT_PASS, seen, {connection.id: runs})
    snapshot.save_readings([reading], {})
    assert (known(connection).running, known(connection).last_run_status) == (False, "COMPLETED")
    assert states() == ["waiting"]


def test_duplicates_and_replays_change_nothing(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    told = made(connection, "pipeline_run_started", NEW_RUN)
    tell(app, told, told)
    assert take(parts).count == 1
    tell(app, made(connection, "pipeline_run_completed", NEW_RUN))
    take(parts)
    tell(app, told)
    assert take(parts).count == 0
    events.replay(db.session.scalars(select(WebhookEvent).where(WebhookEvent.key == told["event_id"])).one())
    assert take(parts).count == 1
    assert (known(connection).running, known(connection).last_run_status) == (False, "COMPLETED")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), cuts=st.sets(st.integers(1, 5)))
def test_any_order_in_any_batches_comes_to_the_same(
    app: Flask, parts: Console, sandbox: Sandbox, order: list[int], cuts: set[int]
) -> None:
    connection, start, first = sandbox.healthy, datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1), next(NEW_RUNS)
    names = ["started", "completed", "started", "error", "started", "completed_with_errors"]
    told = [
        made(connection, f"pipeline_run_{name}", first + place // 2, timestamp=(start + timedelta(minutes=place)).isoformat())
        for place, name in enumerate(names)
    ]
    for place, which in enumerate(order):
        if place in cuts:
            take(parts)
        tell(app, told[which])
    take(parts)
    row = known(connection)
    assert (row.running, row.last_run_status) == (False, "COMPLETED_WITH_ERRORS")
    assert row.last_run_at == start + timedelta(minutes=4)


def test_a_connection_that_is_added_is_there_after_one_reading(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    gone = {"account_id": connection.account_id, "connection_id": connection.id}
    db.session.execute(db.delete(Run).where(Run.account_id == connection.account_id, Run.connection_id == connection.id))
    db.session.delete(known(connection))
    db.session.commit()
    assert snapshot.connection_or_none(**gone) is None
    tell(app, made(connection, "connection_added"))
    take(parts)
    parts.work.read_told()
    assert known(connection).last_run_status is not None
    assert states() == ["done"]


def test_a_connection_that_is_removed_is_gone_with_the_next_listing_without_it(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    listed = [each for each in parts.api.for_account(connection.account_id).connections() if each.id != connection.id]
    tell(app, made(connection, "connection_removed"))
    assert take(parts).accounts == {connection.account_id}
    assert known(connection).gone_at is None
    clock.move(seconds=1)
    reading = snapshot.Reading(connection.account_id, clock(), WITH_THE_NEXT_PASS, listed)
    snapshot.save_readings([reading], {})
    assert known(connection).gone_at is not None
    assert states() == ["done"]


def test_one_that_is_said_to_be_removed_but_is_listed_stays(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    tell(app, made(sandbox.healthy, "connection_removed"))
    take(parts)
    parts.work.read_told()
    assert (known(sandbox.healthy).missing_at, known(sandbox.healthy).gone_at) == (None, None)


def test_an_event_that_is_played_again_after_it_was_forgotten_does_nothing(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    removed, begun = made(connection, "connection_removed"), made(connection, "pipeline_run_started", NEW_RUN)
    tell(app, removed, begun)
    take(parts)
    parts.work.read_told()
    before = known(connection).missing_at, known(connection).running
    clock.move(days=14, seconds=60)
    assert retention.forget_events(clock()) == 2
    db.session.commit()
    tell(app, removed, made(connection, "pipeline_run_started", NEW_RUN + 1, timestamp=begun["timestamp"]))
    assert take(parts).accounts == set()
    assert states() == ["ignored", "ignored"]
    assert (known(connection).missing_at, known(connection).running) == before == (None, False)
    assert run_of(connection, NEW_RUN + 1) is None


def test_an_event_that_does_not_name_its_account_finds_it(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    told = made(connection, "pipeline_run_completed", NEW_RUN)
    del told["account_id"]
    tell(app, told, {"event": "connection_added", "event_id": "nobody's"})
    take(parts)
    assert known(connection).last_run_status == "COMPLETED"
    parts.work.read_told()
    assert states() == ["done", "ignored"]


def test_a_storm_of_one_account_costs_one_reading(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    tell(app, *[made(connection, "pipeline_run_error", NEW_RUN + number) for number in range(40)])
    take(parts)
    before = sandbox.state()["calls"]
    parts.work.read_told()
    calls = sandbox.state()["calls"]
    assert {name: calls[name] - before.get(name, 0) for name in ("servers", "runs")} == {"servers": 1, "runs": 1}
    assert set(states()) == {"done"}


def test_in_a_storm_what_is_told_is_shown_at_once_and_the_accounts_are_read_once_after_it(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    theirs = (each for account in sandbox.life.accounts(1, 20) for each in sandbox.life.connections(account.id))
    other = next(each for each in theirs if not each.failure and not each.placed and each.account_id != connection.account_id)
    tell(app, *[made(connection, "pipeline_run_error", NEW_RUN + number) for number in range(webhooks.MOST_WAITING + 1)])
    assert take(parts).accounts == {connection.account_id}
    tell(app, *[made(other, f"pipeline_run_{name}", NEW_RUN) for name in ("started", "internal_error")])
    assert take(parts).accounts == set()
    assert known(other).last_run_status == "INTERNAL_ERROR"
    clock.move(seconds=6)
    assert other.account_id not in take(parts).accounts
    clock.move(seconds=5)
    assert other.account_id in take(parts).accounts
    parts.work.read_told()
    assert set(states()) == {"done"}


def test_a_failing_api_leaves_the_event_waiting_with_the_reason_and_is_asked_again(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    sandbox.fault("servers", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."})
    tell(app, made(connection, "pipeline_run_completed", NEW_RUN))
    take(parts)
    parts.work.read_told()
    event = db.session.scalars(select(WebhookEvent)).one()
    assert event.state == "waiting"
    assert "Trial over." in event.detail
    # What the event told is shown all the same.
    assert known(connection).last_run_status == "COMPLETED"
    sandbox.clear()
    assert take(parts).accounts == set()
    clock.move(seconds=6)
    assert take(parts).accounts == {connection.account_id}
    parts.work.read_told()
    assert states() == ["done"]


def test_what_cannot_be_read_at_all_fails_in_the_end_and_says_why(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.fault("servers", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."})
    tell(app, made(sandbox.healthy, "pipeline_run_completed", NEW_RUN))
    tries = 0
    for _ in range(60):
        tries += bool(take(parts).accounts)
        parts.work.read_told()
        clock.move(minutes=1)
    event = db.session.scalars(select(WebhookEvent)).one()
    assert (event.state, tries) == ("failed", events.MOST_TRIES)
    assert "Trial over." in event.detail
    assert events.next_due() is None


def test_a_replay_reads_what_could_not_be_read_before(app: Flask, parts: Console, sandbox: Sandbox, clock: Clock) -> None:
    connection = sandbox.healthy
    sandbox.fault("servers", status=403)
    tell(app, made(connection, "pipeline_run_completed", NEW_RUN))
    for _ in range(30):
        take(parts)
        parts.work.read_told()
        clock.move(minutes=1)
    event = db.session.scalars(select(WebhookEvent)).one()
    assert event.state == "failed"
    sandbox.clear()
    events.replay(event)
    assert take(parts).accounts == {connection.account_id}
    parts.work.read_told()
    assert states() == ["done"]
    # Once it was read, there is nothing more to it.
    events.replay(event)
    assert take(parts).accounts == set()
    assert states() == ["done"]


def test_an_event_of_an_account_that_is_not_known_yet_waits_for_it(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    tell(app, made(sandbox.healthy, "connection_added", account_id=999_999))
    assert take(parts).accounts == set()
    event = db.session.scalars(select(WebhookEvent)).one()
    assert event.state == "waiting"
    assert "999999 is not known yet" in event.detail
    db.session.add(Account(id=999_999, name="New", first_seen_at=clock(), check=AccountCheck(due_at=WITH_THE_NEXT_PASS)))
    db.session.commit()
    clock.move(seconds=6)
    assert take(parts).accounts == {999_999}


def test_what_events_ask_for_is_read_before_the_rest_of_a_pass(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.find(auth="saltedge")
    db.session.execute(update(AccountCheck).values(due_at=clock() - timedelta(seconds=30)))
    db.session.commit()
    tell(app, made(connection, "pipeline_run_completed", NEW_RUN))
    take(parts)
    assert [each.account_id for each in due.take(clock(), 1)] == [connection.account_id]


def begin_sync(parts: Console, connection: Any, interval: float = 15) -> Action:
    return sync.start(parts.api, known(connection), WHO, parts.clock(), interval)


def test_whoever_watches_sees_the_end_without_the_interval_having_passed(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    action = begin_sync(parts, connection, interval=600)
    assert action.due_at is not None
    assert action.due_at > parts.clock() + timedelta(seconds=500)
    assert actions.due(parts.clock()) == []
    tell(app, made(connection, "pipeline_run_completed", action.run_id))
    parts.work.jobs.storage.flush_queue()
    parts.work.take_events()
    assert actions.due(parts.clock()) == [action.id]
    hinted = [task for task in parts.work.jobs.pending() if task.name == "look"]
    assert [(task.args, task.eta) for task in hinted] == [((action.id,), None)]
    parts.work.look(action.id)
    db.session.refresh(action)
    assert (action.state, action.run_status) == ("done", "COMPLETED")


def test_an_older_runs_end_wakes_nobody(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    action = begin_sync(parts, sandbox.healthy)
    assert action.run_id is not None
    tell(
        app, made(sandbox.healthy, "pipeline_run_completed", action.run_id - 1), made(sandbox.healthy, "pipeline_run_started", 1)
    )
    assert take(parts).actions == []
    assert actions.due(parts.clock()) == []


def test_polling_slows_down_while_events_come_and_quickens_when_they_stop(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.life.run_seconds = (3600, 3600)
    connection = sandbox.healthy
    action = begin_sync(parts, connection)

    def wait_after_a_look() -> timedelta:
        clock.move(seconds=70)
        leased = actions.lease(action.id, clock())
        assert leased is not None
        at = clock()
        sync.look(parts.api, leased, at, 15)
        assert action.due_at is not None
        return action.due_at - at

    assert wait_after_a_look() == timedelta(seconds=15)
    tell(app, made(connection, "pipeline_run_started", action.run_id))
    take(parts)
    assert wait_after_a_look() == timedelta(seconds=60)
    clock.move(seconds=EVENTS_COME.total_seconds())
    assert wait_after_a_look() == timedelta(seconds=15)


def test_an_end_that_is_told_while_somebody_looks_is_looked_at_right_after(
    app: Flask, parts: Console, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.life.run_seconds = (3600, 3600)
    connection = sandbox.healthy
    action = begin_sync(parts, connection)
    clock.move(seconds=70)
    leased, began = actions.lease(action.id, clock()), clock()
    assert leased is not None
    clock.move(seconds=1)
    tell(app, made(connection, "pipeline_run_completed", action.run_id))
    take(parts)
    sync.look(parts.api, leased, began, 15)
    assert leased.due_at == began + timedelta(seconds=1)


def test_a_hint_is_given_seldom_and_always_after_what_asked_for_it() -> None:
    given, all_given = [], threading.Event()
    asked = []

    def hint() -> None:
        given.append(len(asked))
        if given[-1] == 100:
            all_given.set()

    hints = Seldom(hint, 0.05)
    for number in range(100):
        asked.append(number)
        hints()
    assert all_given.wait(10)
    assert len(given) <= 3


def test_a_lost_hint_is_made_good_by_the_tick(app: Flask, parts: Console, sandbox: Sandbox, clock: Clock) -> None:
    tell(app, made(sandbox.healthy, "pipeline_run_started", NEW_RUN))
    wait_for(parts.work.jobs.pending_count, "the hint is given")
    parts.work.jobs.storage.flush_queue()
    assert not parts.work.jobs.pending()
    clock.move(minutes=2)
    parts.work.tick()
    assert "take_events" in {task.name for task in parts.work.jobs.pending()}


def test_two_that_take_at_once_take_each_event_once(app: Flask, parts: Console, sandbox: Sandbox) -> None:
    tell(app, *[made(sandbox.healthy, "pipeline_run_started", NEW_RUN + number) for number in range(30)])
    counted: list[int] = []

    def work() -> None:
        with app.app_context():
            counted.append(webhooks.take(parts.clock(), 300).count)
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
    told = {"url": url + ADDRESS, "secret": SECRET}
    requests.post(f"{sandbox.url}/sandbox/control/webhooks", json=told, timeout=5).raise_for_status()


def test_from_the_stand_in_to_whoever_watches_in_no_time(app: Flask, sandbox: Sandbox, machines: Processes) -> None:
    connection = sandbox.healthy
    url = machines.serve()
    machines.start("worker")
    send_to(sandbox, url)
    sandbox.life.run_seconds = (2, 2)
    session, _ = sign_in(url)
    page = session.get(url + path_of(connection), timeout=20).text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    session.post(f"{url}{path_of(connection)}/sync", data={"csrf_token": token}, timeout=20).raise_for_status()

    def settled() -> Action | None:
        db.session.rollback()
        return db.session.scalar(select(Action).where(Action.settled_at.is_not(None)))

    # Ten minutes lie between two looks: what is seen before that is seen because it was told.
    wait_for(settled, "the sync is settled", within=30)
    action = settled()
    assert action is not None
    assert action.state == "done"
    wait_for(lambda: set(states()) == {"done"} and len(states()) == 2, "both events are settled", within=20)
    run = run_of(connection, action.run_id or 0)
    assert run is not None
    assert run.ended_at is not None
    assert action.settled_at is not None
    # Two seconds on a machine of one's own; other tests run beside this one.
    assert action.settled_at - run.ended_at < timedelta(seconds=8)


def test_a_worker_that_is_killed_between_taking_and_settling_loses_nothing(
    app: Flask, sandbox: Sandbox, machines: Processes
) -> None:
    connection = sandbox.healthy
    sandbox.fault("servers", delay_ms=20_000)
    tell(app, *[made(connection, "pipeline_run_error", NEW_RUN + number) for number in range(5)])
    victim = machines.start("worker")

    def taken() -> bool:
        db.session.rollback()
        return not db.session.scalars(select(WebhookEvent.id).where(WebhookEvent.applied_at.is_(None))).all()

    wait_for(lambda: taken() and sandbox.state()["calls"].get("servers", 0) > 0, "the worker has them in hand", within=30)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert set(states()) == {"waiting"}
    sandbox.clear()
    machines.start("worker")
    wait_for(lambda: set(states()) == {"done"}, "another settles them", within=60)
    assert len(states()) == 5
    assert known(connection).runs_read_at is not None


def test_an_event_over_a_real_socket_is_answered(app: Flask, sandbox: Sandbox) -> None:
    """The stand-in's own sender, whose signature nobody here wrote."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        send_to(sandbox, f"http://127.0.0.1:{server.server_port}")
        for more, expected in (({}, [204, 204]), ({"bad_signature": True}, [401, 401])):
            told = {"connection_id": sandbox.healthy.id, "event": "pipeline_run_completed", "times": 2, **more}
            answer = requests.post(f"{sandbox.url}/sandbox/control/webhooks/send", json=told, timeout=20)
            assert answer.json() == expected
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
    assert states() == ["waiting"]
