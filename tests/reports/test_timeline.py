"""The timeline of a connection or an account, merged from all sources."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete

from dashboard.actions.models import Action
from dashboard.audit.models import AuditEntry
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet import queries
from dashboard.fleet.models import HealthChange, Run
from dashboard.notes.models import Note
from dashboard.reports.timeline import queries as timeline
from dashboard.reports.timeline.queries import KINDS, BadCursor, Cursor
from dashboard.webhooks.models import WebhookEvent
from tests.support.fleet_factory import add_cause, add_finding
from tests.support.sandbox import Sandbox
from tests.support.statements import counted

pytestmark = pytest.mark.both_engines


AT = datetime(2026, 3, 31, 7, 12, 0, 123_457, tzinfo=UTC)


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


@pytest.fixture
def connection_key(sandbox: Sandbox) -> tuple[int, int]:
    """Return a connection without any event, whose account has none either."""
    connection = sandbox.healthy
    for table in (Action, AuditEntry, Finding, HealthChange, Note, Run, WebhookEvent):
        db.session.execute(delete(table).where(table.account_id == connection.account_id))
    db.session.commit()
    return connection.account_id, connection.id


def add(*rows: Any) -> None:
    db.session.add_all(rows)
    db.session.commit()


def change(connection_key: tuple[int, int], at: datetime, became: str = "ERROR") -> HealthChange:
    severities = {"was_severity": "ok", "became_severity": "error"}
    return HealthChange(
        account_id=connection_key[0],
        connection_id=connection_key[1],
        at=at,
        was="OK",
        became=became,
        **severities,
    )


def one_of_each(connection_key: tuple[int, int]) -> None:
    """Return times from the latest to the earliest, an hour apart."""
    account_id, connection_id = connection_key
    ids = {"account_id": account_id, "connection_id": connection_id}

    def ago(hours: int) -> datetime:
        return AT - timedelta(hours=hours)

    entry = AuditEntry(at=ago(2), who="olga@example.com", what="sync", result="done", **ids)
    written = AuditEntry(at=ago(0), who="viv@example.com", what="note", result="done", **ids)
    add(Note(at=ago(0), who="viv@example.com", text="They call back.", **ids), entry, written)
    event = {
        "event": "pipeline_run_completed",
        "status": "COMPLETED",
        "body": "{}",
        "state": "done",
    }
    add(WebhookEvent(key="one", received_at=ago(1), **event, **ids))
    action = {
        "kind": "sync",
        "state": "done",
        "started_by": "olga@example.com",
        "why": "They asked.",
        "records": 7,
        "verdict": "no_effect",
    }
    add(Action(started_at=ago(2), audit_id=entry.id, **action, **ids))
    add(Run(id=5, status="COMPLETED", started_at=ago(3), ended_at=ago(2), records=7, **ids))
    add(
        AuditEntry(
            at=ago(4),
            who="viv@example.com",
            what="connections.start_sync",
            result="refused",
            detail="No.",
            **ids,
        )
    )
    cause = add_cause("failing", "odoo", since=ago(6))
    add_finding(cause, *connection_key, ago(6), ago(5))
    add(change(connection_key, ago(7)))


def test_one_of_each_kind_stands_in_order_with_what_it_says(
    connection_key: tuple[int, int],
) -> None:
    one_of_each(connection_key)
    page = timeline.read(*connection_key)
    assert [
        (event.kind, event.word, event.tone, event.text, event.who) for event in page.events
    ] == [
        ("note", "note", "info", "", "viv@example.com"),
        ("webhook", "pipeline run completed", "info", "COMPLETED, done", ""),
        ("action", "sync", "ok", "done: it had no effect", "olga@example.com"),
        ("run", "COMPLETED", "ok", "run", ""),
        ("audit", "connections start sync", "attention", "refused", "viv@example.com"),
        ("finding", "Runs fail", "recovered", "recovered", ""),
        ("finding", "Runs fail", "critical", "seen", ""),
        ("health", "ERROR", "error", "after OK", ""),
    ]
    assert [event.at for event in page.events] == [
        AT - timedelta(hours=hours) for hours in range(8)
    ]
    run = page.events[3]
    assert (run.run_id, run.seconds, run.records) == (5, 3600, 7)
    assert page.events[2].detail == "They asked"
    assert page.earlier is None
    assert [event.kind for event in timeline.read(connection_key[0]).events] == [
        event.kind for event in page.events
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_alone_is_shown_alone(connection_key: tuple[int, int], kind: str) -> None:
    one_of_each(connection_key)
    assert {event.kind for event in timeline.read(*connection_key, kinds=[kind]).events} == {kind}


def test_another_connections_events_are_the_accounts_and_not_ones_own(
    connection_key: tuple[int, int],
) -> None:
    one_of_each(connection_key)
    account_id, connection_id = connection_key
    assert timeline.read(account_id, connection_id + 1).events == ()
    assert (
        timeline.read(account_id + 1, connection_id, kinds=["health", "run", "action"]).events == ()
    )
    assert len(timeline.read(account_id).events) == 8


def test_what_concerns_the_whole_account_is_in_each_connections_timeline(
    connection_key: tuple[int, int],
) -> None:
    account_id, connection_id = connection_key
    add(Note(account_id=account_id, at=AT, who="viv@example.com", text="The contract ends."))
    add_finding(add_cause("account_unreadable", ""), account_id, None, AT - timedelta(hours=1))
    events = timeline.read(account_id, connection_id).events
    assert [(event.kind, event.connection_id) for event in events] == [
        ("note", None),
        ("finding", None),
    ]


@pytest.mark.parametrize("most", [1, 3, 7])
def test_pages_neither_overlap_nor_leave_out_what_happened_at_the_same_moment(
    connection_key: tuple[int, int], most: int
) -> None:
    account_id, connection_id = connection_key
    ids = {"account_id": account_id, "connection_id": connection_id}
    cause = add_cause("failing", "odoo")
    for number in range(6):
        at = AT - timedelta(hours=number // 3)
        add(
            change(connection_key, at, f"S{number}"),
            Note(at=at, who="viv@example.com", text=f"N{number}", **ids),
            Run(id=number, status=f"R{number}", started_at=at, **ids),
        )
        add_finding(cause, *connection_key, at, at)
    whole = timeline.read(account_id, connection_id, most=100).events
    assert len(whole) == 6 * 5
    found, before = [], None
    for _ in range(100):
        page = timeline.read(account_id, connection_id, before=before, most=most)
        assert len(page.events) <= most
        found += page.events
        if page.earlier is None:
            break
        before = Cursor.read(str(page.earlier))
    assert found == list(whole)


def test_a_timeline_asks_as_many_questions_however_much_happened(
    app: Flask, connection_key: tuple[int, int]
) -> None:
    add(*(change(connection_key, AT - timedelta(minutes=number)) for number in range(200)))
    with counted(app) as statements:
        page = timeline.read(connection_key[0])
    assert len(statements) == 8
    assert len(page.events) == timeline.PAGE
    with counted(app) as statements:
        timeline.read(*connection_key, kinds=["health"], before=page.earlier)
    assert len(statements) == 1


@pytest.mark.parametrize(
    "text", ["", "1", "1-2", "1-99-1", "a-b-c", "1-2-3-4", "-1-2-3", "9" * 18 + "-1-1", "١-1-1"]
)
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        Cursor.read(text)


def test_an_accounts_history_has_the_last_change_before_and_not_what_is_gone(
    connection_key: tuple[int, int],
) -> None:
    for days in (50, 40, 3, 1):
        add(change(connection_key, AT - timedelta(days=days), f"{days}"))
    add(change((connection_key[0], 999_999_999), AT))
    found = queries.health_of_account(connection_key[0], AT - timedelta(days=30))
    assert {
        connection_id: [each.became for each in history] for connection_id, history in found.items()
    } == {connection_key[1]: ["40", "3", "1"]}
