"""Processes and servers killed at random moments while users press buttons.

A few kills here; ``make soak`` does 200 on either pair of engines.
"""

import os
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.audit import service as audit
from dashboard.audit.models import AuditEntry
from dashboard.core.database import Model, db
from dashboard.exports import service as exports
from dashboard.exports.models import Export
from dashboard.fleet.models import Connection
from dashboard.refresh.models import Refresh
from dashboard.users import service as users
from tests.resilience.chaos import KillableServer, kill_at_random, pressing, services
from tests.support.databases import Servers, wait_for
from tests.support.processes import make_environ
from tests.support.sandbox import Sandbox

TIMES = int(os.environ.get("CRASHES", "6"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
PEOPLE = 3
# A lease lasts a minute; a killed worker is noticed after that.
WITHIN = 200.0
# The longest lease.
LONGEST = timedelta(minutes=11)
# Its export runs for a while.
TABLE, ROWS = 10011902, 1_000_000


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The two servers; also SQLite for ``make soak``."""
    found: str = request.param
    return found


@pytest.fixture
def durable(app: Flask) -> None:
    """Make PostgreSQL write a commit to disk before it reports it, unlike in other tests."""
    with app.app_context():
        if db.engine.dialect.name == "postgresql":
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                name = connection.scalar(text("select current_database()"))
                connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = on'))
            db.engine.dispose()


@pytest.mark.usefixtures("durable")
@pytest.mark.parametrize(
    "engine", ["servers", *(["embedded"] if TIMES > 10 else [])], indirect=True
)
def test_whatever_is_killed_nothing_is_lost_done_twice_or_held_for_ever(
    app: Flask,
    store: dict[str, str],
    engine: str,
    sandbox: Sandbox,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    environ = make_environ(
        sandbox.url, tmp_path, dashboard_refresh_interval=5, dashboard_watch_interval=1, **store
    )
    connections, export_id = _connections(app), _open_export(app)
    url, processes = services(environ)
    victims: dict[str, Any] = dict(processes)
    if engine == "servers":
        servers: Servers = request.getfixturevalue("servers")
        victims |= {
            "postgresql": KillableServer(servers.postgresql),
            "redis": KillableServer(servers.redis),
        }
    over = Event()
    pressers, threads = pressing(url, connections, PEOPLE, SEED, over)
    try:
        killed = kill_at_random(victims, TIMES, random.Random(SEED))
        last_kill_at = datetime.now(UTC)
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    try:
        _wait_until_finished(app, export_id, last_kill_at)
    finally:
        for process in processes.values():
            process.kill()
    responses = sum((presser.responses for presser in pressers), Counter())
    accepted = Counter(connection for presser in pressers for connection in presser.accepted)
    assert sum(accepted.values()) > TIMES, f"too few buttons were pressed: {responses}, {killed}"
    with app.app_context():
        _check_actions(accepted, sandbox)
        _check_leases()
        _check_integrity()
        file = tmp_path / "exports" / _export(app, export_id).name
        with file.open("rb") as lines:
            assert sum(1 for _ in lines) == ROWS + 1
        db.session.remove()
        db.engine.dispose()


def _wait_until_finished(app: Flask, export_id: int, last_kill_at: datetime) -> None:
    """Wait for all actions, the export, and a refresh that started after the last kill."""
    wait_for(lambda: _finished(app), "every action is completed", within=WITHIN)
    wait_for(
        lambda: _export(app, export_id).state == exports.DONE,
        "the export is complete",
        within=WITHIN,
    )
    wait_for(
        lambda: _refreshed(app, last_kill_at),
        "a refresh that started afterwards has ended",
        within=WITHIN,
    )


def _connections(app: Flask) -> list[tuple[int, int]]:
    with app.app_context():
        shown = select(Connection.account_id, Connection.id).where(
            Connection.is_warehouse.is_(False)
        )
        found = [(account_id, id_) for account_id, id_ in db.session.execute(shown.limit(60))]
        db.session.remove()
    return found


def _open_export(app: Flask) -> int:
    with app.app_context():
        olga = users.find_user("olga@example.com")
        assert olga is not None
        at = datetime.now(UTC)
        export = exports.open_export(
            olga,
            exports.NewExport(
                1001, TABLE, "Ledger", "csv", {}, [("Nr", "number", 0)], [], "Ledger"
            ),
            at,
        )
        found = export.id
        db.session.remove()
    return found


def _finished(app: Flask) -> bool:
    with app.app_context():
        open_ = db.session.scalar(
            select(func.count(Action.id)).where(Action.state.not_in(tuple(actions.ENDS)))
        )
        db.session.remove()
    return not open_


def _export(app: Flask, export_id: int) -> Export:
    with app.app_context():
        found = db.session.get(Export, export_id)
        assert found is not None
        assert found.state not in {exports.FAILED, exports.CANCELLED}, found.error
        db.session.expunge_all()
        db.session.remove()
    return found


def _refreshed(app: Flask, since: datetime) -> bool:
    with app.app_context():
        found = db.session.scalar(
            select(func.count(Refresh.id)).where(
                Refresh.started_at > since, Refresh.ended_at.is_not(None)
            )
        )
        db.session.remove()
    return bool(found)


def _check_actions(accepted: Counter[tuple[int, int]], sandbox: Sandbox) -> None:
    """Check the audit trail, the actions, and the number of requests to Peliqan."""
    stored = list(db.session.scalars(select(Action)))
    entries = list(db.session.scalars(select(AuditEntry).where(AuditEntry.what == actions.SYNC)))
    assert sorted(action.audit_id for action in stored) == sorted(entry.id for entry in entries)
    assert [entry for entry in entries if entry.result == audit.PENDING] == []
    assert set(accepted) <= {(action.account_id, action.connection_id) for action in stored}
    assert sandbox.state()["calls"].get("syncdb", 0) <= len(stored)


def _check_leases() -> None:
    late = datetime.now(UTC) + LONGEST
    for mapper in Model.registry.mappers:
        column = getattr(mapper.class_, "leased_until", None)
        if column is not None:
            assert not db.session.scalar(
                select(func.count()).select_from(mapper.class_).where(column > late)
            ), mapper


def _check_integrity() -> None:
    if db.engine.dialect.name == "sqlite":
        assert db.session.scalar(text("PRAGMA integrity_check")) == "ok"
        assert db.session.execute(text("PRAGMA foreign_key_check")).all() == []
        return
    db.session.execute(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
    checking = (
        "SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_am m ON m.oid = c.relam JOIN "
        "pg_namespace n"
        " ON n.oid = c.relnamespace WHERE m.amname = 'btree' AND c.relkind = 'i' AND n.nspname = "
        "'public'"
    )
    assert len(db.session.execute(text(checking)).all()) > 20
    db.session.commit()
