"""Delivery of alerts: once, retried after a failure, without a secret; on both databases."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.alerts import outbox
from dashboard.alerts import rules as alert_rules
from dashboard.alerts import sending as alert_delivery
from dashboard.alerts.models import AlertMessage
from dashboard.alerts.tasks import send_alerts
from dashboard.app import create_app
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.worker import dispatch, retention
from tests.support.alert_receiver import SECRET, Clockwork, messages, the_cause
from tests.support.clock import Clock
from tests.support.databases import wait_for
from tests.support.factories import dark_fleet, refused_fleet
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def test_two_workers_at_once_send_it_once(
    store: dict[str, str],
    sandbox: Sandbox,
    tmp_path: Path,
    worker: Clockwork,
    clock: Clock,
) -> None:
    worker.rule()
    refused_fleet(clock, 3)
    dark_fleet(clock, 12)
    clock.move(minutes=6)
    db.session.remove()
    others = [
        create_app(make_settings(sandbox.url, tmp_path, **store), clock=clock) for _ in range(4)
    ]

    def work(other: Flask) -> None:
        with other.app_context():
            for _ in range(3):
                send_alerts()
                db.session.remove()

    worker.receiver.may_answer.clear()
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, other) for other in others]
        wait_for(lambda: len(worker.receiver.paths) >= 1, "a message is being sent")
        worker.receiver.may_answer.set()
        for each in done:
            each.result(30)
    assert len(worker.receiver.titles) == len(set(worker.receiver.titles)) == 2
    assert [each.tries for each in messages()] == [1, 1]
    for other in others:
        with other.app_context():
            db.engine.dispose()


def test_what_cannot_be_sent_is_tried_three_times_more_and_given_up(
    worker: Clockwork, clock: Clock
) -> None:
    worker.rule()
    refused_fleet(clock, 3)
    worker.receiver.status = 503
    worker.minute(minutes=6)
    waits = []
    for _ in range(3):
        [message] = messages()
        assert message.due_at is not None
        waits.append(round((message.due_at - clock()).total_seconds() / 60))
        assert (message.state, message.error) == (
            "waiting",
            "The place answered 503: it is in trouble.",
        )
        clock.ahead += message.due_at - clock() + timedelta(seconds=1)
        worker.minute()
    assert waits == [1, 5, 30]
    [message] = messages()
    assert (message.state, message.tries, message.due_at) == ("failed", 4, None)
    assert len(worker.receiver.paths) == 4
    worker.minute(hours=5)
    assert len(worker.receiver.paths) == 4
    # A recovery is sent only where its cause was sent.
    refused_fleet(clock, 3, error="")
    worker.receiver.status = 200
    assert worker.minute(minutes=6) == []
    assert alert_delivery.send_again(worker.services, message.id) is None
    assert [each.state for each in messages(AlertMessage.id == message.id)] == ["sent"]
    with pytest.raises(LookupError):
        alert_delivery.send_again(worker.services, message.id)


def test_what_a_killed_worker_had_in_hand_is_not_sent_twice_but_shown_and_sent_again_by_hand(
    worker: Clockwork, clock: Clock
) -> None:
    worker.rule()
    refused_fleet(clock, 3)
    clock.move(minutes=6)
    outbox.queue_messages(clock(), None)
    [message] = messages()
    assert outbox.lease(message.id, clock()) is not None
    assert worker.minute(minutes=9) == []
    assert [each.state for each in messages()] == ["waiting"]
    assert worker.minute(minutes=2) == []
    [message] = messages()
    assert (message.state, message.error, message.due_at) == ("failed", outbox.LOST, None)
    assert worker.minute(hours=5) == []
    assert alert_delivery.send_again(worker.services, message.id) is None
    assert len(worker.receiver.titles) == 1


def test_a_place_that_is_away_is_tried_once_a_minute_and_keeps_nobody_else_waiting(
    worker: Clockwork, clock: Clock
) -> None:
    worker.rule(address="json://127.0.0.1:9/nobody", name="Away")
    worker.rule()
    refused_fleet(clock, 3)
    dark_fleet(clock, 12)
    assert len(worker.minute(minutes=6)) == 2
    away = messages(AlertMessage.state == outbox.WAITING)
    assert sorted(each.tries for each in away) == [0, 1]
    assert {each.error for each in away} == {
        "",
        "No connection to the place came about, or it broke off.",
    }


def test_no_secret_of_an_error_nor_of_the_address_reaches_a_message_the_store_or_a_log(
    worker: Clockwork,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(1)
    rule = worker.rule()
    refused_fleet(
        clock,
        3,
        error=f"401 for https://u:{SECRET}@api.example.com/x?token={SECRET}, password: {SECRET}",
    )
    assert len(worker.minute(minutes=6)) == 1
    assert SECRET in worker.receiver.paths[0]
    assert SECRET not in str(worker.receiver.got)
    assert "401 for https://api.example.com/…" in worker.receiver.got[0]["message"]
    for status in (500, 404, 302):
        worker.receiver.status = status
        refused_fleet(clock, 3, connector=f"connector {status}", first=700_000 + 1000 * status)
        worker.minute(minutes=6)
    alert_delivery.send_test(worker.services, rule, "adam@example.com", None)
    with pytest.raises(alert_delivery.BadAddress) as caught:
        alert_delivery.check_address(f"slack://{SECRET}/{SECRET}")
    texts = [f"{each.subject} {each.body} {each.error}" for each in messages()]
    out = "".join(capfd.readouterr())
    for text in (*texts, caplog.text, out, str(caught.value), repr(rule)):
        assert SECRET not in text
    stored = db.session.execute(db.text("SELECT address FROM alert_rule")).scalar_one()
    assert SECRET.encode() not in bytes(stored)
    assert worker.services.vault.decrypt(bytes(stored)) == worker.receiver.address
    assert logging.getLogger("apprise").propagate is False


def test_a_rule_that_is_deleted_while_its_message_is_on_its_way_is_gone(
    app: Flask, services: Services, worker: Clockwork, clock: Clock
) -> None:
    rule_id = worker.rule().id
    refused_fleet(clock, 3)
    clock.move(minutes=6)
    worker.receiver.may_answer.clear()

    def work() -> None:
        with app.app_context():
            send_alerts()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        assert worker.receiver.arrived.wait(60)
        db.session.rollback()
        rule = alert_rules.rule_or_none(rule_id)
        assert rule is not None
        alert_rules.remove(rule)
        worker.receiver.may_answer.set()
        done.result(10)
    assert messages() == []


def test_an_address_of_another_secret_key_is_said_so(worker: Clockwork, clock: Clock) -> None:
    rule = worker.rule()
    rule.address = b"of another key"
    db.session.commit()
    refused_fleet(clock, 3)
    worker.minute(minutes=6)
    [message] = messages()
    assert "cannot be read with the SECRET_KEY" in message.error


def test_the_minute_asks_for_alerts(services: Services) -> None:
    before = services.queues["jobs"].pending_count()
    dispatch.start()
    waiting = [task.name for task in services.queues["jobs"].pending()]
    assert len(waiting) > before
    assert "alerts" in waiting


def test_what_was_told_is_forgotten_with_its_cause_and_not_before(
    worker: Clockwork, clock: Clock
) -> None:
    rule = worker.rule()
    refused_fleet(clock, 3)
    worker.minute(minutes=6)
    outbox.begin_test(rule, "adam@example.com", clock(), None).state = outbox.SENT
    db.session.commit()
    retention.delete_old(clock() + timedelta(days=1))
    assert [each.key for each in messages()] == [f"cause/{the_cause().id}/1/new"]
    refused_fleet(clock, 3, error="")
    retention.delete_old(clock() + timedelta(days=1))
    assert messages() == []
    assert (
        db.session.scalar(
            select(func.count()).select_from(Finding).where(Finding.connector == "made_up")
        )
        == 0
    )
