"""An upgrade of an earlier version's store and queue needs no manual steps.

``tests/data/upgrade`` holds, as SQL, the store and the queue of the version with migration 0022,
with one of each object that users create. The customers are made up.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.app import create_app
from dashboard.cli.common import close_store, upgrade_schema
from dashboard.core.database import db
from dashboard.fleet.counters import recount
from dashboard.fleet.models import Account, ConnectionCount
from dashboard.web.security import limiter
from tests.support.clock import Clock
from tests.support.people import Person, words
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

DUMPS = Path(__file__).parents[1] / "data" / "upgrade"
PAGES = (
    "/accounts",
    "/connections",
    "/causes",
    "/findings",
    "/receipts",
    "/audit",
    "/alerts",
    "/pulls",
    "/exports",
    "/bulk",
    "/deliveries",
    "/webhooks",
    "/queries",
    "/desk",
    "/since",
    "/trend",
    "/accounts/1001",
)


@pytest.fixture
def upgraded(sandbox: Sandbox, tmp_path: Path, clock: Clock) -> Iterator[Flask]:
    for name, file in (("store.sql", "console.db"), ("queue.sql", "queue.db")):
        connection = sqlite3.connect(tmp_path / file)
        connection.executescript((DUMPS / name).read_text())
        connection.close()
    app = create_app(make_settings(sandbox.url, tmp_path), clock=clock)
    limiter.enabled = False
    upgrade_schema(app)
    yield app
    close_store(app)


def test_every_page_shows_what_the_earlier_version_stored(upgraded: Flask) -> None:
    adam = Person(upgraded.test_client(), "adam@example.com")
    for path in PAGES:
        assert adam.get(path)
    assert "Of the test" in words(adam.get("/accounts/1001"))
    assert adam.json("/connections.json?q=amber")["total"] > 0


def test_what_is_counted_stays_right(upgraded: Flask) -> None:
    def counted() -> list[tuple[object, ...]]:
        db.session.expire_all()
        rows = db.session.execute(select(ConnectionCount.__table__)).all()
        return sorted(tuple(row) for row in rows)

    with upgraded.app_context():
        before = counted()
        recount()
        db.session.commit()
        assert counted() == before
        assert db.session.scalars(select(Account)).all()


def test_every_message_that_waits_in_the_queue_names_a_task(upgraded: Flask) -> None:
    queues = upgraded.extensions["services"].queues
    waiting = queues.waiting()
    assert sum(waiting.values()) == 13
    for name, number in waiting.items():
        for _ in range(number):
            assert queues[name].dequeue() is not None
