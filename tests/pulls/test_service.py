"""Stored pull schedules: one pull at a time, resumed after a kill; on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.core.database import db
from dashboard.pulls import service as pulls
from dashboard.pulls.models import PullRun, PullSchedule
from tests.support.clock import Clock

pytestmark = pytest.mark.both_engines


WHO, MANY = "adam@example.com", 8
WELL = pulls.PullOutcome(pulls.DONE, tables=2, rows=30, failed=0, failures=(), remarks=(), error="")


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def schedule(clock: Clock) -> PullSchedule:
    """Return an hourly schedule that is due."""
    made = PullSchedule(
        name="Hourly",
        place="sqlite:///copies.db",
        address=b"encrypted",
        chosen={},
        every=60,
        full_every=20,
        created_at=clock(),
        created_by=WHO,
    )
    made = pulls.create(made, clock())
    pulls.run_now(made, WHO, clock())
    return made


def start_pull(schedule: PullSchedule, clock: Clock) -> PullRun:
    return pulls.start(schedule, schedule.name, schedule.place, WHO, "Everything", clock())


def results() -> list[str]:
    return list(
        db.session.scalars(
            select(AuditEntry.result).where(AuditEntry.what == "pull").order_by(AuditEntry.id)
        )
    )


def test_of_many_workers_one_has_a_schedule_that_is_due(
    app: Flask, schedule: PullSchedule, clock: Clock
) -> None:
    at, schedule_id, together = clock(), schedule.id, Barrier(MANY)

    def lease(_: int) -> bool:
        with app.app_context():
            together.wait(60)
            found = pulls.lease(schedule_id, at) is not None
            db.session.remove()
            return found

    with ThreadPoolExecutor(MANY) as pool:
        assert sum(pool.map(lease, range(MANY))) == 1
    assert pulls.due(at) == []


def test_a_pull_that_ended_is_due_again_an_hour_after_it_began(
    schedule: PullSchedule, clock: Clock
) -> None:
    leased = pulls.lease(schedule.id, clock())
    assert leased is not None
    assert leased.address == b"encrypted"
    run = start_pull(leased, clock)
    clock.move(minutes=5)
    assert pulls.extend_lease(run, clock(), "1001: Orders")
    pulls.finish(run, leased, WELL, clock())
    assert (run.state, run.tables, run.rows, run.now) == (pulls.DONE, 2, 30, "")
    assert results() == ["done"]
    assert pulls.due(clock()) == []
    clock.move(minutes=56)
    assert pulls.due(clock()) == [schedule.id]


def test_who_presses_run_now_while_it_runs_has_it_run_once_more(
    schedule: PullSchedule, clock: Clock
) -> None:
    leased = pulls.lease(schedule.id, clock())
    assert leased is not None
    run = start_pull(leased, clock)
    clock.move(minutes=1)
    pulls.run_now(schedule, WHO, clock())
    pulls.finish(run, leased, WELL, clock())
    assert pulls.due(clock()) == [schedule.id]


def test_a_pull_without_a_sign_of_life_is_closed_once_and_says_no_more(
    schedule: PullSchedule, clock: Clock
) -> None:
    leased = pulls.lease(schedule.id, clock())
    assert leased is not None
    run = start_pull(leased, clock)
    assert pulls.close_lost(clock()) == 0
    clock.move(seconds=pulls.LEASE.total_seconds() + 1)
    assert pulls.due(clock()) == [schedule.id]
    assert [pulls.close_lost(clock()) for _ in range(2)] == [1, 0]
    assert results() == ["unknown"]
    # The worker was slow, not dead: its report arrives too late.
    assert not pulls.extend_lease(run, clock(), "1001: Orders")
    pulls.finish(run, leased, WELL, clock())
    assert (run.state, results()) == (pulls.LOST, ["unknown"])


def test_a_schedule_that_rests_or_is_removed_is_not_due(
    schedule: PullSchedule, clock: Clock
) -> None:
    pulls.switch(schedule, on=False, at=clock())
    later = clock() + timedelta(days=2)
    assert pulls.due(later) == []
    pulls.switch(schedule, on=True, at=clock())
    assert pulls.due(later) == [schedule.id]
    schedule_id = schedule.id
    pulls.remove(schedule)
    assert pulls.due(later) == []
    assert pulls.schedule_or_none(schedule_id) is None
