"""All code that depends on the success of a run agrees on each status."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.service import ActionRequest
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.deliveries.tasks import deliver_new_connection
from dashboard.findings import evaluate
from dashboard.findings import queries as finding_queries
from dashboard.findings.models import Cause, Finding
from dashboard.peliqan.statuses import OUTCOME_OF_RUN, RunOutcome
from dashboard.refresh import live
from dashboard.reports.since import queries as since_report
from dashboard.reports.timeline import queries as timeline
from tests.support.clock import Clock
from tests.support.event_builder import NEW_RUN, process_all, send_events, stored_connection
from tests.support.hook_receiver import connect, the_delivery, work
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox
from tests.support.webhook_sender import SECRET, made
from tests.support.webhook_target import Receiver, receiving

pytestmark = pytest.mark.both_engines


@dataclass(frozen=True)
class End:
    """The expected results of a run that ended with a status.

    ``rule``: the finding if there is no other run. ``side``: the text in its evidence.
    ``meaning``: the text next to the badge.
    """

    succeeded: bool
    tone: str
    rule: str = ""
    title: str = ""
    side: str = ""
    meaning: str = ""
    sync: str = "done"
    badge: str = "Sync completed"
    delivery: str = "delivered"


FAILED: dict[str, Any] = {"sync": "failed", "badge": "Sync failed", "delivery": "waiting"}
ENDS = {
    "COMPLETED": End(True, "ok"),
    "COMPLETED_WITH_ERRORS": End(
        True,
        "attention",
        "partial_errors",
        "Only partly loaded: shopify",
        "the rest had errors",
        "partly loaded",
        badge="Sync completed in part",
    ),
    "ERROR": End(
        False,
        "error",
        "failing",
        "Runs fail: shopify",
        "failed at the source",
        "the source failed",
        **FAILED,
    ),
    "INTERNAL_ERROR": End(
        False,
        "error",
        "runner_failed",
        "Peliqan’s runner fails",
        "failed in Peliqan's own runner",
        "Peliqan’s own runner failed",
        **FAILED,
    ),
    "KILLED": End(
        False,
        "error",
        "failing",
        "Runs fail: shopify",
        "was stopped before its end",
        "stopped before its end",
        **FAILED,
    ),
}


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def store(store: dict[str, str], hook: Receiver) -> dict[str, str]:
    return {
        **store,
        "peliqan_webhook_secret": SECRET,
        "dashboard_hook": hook.url,
        "dashboard_hook_secret": "a secret of the hook's",
    }


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def test_every_status_with_which_a_run_ends_is_tried_here() -> None:
    assert set(ENDS) == {
        status for status, outcome in OUTCOME_OF_RUN.items() if outcome is not RunOutcome.RUNNING
    }


@pytest.mark.parametrize("status", ENDS)
def test_the_only_run_of_a_connection(
    status: str, services: Services, sandbox: Sandbox, olga: Person
) -> None:
    end, connection, started_at = ENDS[status], connect(sandbox, first_run=status), services.clock()
    # A new connection has the status CHECKING for two seconds.
    sandbox.life.new_connections[connection.id] = (connection, started_at - timedelta(seconds=5))
    live.read_connection(services.api, connection.account_id, connection.id, services.clock())
    row = stored_connection(connection)
    assert (row.last_run_status, row.last_success_at is not None) == (status, end.succeeded)
    found = finding_queries.of_connection(connection.account_id, connection.id)
    assert [each.rule for each in found] == ([end.rule] if end.rule else [])
    assert all(end.side in each.evidence for each in found)
    assert all(("no success is known" in each.evidence) != end.succeeded for each in found)
    report = since_report.read(started_at - timedelta(minutes=1), services.clock())
    # At some hours another connection already has the same cause, which is not new then.
    assert (end.title in {line.title for line in report.open}) == bool(end.title)
    [run] = timeline.read(connection.account_id, connection.id, kinds=["run"]).events
    assert (run.word, run.tone, run.text) == (
        status,
        end.tone,
        f"run: {end.meaning}" if end.meaning else "run",
    )
    [listed] = olga.json(f"/connections.json?q={connection.id}")["items"]
    assert (listed["last_run_status"], listed["last_success_at"] is not None) == (
        status,
        end.succeeded,
    )
    for suffix in ("", f"/runs/{run.run_id}"):
        page = olga.get(path_of(connection, suffix))
        shown = page.select_one(f"main .status-{end.tone}:-soup-contains('{status}')")
        assert shown is not None
        assert end.meaning in words(page)


@pytest.mark.parametrize("status", ENDS)
def test_a_run_that_somebody_started(
    status: str, services: Services, sandbox: Sandbox, clock: Clock, olga: Person
) -> None:
    end, connection = ENDS[status], sandbox.healthy
    before = stored_connection(connection).last_success_at
    sandbox.set(connection.id, next_run=status)
    action = sync.start(
        services.api, stored_connection(connection), ActionRequest("olga@example.com", clock(), 15)
    )
    clock.move(seconds=70)
    leased = actions.lease(action.id, clock())
    assert leased is not None
    sync.poll(services.api, leased, clock(), 15)
    db.session.refresh(action)
    assert (action.state, action.run_status) == (end.sync, status)
    assert (stored_connection(connection).last_success_at != before) == end.succeeded
    assert action.verdict == {"ok": "worked", "attention": "worse"}.get(end.tone, action.verdict)
    page = olga.get(path_of(connection))
    assert end.badge in words(page.select_one("#sync"))  # type: ignore[arg-type]
    assert end.meaning in words(page.select_one("#sync"))  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ENDS)
def test_an_event_of_a_run(status: str, app: Flask, services: Services, sandbox: Sandbox) -> None:
    end, connection = ENDS[status], sandbox.healthy
    before = stored_connection(connection).last_success_at
    send_events(app, made(connection, f"pipeline_run_{status.lower()}", NEW_RUN))
    process_all(services)
    row = stored_connection(connection)
    assert row.last_run_status == status
    assert (row.last_success_at != before) == end.succeeded


@pytest.mark.parametrize("status", ENDS)
def test_the_first_run_that_a_delivery_waits_for(
    status: str, services: Services, sandbox: Sandbox, hook: Receiver
) -> None:
    end, connection = ENDS[status], connect(sandbox, first_run=status)
    assert (
        deliver_new_connection(connection.account_id, connection.id, "olga@example.com") is not None
    )
    work(services)
    delivery = the_delivery()
    assert delivery.state == end.delivery
    if not end.succeeded:
        assert f"ended {status}" in delivery.error
        return
    remarks = hook.bodies[-1]["remarks"]
    assert len(remarks) == (status == "COMPLETED_WITH_ERRORS")
    assert all(
        "ended COMPLETED_WITH_ERRORS: some of the data was not loaded" in each for each in remarks
    )


def test_while_a_run_is_under_way_the_finding_of_the_one_before_stays(
    services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    for status in ("INTERNAL_ERROR", "ERROR", "COMPLETED_WITH_ERRORS"):
        sandbox.set(connection.id, next_run=status)
        sandbox.life.start(connection)
        live.read_connection(services.api, connection.account_id, connection.id, clock())
        before = [
            each.id for each in finding_queries.of_connection(connection.account_id, connection.id)
        ]
        assert before
        sandbox.life.run_seconds = (600, 600)
        run = sandbox.life.start(connection)
        live.read_connection(services.api, connection.account_id, connection.id, clock())
        assert stored_connection(connection).running
        [finding] = finding_queries.of_connection(connection.account_id, connection.id)
        assert [finding.id] == before
        assert finding.evidence.startswith("A run is under way; the one before it")
        assert ENDS[status].side in finding.evidence
        run.ends_at = run.started_at
        sandbox.life.run_seconds = (0, 0)
        # The sandbox derives run ids from seconds.
        sandbox.life.forget()


def test_peliqans_runner_is_one_cause_over_all_connectors(
    services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    first = sandbox.healthy
    other = next(
        each
        for account in sandbox.life.accounts(0, 60)
        for each in sandbox.life.connections(account.id)
        if each.connector.name != first.connector.name
        and not each.placed
        and not each.failure
        and not each.flips
    )
    for connection in (first, other):
        sandbox.set(connection.id, next_run="INTERNAL_ERROR")
        sandbox.life.start(connection)
        live.read_connection(services.api, connection.account_id, connection.id, clock())
        row = stored_connection(connection)
        row.last_success_at = None
    db.session.commit()
    evaluate.evaluate([first.account_id, other.account_id], clock())
    db.session.commit()
    crashed = list(
        db.session.scalars(
            select(Finding).where(Finding.rule == "runner_failed", Finding.recovered_at.is_(None))
        )
    )
    mine = [each for each in crashed if each.connection_id in {first.id, other.id}]
    assert {each.connector for each in mine} == {first.connector.name, other.connector.name}
    assert {each.cause_id for each in mine} == {mine[0].cause_id}
    assert db.session.get_one(Cause, mine[0].cause_id).connector == ""
