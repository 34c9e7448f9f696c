"""/readyz: the problems it reports, and those that make it respond with 503."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select, text

from dashboard.app import create_app
from dashboard.cli.common import close_store
from dashboard.cli.store_checks import queue_problem, store_problem
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.monitoring.queries import WRITTEN
from dashboard.refresh.service import refresh_fleet
from dashboard.tasks.periodic import PeriodicTask
from dashboard.worker import dispatch
from tests.support.clock import Clock
from tests.support.databases import Servers
from tests.support.people import PASSWORD, Person
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


WORKER, PELIQAN = "no worker has done anything", "no account could be read"


def read_health(app: Flask) -> tuple[int, dict[str, Any]]:
    response = app.test_client().get("/readyz")
    return response.status_code, response.json


def test_a_console_with_a_worker_and_a_fresh_snapshot_is_ready_in_all(
    app: Flask, services: Services
) -> None:
    with app.app_context():
        refresh_fleet(services)
        dispatch.every_minute()
    status, body = read_health(app)
    assert (status, body["ready"], body["stale"]) == (200, True, False)
    assert body["checks"] == {"store": "ok", "queue": "ok", "worker": "ok", "peliqan": "ok"}
    assert body["snapshot_age_seconds"] < 120


def test_without_a_worker_or_peliqan_it_is_said_and_pages_go_on(
    app: Flask, services: Services, clock: Clock
) -> None:
    status, body = read_health(app)
    assert (status, body["checks"]["worker"]) == (200, f"{WORKER} yet")
    with app.app_context():
        dispatch.every_minute()
    clock.move(minutes=40)
    status, body = read_health(app)
    since = f"{clock() - timedelta(minutes=40):%d %B %Y}"
    assert (status, body["ready"], body["stale"]) == (200, True, True)
    assert body["checks"]["worker"].startswith(f"{WORKER} since {since}")
    assert body["checks"]["peliqan"].startswith(f"{PELIQAN} since ")


def schema_is(app: Flask, version: str) -> None:
    with app.app_context():
        db.session.execute(
            text("UPDATE alembic_version SET version_num = :version"), {"version": version}
        )
        db.session.commit()


def test_an_older_schema_is_not_ready_and_a_newer_one_is(app: Flask) -> None:
    schema_is(app, "0003")
    status, body = read_health(app)
    assert (status, body["reason"]) == (
        503,
        "the store has an older schema: run dashboard db upgrade",
    )
    # The next version's migrations have run while this version serves.
    schema_is(app, "9999")
    assert read_health(app)[0] == 200


@pytest.mark.parametrize("engine", ["servers"], indirect=True)
@pytest.mark.parametrize(
    ("which", "reason"),
    [("redis", "Redis does not answer"), ("postgresql", "the database does not answer")],
)
def test_a_server_that_is_away_is_named(
    app: Flask, servers: Servers, which: str, reason: str
) -> None:
    assert read_health(app)[0] == 200
    getattr(servers, which).stop()
    status, body = read_health(app)
    assert (status, body["ready"], body["reason"]) == (503, False, reason)
    getattr(servers, which).start()
    assert read_health(app)[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize(
    "host", ["10.0.0.7:8900", "[fd00::7]:8900", "console-web.default.svc:8900"]
)
def test_a_probe_may_name_the_address_that_it_asks(
    sandbox: Sandbox, app: Flask, tmp_path: Path, path: str, host: str
) -> None:
    settings = app.extensions["services"].settings.model_copy(
        update={"dashboard_url": "https://console.example.com"}
    )
    named = create_app(settings)
    client = named.test_client()
    assert client.get(path, headers={"Host": host}).status_code == 200
    assert client.get("/login", headers={"Host": host}).status_code == 400
    close_store(named)


@pytest.mark.parametrize("engine", ["servers"], indirect=True)
def test_a_redis_without_memory_is_not_ready(app: Flask, servers: Servers) -> None:
    client = servers.redis.client
    client.config_set("maxmemory", 1)
    try:
        assert (
            read_health(app)[1].get("reason") == "Redis takes no value: it may have no memory left"
        )
        assert "takes no value" in (queue_problem(servers.redis.url) or "")
    finally:
        client.config_set("maxmemory", 0)
    assert read_health(app)[0] == 200


@contextmanager
def read_only(app: Flask, engine: str) -> Iterator[None]:
    """The database accepts no row, as on a full disk."""
    with app.app_context():
        close_store(app)

    def make_read_only(connection: Any, _: Any) -> None:
        connection.execute(
            "PRAGMA query_only = ON"
            if engine == "embedded"
            else "SET default_transaction_read_only = on"
        )
        if engine == "servers":
            connection.commit()

    with app.app_context():
        event.listen(db.engine, "connect", make_read_only)
    try:
        yield
    finally:
        with app.app_context():
            event.remove(db.engine, "connect", make_read_only)
            close_store(app)


def test_a_store_that_takes_no_row_is_not_ready(app: Flask, engine: str, clock: Clock) -> None:
    with read_only(app, engine):
        status, body = read_health(app)
        assert (status, body["reason"]) == (
            503,
            "the database cannot be written to: its disk may be full",
        )
        assert "cannot be written to" in (store_problem(app) or "")
    assert read_health(app)[0] == 200


def test_where_the_store_takes_no_row_a_press_says_so_and_pages_are_shown(
    app: Flask, olga: Person, engine: str
) -> None:
    with read_only(app, engine):
        assert olga.client.get("/connections").status_code == 200
        response = Person(app.test_client()).post(
            "/login", page="/login", email="adam@example.com", password=PASSWORD
        )
    assert response.status_code == 503
    assert "The console&#39;s database cannot be written to" in response.text
    assert "Its disk may be full." in response.text


def test_readiness_writes_once_in_ten_seconds(app: Flask, clock: Clock) -> None:
    def written() -> Any:
        with app.app_context():
            return db.session.scalar(
                select(PeriodicTask.due_at).where(PeriodicTask.name == WRITTEN)
            )

    read_health(app)
    first = written()
    read_health(app)
    assert written() == first
    clock.move(seconds=11)
    read_health(app)
    assert written() > first
