"""/readyz: what is not ready, and what of that takes a machine out."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from dashboard.app import Console
from dashboard.fleet.refresh import refresh_fleet
from dashboard.store.database import db
from tests.conftest import Clock
from tests.engines import Servers

WORKER, PELIQAN = "no worker has done anything", "no account could be read"


@pytest.fixture
def engine(either_engine: str) -> str:
    return either_engine


def ask(app: Flask) -> tuple[int, dict[str, Any]]:
    answer = app.test_client().get("/readyz")
    return answer.status_code, answer.json


def test_a_console_with_a_worker_and_a_fresh_snapshot_is_ready_in_all(app: Flask, parts: Console) -> None:
    with app.app_context():
        refresh_fleet(parts.fleet)
        parts.work.tick()
    status, told = ask(app)
    assert (status, told["ready"], told["stale"]) == (200, True, False)
    assert told["checks"] == {"store": "ok", "queue": "ok", "worker": "ok", "peliqan": "ok"}
    assert told["snapshot_age_seconds"] < 120


def test_without_a_worker_or_peliqan_it_is_said_and_pages_go_on(app: Flask, parts: Console, clock: Clock) -> None:
    status, told = ask(app)
    assert (status, told["checks"]["worker"]) == (200, f"{WORKER} yet")
    with app.app_context():
        parts.work.tick()
    clock.move(minutes=40)
    status, told = ask(app)
    since = f"{clock() - timedelta(minutes=40):%d %B %Y}"
    assert (status, told["ready"], told["stale"]) == (200, True, True)
    assert told["checks"]["worker"].startswith(f"{WORKER} since {since}")
    assert told["checks"]["peliqan"].startswith(f"{PELIQAN} since ")


def schema_is(app: Flask, version: str) -> None:
    with app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
        db.session.commit()


def test_an_older_schema_is_not_ready_and_a_newer_one_is(app: Flask) -> None:
    schema_is(app, "0003")
    status, told = ask(app)
    assert (status, told["reason"]) == (503, "the store has an older schema: run dashboard db upgrade")
    # The next version's migrations have run while this one serves.
    schema_is(app, "9999")
    assert ask(app)[0] == 200


@pytest.mark.parametrize("either_engine", ["servers"], indirect=True)
@pytest.mark.parametrize(
    ("which", "reason"), [("redis", "Redis does not answer"), ("postgresql", "the database does not answer")]
)
def test_a_server_that_is_away_is_named(app: Flask, servers: Servers, which: str, reason: str) -> None:
    assert ask(app)[0] == 200
    getattr(servers, which).stop()
    status, told = ask(app)
    assert (status, told["ready"], told["reason"]) == (503, False, reason)
    getattr(servers, which).start()
    assert ask(app)[0] == 200
