"""Retention: history is deleted after the configured time; the current state stays."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.fleet import queries
from dashboard.fleet.models import HealthChange, Run
from dashboard.users import service as users
from dashboard.users import sessions
from dashboard.users.models import UserSession
from dashboard.worker import retention
from tests.support.clock import Clock
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def count(table: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(table)) or 0


def connections_with_runs() -> set[tuple[int, int]]:
    rows = db.session.execute(select(Run.account_id, Run.connection_id))
    return {(account_id, connection_id) for account_id, connection_id in rows}


def test_old_history_is_forgotten_and_the_newest_of_each_connection_stays(
    services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    row = queries.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    first = count(HealthChange)
    for days in (400, 300, 200):
        old = {
            "account_id": row.account_id,
            "connection_id": row.id,
            "was": "OK",
            "became": "ERROR",
        }
        severities = {"was_severity": "ok", "became_severity": "error"}
        db.session.add(HealthChange(at=clock() - timedelta(days=days), **old, **severities))
    db.session.commit()
    connections = connections_with_runs()
    assert retention.delete_old(clock() - timedelta(days=250)) >= 2
    assert count(HealthChange) == first + 1
    clock.move(days=400)
    retention.delete_old(clock())
    assert count(HealthChange) == first
    assert connections_with_runs() == connections
    assert count(Run) == len(connections)


def test_sign_ins_that_are_over_are_forgotten_and_those_that_last_stay(clock: Clock) -> None:
    olga = users.find_user("olga@example.com")
    assert olga is not None
    for _ in range(3):
        sessions.sign_in(olga, clock())
    clock.move(days=90)
    key = sessions.sign_in(olga, clock()).value
    retention.delete_old(clock() - timedelta(days=7))
    assert count(UserSession) == 1
    assert [each.is_here for each in sessions.open_of(olga, clock(), key)] == [True]
