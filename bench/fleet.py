"""Fills a store with the sandbox's fleet: 100,000 connections in about ten seconds."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import insert

from dashboard.core.database import db, gather_statistics
from dashboard.findings import evaluate
from dashboard.fleet import counters
from dashboard.fleet.models import (
    SEVERITIES,
    Account,
    AccountRefreshState,
    Connection,
    HealthChange,
    Run,
)
from dashboard.peliqan.statuses import severity_of_health
from dashboard.refresh.models import Refresh
from dashboard.sandbox.seed import Connection as SeededConnection
from dashboard.sandbox.seed import World
from dashboard.users import service as users

EMAIL, PASSWORD = "bench@example.com", "a password for measuring"
STATUSES = (
    ("OK",) * 80
    + ("ERROR",) * 8
    + ("CHECKING", "NEEDS_REAUTH", "CONSENT_EXPIRED", "RUNNING", "SOMETHING_NEW", "TIMEOUT") * 2
)
SOURCES_OF_FOUR = 4
BATCH = 2_000


def fill(app: Flask, connections: int) -> None:
    """Fill the store as after a refresh, and add one user. Commits.

    Four connections an account; a run and one or two status changes each.
    """
    world, now = World(connections // SOURCES_OF_FOUR, 1), datetime.now(UTC)
    with app.app_context():
        for start in range(0, world.size, BATCH):
            rows = list(_rows(world, start, min(start + BATCH, world.size), now))
            for model in (Account, AccountRefreshState, Connection, Run, HealthChange):
                db.session.execute(insert(model), [row for kind, row in rows if kind is model])
            db.session.commit()
        db.session.add(
            Refresh(
                started_at=now,
                alive_at=now,
                ended_at=now,
                accounts=world.size,
                done=world.size,
                unreadable=0,
            )
        )
        db.session.commit()
        counters.recount()
        gather_statistics()
        add_user()
        if db.engine.dialect.name == "postgresql":
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE")
        db.session.remove()
        db.engine.dispose()


def evaluate_findings(app: Flask) -> None:
    """Evaluate all findings and causes, as a refresh does. Commits."""
    with app.app_context():
        evaluate.evaluate_all(datetime.now(UTC))
        gather_statistics()
        db.session.remove()
        db.engine.dispose()


def add_user() -> None:
    """Add a user who may sign in and start a sync."""
    users.create_user(EMAIL, "operator", PASSWORD, datetime.now(UTC))


def _rows(
    world: World, start: int, end: int, now: datetime
) -> Iterator[tuple[Any, dict[str, Any]]]:
    chance = random.Random(start)
    for account in world.accounts(start, end - start):
        yield (
            Account,
            {
                "id": account.id,
                "name": account.name,
                "external_id": account.external_id,
                "first_seen_at": now,
            },
        )
        times = {"due_at": datetime(9999, 1, 1, tzinfo=UTC), "tried_at": now, "checked_at": now}
        yield AccountRefreshState, {"account_id": account.id, **times}
        for position in range(1, SOURCES_OF_FOUR + 1):
            yield from _connection_rows(world, account.id, position, now, chance)


def _connection_rows(
    world: World, account_id: int, position: int, now: datetime, chance: random.Random
) -> Iterator[tuple[Any, dict[str, Any]]]:
    made = world.source(account_id, position)
    status = chance.choice(STATUSES)
    severity = severity_of_health(status).value
    since = now - timedelta(minutes=chance.randrange(90 * 24 * 60))
    run_at = now - timedelta(seconds=chance.randrange(made.interval))
    failed = severity == "error"
    key = {"account_id": account_id, "connection_id": made.id}
    yield (
        Connection,
        {
            **_seeded_fields(made, failed),
            "status": status,
            "severity": severity,
            "severity_rank": SEVERITIES.index(severity),
            "status_since": since,
            "first_seen_at": now - timedelta(days=90),
            "looked_at": now,
            "runs_read_at": now,
            "last_run_at": run_at,
            "last_success_at": since if failed else run_at,
        },
    )
    yield (
        Run,
        {
            **key,
            "id": made.id * 100,
            "status": "COMPLETED",
            "started_at": run_at,
            "ended_at": run_at,
            "records": 1000,
        },
    )
    yield HealthChange, {**key, **_change(now - timedelta(days=90), None, "OK")}
    if status != "OK":
        yield HealthChange, {**key, **_change(since, "OK", status)}


def _seeded_fields(made: SeededConnection, failed: bool) -> dict[str, Any]:
    return {
        "account_id": made.account_id,
        "id": made.id,
        "name": made.name,
        "connector": made.connector.name,
        "run_interval": made.interval,
        "last_run_status": "ERROR" if failed else "COMPLETED",
        "last_error": made.failure.text if made.failure and failed else None,
        "last_records": 0 if failed else 1000,
        "last_run_seconds": made.seconds,
        "always_loaded": True,
        "auth_type": made.connector.auth,
    }


def _change(at: datetime, was: str | None, became: str) -> dict[str, Any]:
    return {
        "at": at,
        "was": was,
        "was_severity": None if was is None else severity_of_health(was).value,
        "became": became,
        "became_severity": severity_of_health(became).value,
    }
