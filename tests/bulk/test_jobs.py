"""Steps of bulk jobs, also when a worker dies in between; against the sandbox over sockets."""

import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.actions.service import ActionRequest
from dashboard.actions.tasks import poll_action
from dashboard.audit.models import AuditEntry
from dashboard.bulk import jobs as bulk_jobs
from dashboard.bulk import service as bulk
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.bulk.tasks import step_bulk_job
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings.models import Cause, Finding
from dashboard.fleet import queries
from dashboard.refresh import live
from tests.support.clock import Clock
from tests.support.databases import wait_for
from tests.support.processes import Processes, make_environ
from tests.support.sandbox import ACCOUNTS, Sandbox

pytestmark = pytest.mark.both_engines


WHO, OTHER = "olga@example.com", "adam@example.com"


class Killed(BaseException):
    """The process was killed: no later code runs."""


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def connection_keys(sandbox: Sandbox, count: int, **wanted: Any) -> list[tuple[int, int]]:
    """Return the keys of ``count`` connections with these properties."""
    wanted = wanted or {"failure": None, "placed": None, "flips": False}
    found = []
    for account in sandbox.life.accounts(0, ACCOUNTS):
        for each in sandbox.life.connections(account.id):
            have = {
                "failure": each.failure.name if each.failure else None,
                "placed": each.placed,
                "flips": each.flips,
            }
            have["auth"] = each.connector.auth
            if all(have[key] == value for key, value in wanted.items()):
                found.append((each.account_id, each.id))
    assert len(found) >= count
    return found[:count]


def open_job(
    clock: Clock,
    found: list[tuple[int, int]],
    kind: str = actions.SYNC,
    at_once: int = 2,
    **more: Any,
) -> BulkJob:
    return bulk.open_job(
        bulk.NewJob(kind, found, found[0], WHO, "the vendor mended it", at_once, **more), clock()
    )


def step(
    services: Services,
    clock: Clock,
    job: BulkJob,
    api: Any = None,
    follow: Callable[[Action], None] = lambda _: None,
) -> None:
    """Run the worker's step of a due job."""
    clock.move(seconds=16)
    leased = bulk.lease(job.id, clock())
    assert leased is not None
    bulk_jobs.step(api or services.api, leased, clock, 15, follow)


def poll(services: Services, clock: Clock, times: int = 1) -> None:
    """Run the worker's polls of due actions."""
    for _ in range(times):
        clock.move(seconds=70)
        for action_id in actions.due(clock()):
            poll_action(action_id)


def tried(services: Services, clock: Clock, job: BulkJob) -> BulkJob:
    """Poll the first item to its end and return it."""
    step(services, clock, job)
    poll(services, clock, 3)
    if job.state == bulk.TRYING:
        step(services, clock, job)
    db.session.refresh(job)
    return job


def under_way(sandbox: Sandbox) -> int:
    at = datetime.now(UTC)
    return sum(
        run.is_running(at) for touched in sandbox.life.touched.values() for run in touched.runs
    )


def end_runs(sandbox: Sandbox) -> None:
    at = datetime.now(UTC)
    for touched in sandbox.life.touched.values():
        for run in touched.runs:
            if run.is_running(at):
                run.ends_at = at


def test_one_is_tried_alone_and_the_rest_waits_for_a_person(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    found = connection_keys(sandbox, 5)
    job = open_job(clock, found)
    assert not bulk.resume(job, WHO, "done", clock())
    step(services, clock, job)
    assert not bulk.resume(job, WHO, "done", clock())
    assert sandbox.state()["syncs"] == {str(found[0][1]): 1}
    poll(services, clock)
    step(services, clock, job)
    db.session.refresh(job)
    assert (job.state, job.due_at, bulk.canary(job).state) == ("tried", None, "done")
    clock.move(hours=1)
    assert bulk.lease(job.id, clock()) is None
    assert sandbox.state()["calls"]["syncdb"] == 1
    assert not bulk.resume(job, WHO, "failed", clock()), "the shown result is not the stored one"
    assert bulk.resume(job, OTHER, "done", clock())
    assert not bulk.resume(job, OTHER, "done", clock())


def test_no_more_than_so_many_are_under_way_and_each_is_begun_once(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    found = connection_keys(sandbox, 8)
    job = tried(services, clock, open_job(clock, found, at_once=3))
    sandbox.life.run_seconds = (600, 600)
    assert bulk.resume(job, OTHER, "done", clock())
    for round in range(3):
        for _ in range(3):
            step(services, clock, job)
            assert under_way(sandbox) == min(3, 7 - 3 * round)
            now = bulk.numbers(job)
            assert (now.done, now.running, now.total) == (1 + 3 * round, under_way(sandbox), 8)
        end_runs(sandbox)
        poll(services, clock)
    step(services, clock, job)
    db.session.refresh(job)
    assert (job.state, job.due_at) == ("done", None)
    assert bulk.numbers(job) == bulk.Numbers(done=8)
    assert sandbox.state()["syncs"] == {str(connection_id): 1 for _, connection_id in found}
    assert sandbox.state()["calls"]["syncdb"] == 8
    started_by = dict(
        db.session.execute(
            select(Action.started_by, func.count()).group_by(Action.started_by)
        ).all()
    )
    assert started_by == {WHO: 1, OTHER: 7}, "the user who started the rest started them"


def test_a_sync_that_ends_makes_its_job_due_at_once(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    job = open_job(clock, connection_keys(sandbox, 2))
    step(services, clock, job)
    db.session.refresh(job)
    assert job.due_at is not None
    assert job.due_at > clock()
    before = services.queues["jobs"].pending_count()
    clock.move(seconds=14)
    for action_id in db.session.scalars(select(Action.id)):
        db.session.execute(update(Action).values(due_at=clock()))
        db.session.commit()
        poll_action(action_id)
    db.session.refresh(job)
    assert job.due_at <= clock()
    assert services.queues["jobs"].pending_count() == before + 1
    step_bulk_job(job.id)
    db.session.refresh(job)
    assert job.state == "tried"


class DyingApi:
    """An API client whose process is killed ``when`` it starts the ``nth`` sync."""

    def __init__(self, api: Any, when: str, nth: int) -> None:
        self.api, self.when, self.left = api, when, nth
        self.breaker, self.ensure = api.breaker, api.ensure

    def for_account(self, account_id: int) -> Any:
        return DyingAccount(self, self.api.for_account(account_id))

    def die_if_due(self, point: str) -> None:
        if point == self.when and self.left == 1:
            raise Killed


class DyingAccount:
    def __init__(self, parent: DyingApi, account: Any) -> None:
        self.parent, self.account = parent, account

    def start_sync(self, connection_id: int) -> Any:
        self.parent.die_if_due("before it asked")
        response = self.account.start_sync(connection_id)
        self.parent.die_if_due("before it read the answer")
        self.parent.left -= 1
        return response


@pytest.mark.parametrize(
    "when", ["before it asked", "before it read the answer", "before it told the queue"]
)
@pytest.mark.parametrize("nth", [1, 2])
def test_whoever_dies_in_the_middle_has_begun_nothing_twice(
    services: Services, clock: Clock, sandbox: Sandbox, when: str, nth: int
) -> None:
    # The sandbox uses the real time, so this test's clock must not be ahead of it.
    clock.move(hours=-1)
    found = connection_keys(sandbox, 6)
    job = tried(services, clock, open_job(clock, found))
    assert bulk.resume(job, WHO, "done", clock())
    started_ids: list[int] = []

    def follow(action: Action) -> None:
        started_ids.append(action.id)
        if when == "before it told the queue" and len(started_ids) == nth:
            raise Killed

    with pytest.raises(Killed):
        step(services, clock, job, DyingApi(services.api, when, nth), follow)
    db.session.rollback()
    clock.move(seconds=61)
    db.session.refresh(job)
    assert bulk.due(clock()) == [job.id], "the next minute enqueues it"
    for _ in range(12):
        if job.ended_at is None:
            step(services, clock, job)
            poll(services, clock, 3)
            db.session.refresh(job)
    now = bulk.numbers(job)
    started = sandbox.state()["syncs"]
    # The process died before it sent this sync: it is reported, not repeated.
    lost = 1 if when == "before it asked" else 0
    assert (job.state, now.done, now.failed, now.total) == ("done", 6 - lost, lost, 6)
    assert sum(started.values()) == len(started) == 6 - lost
    assert sandbox.state()["calls"]["syncdb"] == 6 - lost
    assert db.session.scalar(select(func.count()).select_from(Action)) == 6
    if lost:
        detail = db.session.scalar(select(BulkItem.detail).where(BulkItem.state == bulk.FAILED))
        assert "No run began" in (detail or "")


def test_dying_between_the_turn_and_the_action_is_not_possible(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    found = connection_keys(sandbox, 2)
    job = open_job(clock, found)
    item = bulk.canary(job)
    connection = queries.connection_or_none(*found[0])
    assert connection is not None

    def poll_meanwhile(action: Action) -> None:
        bulk.claim(job.id, item.id, action, clock())
        raise Killed

    with pytest.raises(Killed):
        sync.start(services.api, connection, ActionRequest(WHO, clock(), 15, "", poll_meanwhile))
    db.session.rollback()
    assert db.session.scalar(select(func.count()).select_from(Action)) == 0
    assert (item.state, item.action_id) == ("waiting", None)
    assert sandbox.state()["syncs"] == {}


def test_two_workers_that_both_believe_it_is_their_turn_begin_one(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    job = open_job(clock, connection_keys(sandbox, 3))
    sandbox.life.run_seconds = (600, 600)
    first = bulk.next_item(job)
    assert first is not None
    step(services, clock, job)
    # The other worker read the state before and starts now.
    late = queries.connection_or_none(*connection_keys(sandbox, 3)[1])
    assert late is not None
    with pytest.raises(bulk.NotNow):
        sync.start(
            services.api,
            late,
            ActionRequest(
                WHO, clock(), 15, "", lambda action: bulk.claim(job.id, first.id, action, clock())
            ),
        )
    db.session.rollback()
    assert sum(sandbox.state()["syncs"].values()) == 1
    assert db.session.scalar(select(func.count()).select_from(Action)) == 1


def test_a_cancelled_job_begins_nothing_more_and_follows_what_is_under_way(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    job = tried(services, clock, open_job(clock, connection_keys(sandbox, 6)))
    sandbox.life.run_seconds = (600, 600)
    bulk.resume(job, WHO, "done", clock())
    step(services, clock, job)
    assert bulk.cancel(job, OTHER, clock())
    assert (job.state, job.ended_at) == ("cancelled", None)
    assert bulk.numbers(job) == bulk.Numbers(done=1, running=2, cancelled=3)
    step(services, clock, job)
    assert job.ended_at is None
    end_runs(sandbox)
    poll(services, clock)
    step(services, clock, job)
    db.session.refresh(job)
    assert job.ended_at is not None
    assert bulk.numbers(job) == bulk.Numbers(done=3, cancelled=3)
    assert sum(sandbox.state()["syncs"].values()) == 3
    assert not bulk.cancel(job, OTHER, clock())
    entry = db.session.get_one(AuditEntry, job.audit_id)
    assert (entry.what, entry.who, entry.result) == ("bulk_sync", WHO, "done")
    assert "6 connections" in entry.detail
    assert "the vendor mended it" in entry.detail
    assert "Result: 3 done, 3 not begun. Cancelled by adam@example.com." in entry.detail


def test_what_somebody_else_has_under_way_is_left_to_them(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    found = connection_keys(sandbox, 2)
    job = open_job(clock, found)
    connection = queries.connection_or_none(*found[0])
    assert connection is not None
    sandbox.life.run_seconds = (600, 600)
    sync.start(services.api, connection, ActionRequest(OTHER, clock(), 15))
    step(services, clock, job)
    item = bulk.canary(job)
    db.session.refresh(job)
    assert (job.state, item.state, item.action_id) == ("tried", "left_out", None)
    assert OTHER in item.detail
    # The first item was not tried: the rest cannot be started, but another item can be tried first.
    for seen in ("left_out", "done"):
        assert not bulk.resume(job, WHO, seen, clock())
    other = db.session.scalar(select(BulkItem.id).where(BulkItem.state == "waiting"))
    assert not bulk.try_another(job, item.id, clock())
    assert bulk.try_another(job, other or 0, clock())
    assert job.state == "trying"
    step(services, clock, job)
    end_runs(sandbox)
    poll(services, clock)
    step(services, clock, job)
    db.session.refresh(job)
    assert (job.state, bulk.numbers(job)) == ("done", bulk.Numbers(done=1, left_out=1))


def test_a_run_that_went_well_and_helped_nothing_is_no_success(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    found = connection_keys(sandbox, 2)
    sandbox.set(found[0][1], health_status="CONFIG_SELECT")
    job = tried(services, clock, open_job(clock, found))
    item = bulk.canary(job)
    assert (job.state, item.state) == ("tried", "no_effect")
    assert "still CONFIG_SELECT" in item.detail


@pytest.mark.parametrize(
    ("before", "state"), [("ERROR", "done"), ("COMPLETED_WITH_ERRORS", "no_effect")]
)
def test_a_run_that_loaded_a_part_helped_where_it_was_worse_before(
    services: Services, clock: Clock, sandbox: Sandbox, before: str, state: str
) -> None:
    found = connection_keys(sandbox, 2)
    sandbox.set(found[0][1], next_run=before)
    sandbox.life.start(sandbox.life.connection(found[0][1]))
    live.read_connection(services.api, *found[0], clock())
    sandbox.set(found[0][1], next_run="COMPLETED_WITH_ERRORS")
    job = tried(services, clock, open_job(clock, found))
    item = bulk.canary(job)
    assert (job.state, item.state) == ("tried", state)
    assert ("loaded only a part, but the connection is still" in item.detail) == (
        state == "no_effect"
    )


def test_what_recovers_before_its_turn_is_not_touched(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    worst = select(Finding.cause_id).where(Finding.rule == "auth_failed").group_by(Finding.cause_id)
    cause_id = db.session.scalar(worst.order_by(func.count().desc()).limit(1))
    assert cause_id is not None
    behind = (
        select(Finding.account_id, Finding.connection_id)
        .where(Finding.cause_id == cause_id)
        .order_by(Finding.id)
    )
    found = [
        (account_id, connection_id)
        for account_id, connection_id in db.session.execute(behind)
        if connection_id
    ]
    assert len(found) >= 2
    job = open_job(clock, found, cause_id=cause_id)
    mine = update(Finding).where(Finding.cause_id == cause_id, Finding.connection_id == found[0][1])
    db.session.execute(mine.values(recovered_at=clock(), state="recovered"))
    db.session.commit()
    step(services, clock, job)
    assert bulk.canary(job).state == "left_out"
    assert "recovered by itself" in bulk.canary(job).detail
    assert sandbox.state()["syncs"] == {}
    assert db.session.get_one(Cause, cause_id).connections >= 2


def test_an_item_of_a_link_job_is_done_when_its_link_is_there(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    found = connection_keys(sandbox, 4, failure="expired", auth="oauth2")
    job = open_job(clock, found, actions.REAUTHORISE)
    step(services, clock, job)
    db.session.refresh(job)
    assert (job.state, bulk.canary(job).state) == ("tried", "done")
    sandbox.fault(
        "reauthorise", status=400, body={"error": "ERROR_X", "detail": "Not today."}, times=1
    )
    bulk.resume(job, WHO, "done", clock())
    for _ in range(3):
        if job.ended_at is None:
            step(services, clock, job)
            db.session.refresh(job)
    assert bulk.numbers(job) == bulk.Numbers(done=3, failed=1)
    links = list(db.session.scalars(select(Action.url).where(Action.url.is_not(None))))
    assert len(links) == 3
    assert "Not today." in (
        db.session.scalar(select(BulkItem.detail).where(BulkItem.state == "failed")) or ""
    )
    assert sandbox.state()["calls"]["reauthorise"] == 4


def test_a_job_that_fails_again_and_again_stops_and_asks(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    found = connection_keys(sandbox, 14, auth="oauth2", failure=None, placed=None, flips=False)
    job = open_job(clock, found, kind=actions.REAUTHORISE)
    step(services, clock, job)
    db.session.refresh(job)
    assert bulk.resume(job, OTHER, "done", clock())
    sandbox.fault(
        "reauthorise", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."}
    )

    def run_steps() -> None:
        for _ in range(10):
            if job.state == bulk.RUNNING:
                step(services, clock, job)
                db.session.refresh(job)

    run_steps()
    now = bulk.numbers(job)
    assert (job.state, job.due_at, bulk.canary(job).state) == ("tried", None, "failed")
    assert now.failed in (5, 6), "two at a time"
    assert now.running == 0
    assert bulk.resume(job, OTHER, "failed", clock())
    sandbox.clear()
    run_steps()
    assert job.state == "done"
    assert bulk.numbers(job) == bulk.Numbers(done=14 - now.failed, failed=now.failed)


def test_a_job_of_one_is_over_when_that_one_is(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    job = tried(services, clock, open_job(clock, connection_keys(sandbox, 1)))
    assert (job.state, job.ended_at is not None) == ("done", True)


@pytest.fixture
def machines(store: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> Iterator[Processes]:
    found = Processes(
        make_environ(
            sandbox.url,
            tmp_path,
            dashboard_watch_interval=0.2,
            dashboard_refresh_interval=86400,
            **store,
        )
    )
    yield found
    found.end_all()


def test_a_killed_workers_job_is_gone_on_with_by_another(
    services: Services, machines: Processes, sandbox: Sandbox, clock: Clock
) -> None:
    found = connection_keys(sandbox, 12)
    job = tried(services, clock, open_job(clock, found, at_once=3))
    assert bulk.resume(job, WHO, "done", clock() - timedelta(hours=1))
    job_id = job.id
    sandbox.fault("syncdb", delay_ms=150)
    victim = machines.start("worker")
    wait_for(lambda: len(sandbox.state()["syncs"]) >= 4, "the first worker starts some")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert len(sandbox.state()["syncs"]) < 12
    # The killed worker's leases have expired, as after a minute.
    at = datetime.now(UTC) - timedelta(seconds=1)
    db.session.execute(
        update(BulkJob).where(BulkJob.ended_at.is_(None)).values(leased_until=None, due_at=at)
    )
    db.session.execute(
        update(Action).where(Action.settled_at.is_(None)).values(leased_until=None, due_at=at)
    )
    db.session.commit()
    machines.start("worker")

    def ended() -> bool:
        db.session.rollback()
        return db.session.get_one(BulkJob, job_id, populate_existing=True).ended_at is not None

    wait_for(ended, "another worker finishes the job", within=60)
    now = bulk.numbers(db.session.get_one(BulkJob, job_id))
    started = sandbox.state()["syncs"]
    assert (now.total, now.left) == (12, 0)
    assert set(started.values()) == {1}
    # At most the one that was about to be requested is missing.
    assert 11 <= len(started) == now.done <= 12
    assert now.failed == 12 - now.done
    assert sandbox.state()["calls"]["syncdb"] == len(started)
