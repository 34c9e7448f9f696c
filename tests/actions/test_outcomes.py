"""Outcomes of actions and success rates."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete

from dashboard.actions import outcomes
from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings import causes
from dashboard.findings.models import Finding
from dashboard.fleet import queries
from dashboard.fleet.models import Connection
from dashboard.refresh import live
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


def find(connection: Connection, at: Any, *found: str) -> None:
    """Replace the connection's findings by these (rule and severity), first seen now."""
    same_connection = (
        Finding.account_id == connection.account_id,
        Finding.connection_id == connection.id,
    )
    db.session.execute(delete(Finding).where(*same_connection))
    for each in found:
        rule, severity = each.split()
        cause = causes.find_or_create(
            {causes.Key(rule, "a connector"): causes.Seed(severity, "")}, at
        )
        (cause_row,) = cause.values()
        db.session.add(
            Finding(
                account_id=connection.account_id,
                connection_id=connection.id,
                cause_id=cause_row.id,
                rule=rule,
                severity=severity,
                state="new",
                evidence="",
                first_seen_at=at,
                confirmed_at=at,
            )
        )
    db.session.commit()


def act(connection: Connection, clock: Clock, kind: str = actions.SYNC, why: str = "") -> Action:
    action, is_new = actions.start_action(kind, connection, WHO, clock(), why=why)
    assert is_new
    return action


# Findings before, end state, findings and status afterwards, and the outcome.
CASES: list[tuple[Sequence[str], str, Sequence[str], str, str]] = [
    (["dark critical"], "done", [], "OK", "worked"),
    (["dark critical"], "done", ["duplicate_connection info"], "OK", "worked"),
    (["dark critical"], "done", ["dark critical"], "OK", "no_effect"),
    (["dark critical"], "done", ["late warning"], "OK", "worked"),
    (["dark critical"], "done", ["failing critical"], "OK", "no_effect"),
    (["dark critical"], "failed", ["failing critical"], "ERROR", "worse"),
    (["dark critical"], "failed", [], "OK", "no_effect"),
    (["late warning"], "done", ["failing critical"], "OK", "worse"),
    (["late warning"], "stuck", ["stuck_run critical"], "OK", "worse"),
    (["late warning"], "failed", ["late warning"], "OK", "no_effect"),
    (
        ["late warning", "duplicate_connection info"],
        "done",
        ["duplicate_connection info"],
        "OK",
        "worked",
    ),
    ([], "done", [], "OK", "worked"),
    ([], "done", ["noisy info"], "OK", "no_effect"),
    ([], "done", ["failing warning"], "OK", "worse"),
    ([], "done", ["noisy info"], "ERROR", "worse"),
    ([], "done", [], "RE_AUTHORISING", "no_effect"),
    ([], "stuck", [], "OK", "no_effect"),
    # A partial run counts as an improvement, whatever the connection's status was before.
    *(
        (before, "done", ["partial_errors warning"], "COMPLETED_WITH_ERRORS", "worked")
        for before in (
            ["dark critical"],
            ["late warning"],
            ["failing critical"],
            ["failing warning"],
            ["runner_failed warning"],
            ["noisy info"],
            ["auth_failed critical"],
            ["never_ran warning"],
        )
    ),
    (
        ["late warning"],
        "done",
        ["partial_errors warning", "dark critical"],
        "COMPLETED_WITH_ERRORS",
        "worse",
    ),
    (
        ["failing critical"],
        "failed",
        ["partial_errors warning"],
        "COMPLETED_WITH_ERRORS",
        "no_effect",
    ),
    (["loaded_nothing warning"], "done", ["partial_errors warning"], "OK", "no_effect"),
    ([], "done", ["partial_errors warning"], "COMPLETED_WITH_ERRORS", "worse"),
]


@pytest.mark.parametrize("case", CASES)
def test_an_action_is_judged_by_what_was_wrong_before_and_what_is_afterwards(
    case: tuple[Sequence[str], str, Sequence[str], str, str],
    clock: Clock,
    sandbox: Sandbox,
) -> None:
    before, state, after, status, verdict = case
    connection = stored_connection(sandbox.healthy)
    connection.status, connection.severity = "OK", "ok"
    find(connection, clock() - timedelta(hours=1), *before)
    action = act(connection, clock)
    action.run_id = 1
    clock.move(minutes=1)
    find(connection, clock(), *after)
    connection.status = status
    connection.severity = {"OK": "ok", "ERROR": "error", "COMPLETED_WITH_ERRORS": "attention"}.get(
        status, "busy"
    )
    actions.complete(action, state, clock())
    assert (action.status_before, action.status_after, action.verdict) == ("OK", status, verdict)


def test_what_was_refused_did_nothing_even_where_it_grew_worse_meanwhile(
    clock: Clock, sandbox: Sandbox
) -> None:
    connection = stored_connection(sandbox.healthy)
    find(connection, clock(), "late warning")
    action = act(connection, clock, actions.REAUTHORISE)
    find(connection, clock(), "dark critical")
    actions.complete(action, "failed", clock(), "Nobody followed the link within 24 hours.")
    assert action.verdict == "no_effect"


def test_a_link_that_a_newer_one_replaced_is_not_judged(clock: Clock, sandbox: Sandbox) -> None:
    action = act(stored_connection(sandbox.healthy), clock, actions.REAUTHORISE)
    actions.complete(action, "superseded", clock())
    assert (action.status_after, action.verdict) == (None, None)


def test_the_line_of_why_and_the_result_stand_both_in_the_audit_trail(
    clock: Clock, sandbox: Sandbox
) -> None:
    action = act(
        stored_connection(sandbox.healthy), clock, why="  Ticket\0 4711,\n asked twice " + "x" * 600
    )
    entry = db.session.get_one(AuditEntry, action.audit_id)
    assert entry.detail.startswith("Why: Ticket 4711, asked twice xxx")
    assert len(action.why) == 500
    actions.complete(action, "failed", clock(), "The trial has ended.")
    assert entry.detail.startswith("Why: Ticket 4711, asked twice")
    assert entry.detail.endswith(" · The trial has ended.")
    assert action.detail == "The trial has ended."


def settled(connection: Any, clock: Clock, kind: str = actions.REAUTHORISE) -> Action:
    """Return an action that ended before its effect was visible."""
    action = act(stored_connection(connection), clock, kind)
    actions.complete(action, "done", clock())
    assert (action.rule, action.verdict) == ("auth_failed", "no_effect")
    return action


def recover(services: Services, clock: Clock, sandbox: Sandbox, connection: Any) -> None:
    """Let the customer consent, then read the connection as an open page does."""
    sandbox.life.allow(connection.id)
    sandbox.life.touch(connection.id).allowed_at = None
    live.read_connection(services.api, connection.account_id, connection.id, clock())


def test_what_helped_only_later_is_judged_again_when_the_finding_recovers(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = settled(connection, clock)
    recover(services, clock, sandbox, connection)
    db.session.refresh(action)
    assert (action.verdict, action.status_after) == ("worked", stored_connection(connection).status)


def test_after_more_than_a_day_nobody_says_that_it_helped(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = settled(connection, clock)
    action.settled_at = clock() - timedelta(hours=25)
    recover(services, clock, sandbox, connection)
    db.session.refresh(action)
    assert action.verdict == "no_effect"


def test_after_more_than_an_interval_neither(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = settled(connection, clock)
    interval = timedelta(seconds=stored_connection(connection).run_interval or 0)
    assert timedelta() < interval < timedelta(hours=23)
    action.settled_at = clock() - interval - timedelta(minutes=31)
    recover(services, clock, sandbox, connection)
    db.session.refresh(action)
    assert action.verdict == "no_effect"


def test_only_the_newest_action_gets_the_credit(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    first, second = settled(connection, clock, actions.SYNC), settled(connection, clock)
    recover(services, clock, sandbox, connection)
    assert [db.session.get_one(Action, each.id).verdict for each in (first, second)] == [
        "no_effect",
        "worked",
    ]


def test_an_action_under_way_keeps_the_credit_from_those_before_it(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    first, second = (
        settled(connection, clock, actions.SYNC),
        act(stored_connection(connection), clock, actions.REAUTHORISE),
    )
    recover(services, clock, sandbox, connection)
    assert db.session.get_one(Action, first.id).verdict == "no_effect"
    actions.complete(second, "done", clock())
    assert second.verdict == "worked"


def test_what_recovers_next_door_is_nobodys_credit(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = settled(connection, clock)
    neighbour = next(
        each for each in sandbox.life.connections(connection.account_id) if each.id != connection.id
    )
    find(stored_connection(connection), clock())
    outcomes.on_recovered(None, connections={(connection.account_id, neighbour.id)}, at=clock())
    assert action.verdict == "no_effect"
    outcomes.on_recovered(None, connections={(connection.account_id, connection.id)}, at=clock())
    assert action.verdict != "no_effect"


def test_what_is_learnt_is_counted_by_kind_for_one_rule_and_one_connector(
    clock: Clock, sandbox: Sandbox
) -> None:
    connection = stored_connection(sandbox.healthy)
    for kind, state, after, times in (
        (actions.REAUTHORISE, "done", [], 5),
        (actions.REAUTHORISE, "done", ["dark critical"], 1),
        (actions.SYNC, "failed", ["late warning"], 3),
        (actions.SYNC, "done", ["dark critical"], 1),
    ):
        for _ in range(times):
            find(connection, clock(), "late warning")
            action = act(connection, clock, kind)
            find(connection, clock(), *after)
            actions.complete(action, state, clock())
    found = outcomes.success_rates("late", connection.connector)
    assert list(found) == [actions.REAUTHORISE, actions.SYNC]
    assert found[actions.REAUTHORISE] == outcomes.ActionStats(
        actions.REAUTHORISE, worked=5, worse=1
    )
    assert found[actions.SYNC] == outcomes.ActionStats(actions.SYNC, no_effect=3, worse=1)
    assert outcomes.success_rates("dark", connection.connector) == {}
    assert outcomes.success_rates("late", "another") == {}
