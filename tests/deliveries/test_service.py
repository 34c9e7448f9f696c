"""Stored deliveries: started once, leased to one worker, audited; on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.models import Delivery
from dashboard.worker import retention
from tests.support.clock import Clock
from tests.support.hook_receiver import all_deliveries, audited

pytestmark = pytest.mark.both_engines


KEY, OTHER, WHO = (1002, 100299), (1003, 100399), "olga@example.com"


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def started(services: Services) -> int:
    (delivery_id,) = deliveries.start([KEY], WHO, services.clock())
    db.session.commit()
    return delivery_id


def leased(delivery_id: int, clock: Clock) -> Delivery:
    found = deliveries.lease(delivery_id, clock())
    assert found is not None
    return found


def test_a_connection_is_begun_once_however_often_and_by_whom_it_is_told(
    services: Services, clock: Clock
) -> None:
    assert len(deliveries.start([KEY, OTHER, KEY], WHO, clock())) == 2
    db.session.commit()
    assert deliveries.start([KEY], deliveries.BY_EVENT, clock()) == []
    assert [(each.state, each.who) for each in all_deliveries()] == [("waiting", WHO)] * 2
    assert audited() == [("deliver", WHO, "pending")] * 2


def test_processes_that_hear_of_it_at_once_begin_one(app: Flask, services: Services) -> None:
    barrier = Barrier(4)

    def start(number: int) -> list[int]:
        with app.app_context():
            barrier.wait(60)
            found = deliveries.start([KEY], f"{number}", services.clock())
            db.session.commit()
            db.session.remove()
            return found

    with ThreadPoolExecutor(4) as pool:
        started = [id for found in pool.map(start, range(4)) for id in found]
    assert len(started) == len(all_deliveries()) == 1


def test_what_is_asked_for_is_the_open_one_and_else_another(
    started: int, services: Services, clock: Clock
) -> None:
    assert deliveries.request(KEY, "viv@example.com", clock()).id == started
    for number in (1, 2):
        deliveries.cancel(deliveries.latest_of(KEY), WHO, clock())  # type: ignore[arg-type]
        assert deliveries.request(KEY, WHO, clock()).key == f"1002/100299/{number}"
    assert deliveries.start([KEY], deliveries.BY_EVENT, clock()) == []
    assert deliveries.request(OTHER, WHO, clock()).key == "1003/100399"


def test_one_worker_has_it_and_who_lost_it_is_told(started: int, clock: Clock) -> None:
    first = leased(started, clock)
    assert deliveries.lease(started, clock()) is None
    assert deliveries.due(clock()) == []
    clock.move(minutes=9)
    assert deliveries.save_progress(first, clock(), run_id=7)
    clock.move(minutes=9)
    assert deliveries.lease(started, clock()) is None, "its lease was extended"
    clock.move(minutes=2)
    assert deliveries.due(clock()) == [started]
    second = leased(started, clock)
    assert (second.run_id, second.tries) == (7, 1), "the expired lease counts as a failed attempt"
    assert not deliveries.save_progress(first, clock(), run_id=8)
    assert not deliveries.reschedule(first, clock())
    assert not deliveries.complete(first, deliveries.DELIVERED, clock(), error="")
    assert (all_deliveries()[0].run_id, audited()) == (7, [("deliver", WHO, "pending")])
    assert deliveries.complete(second, deliveries.DELIVERED, clock(), error="")
    assert audited() == [("deliver", WHO, "done")]


def test_a_cancelled_one_is_nobodys_and_goes_on_where_it_was_when_it_is_sent(
    started: int, clock: Clock
) -> None:
    mine, tables = (
        leased(started, clock),
        [{"id": 1, "name": "a", "rows": 5, "parts": 1, "whole": False}],
    )
    assert deliveries.save_progress(
        mine, clock(), state=deliveries.SENDING, run_id=7, tables=tables, rows=5
    )
    row = deliveries.delivery_or_none(started)
    assert row is not None
    assert deliveries.cancel(row, WHO, clock())
    assert not deliveries.cancel(row, WHO, clock())
    assert not deliveries.save_progress(mine, clock(), rows=10)
    assert deliveries.send_again(row, "viv@example.com", clock())
    assert not deliveries.send_again(row, "viv@example.com", clock())
    assert (row.state, row.tables, row.rows, row.tries) == ("sending", tables, 5, 0)
    assert audited() == [
        ("deliver", WHO, "failed"),
        ("send_delivery", "viv@example.com", "pending"),
    ]
    again = leased(started, clock)
    deliveries.complete(again, deliveries.DEAD, clock(), error="The hook answered 500.")
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.what == "send_delivery")).one()
    assert (entry.result, entry.detail) == (
        "failed",
        f"Delivery {started} goes on. 5 rows of 1 tables handed over. The hook answered 500.",
    )


@pytest.mark.parametrize(
    ("reached", "state"),
    [({}, "waiting"), ({"run_id": 7}, "reading"), ({"run_id": 7, "tables": []}, "sending")],
)
def test_what_is_sent_again_goes_on_with_what_it_was_at(
    started: int, clock: Clock, reached: dict[str, object], state: str
) -> None:
    mine = leased(started, clock)
    assert deliveries.save_progress(mine, clock(), **reached)
    assert deliveries.complete(mine, deliveries.DEAD, clock(), error="No.")
    row = deliveries.delivery_or_none(started)
    assert row is not None
    assert deliveries.send_again(row, WHO, clock())
    assert (row.state, row.error, row.waits_since) == (state, "", row.due_at)


def test_the_end_of_a_run_makes_those_due_that_wait_for_one(started: int, clock: Clock) -> None:
    mine = leased(started, clock)
    assert deliveries.reschedule(mine, clock() + timedelta(minutes=1))
    assert deliveries.make_due([OTHER], clock()) == []
    assert deliveries.make_due([KEY], clock()) == [started]
    db.session.commit()
    assert deliveries.due(clock()) == [started]
    mine = leased(started, clock)
    assert deliveries.reschedule(mine, clock() + timedelta(minutes=1), state=deliveries.SENDING)
    assert deliveries.make_due([KEY], clock()) == [], "it waits for the hook, not for a run"


def test_what_has_ended_is_forgotten_with_the_rest_of_history(started: int, clock: Clock) -> None:
    clock.move(days=100)
    retention.delete_old(clock())
    assert len(all_deliveries()) == 1
    deliveries.complete(leased(started, clock), deliveries.DELIVERED, clock(), error="")
    clock.move(days=1)
    retention.delete_old(clock())
    assert all_deliveries() == []
