"""PostgreSQL's log has no errors that the console causes in ordinary work."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import event, func, select, update

from dashboard.actions import service as actions
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.exports.models import Export
from dashboard.fleet.models import Account, Connection
from dashboard.masking import service as reveals
from dashboard.pulls import service as pulls
from dashboard.pulls.models import PullSchedule
from dashboard.refresh import passes
from dashboard.refresh.models import Refresh
from dashboard.sql import service as query_runs
from dashboard.users import oidc_users
from dashboard.users import service as users
from dashboard.users.models import User
from dashboard.webhooks.models import WebhookEvent
from tests.support import webhook_sender as webhooks
from tests.support.alert_receiver import RECEIVERS, Clockwork, receive
from tests.support.clock import Clock
from tests.support.databases import Servers, wait_for
from tests.support.processes import Processes, make_environ
from tests.support.sandbox import Sandbox
from tests.support.visits import sign_in

TABLE = "/accounts/1001/tables/10011900"


@pytest.fixture
def errors(servers: Servers) -> Callable[[], list[str]]:
    """Return PostgreSQL's log lines of the test, without connections and checkpoints."""
    log = servers.postgresql.folder / "log"
    begin = log.stat().st_size

    def found() -> list[str]:
        lines = log.read_bytes()[begin:].decode().splitlines()
        return [
            line
            for line in lines
            if any(f" {level}: " in line for level in ("ERROR", "FATAL", "PANIC"))
        ]

    return found


def twice_at_once(app: Flask, table: str, write: Callable[[], Any]) -> list[Any]:
    """Run ``write`` in two threads that wait for each other before their first INSERT.

    Return the results or errors of both.
    """
    met, barrier, has_met = threading.Event(), threading.Barrier(2, timeout=30), threading.local()

    def wait(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(
            (f"INSERT INTO {table} ", f'INSERT INTO "{table}" ')
        ) and not getattr(has_met, "yes", False):
            has_met.yes = True
            barrier.wait()
            met.set()

    def run(_: int) -> Any:
        with app.app_context():
            try:
                return write()
            except ValueError as refusal:
                return refusal
            finally:
                db.session.remove()

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", wait)
    try:
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(run, range(2)))
    finally:
        event.remove(engine, "before_cursor_execute", wait)
    assert met.is_set(), f"nothing was inserted into {table} by two at once"
    return found


def adam() -> User:
    found = users.find_user("adam@example.com")
    assert found is not None
    return found


def save_schedule(clock: Clock) -> int:
    made = PullSchedule(
        on=True,
        asked_by="",
        created_at=clock(),
        created_by="adam@example.com",
        name="Nightly",
        every=1440,
    )
    made.place, made.address, made.chosen, made.full_every, made.zone = (
        "parquet://x",
        b"x",
        {},
        7,
        "UTC",
    )
    return pulls.create(made, clock()).id


def begin_sync(clock: Clock) -> tuple[int, bool]:
    connection = db.session.scalars(
        select(Connection).where(Connection.account_id == 1001).order_by(Connection.id)
    ).first()
    assert connection is not None
    action, is_new = actions.start_action(actions.SYNC, connection, "olga@example.com", clock())
    return action.id, is_new


def begin_invite(clock: Clock) -> tuple[int, bool]:
    action, is_new = actions.start_invite(
        db.session.get_one(Account, 1001), "shopify", "olga@example.com", clock()
    )
    return action.id, is_new


# Each possible concurrent insert: the table, and how many of two get an error message.
PLACES: dict[str, tuple[str, Callable[[Clock], Any], int]] = {
    "a pass": ("refresh", lambda clock: passes.start_or_join(clock()).id, 0),
    "a sync": ("action", begin_sync, 0),
    "an invite": ("action", begin_invite, 0),
    "a person": (
        "user",
        lambda clock: users.create_user(
            "new@example.com", "viewer", "a long password of theirs", clock()
        ),
        1,
    ),
    "a person of a provider's": (
        "user",
        lambda clock: (
            oidc_users.provision_user(
                oidc_users.OidcIdentity(
                    "https://id.example.com", "s1", "new@example.com", verified=True, role="viewer"
                ),
                clock(),
            ).id
        ),
        0,
    ),
    "a schedule of copies": ("pull_schedule", save_schedule, 1),
    "a saved question": (
        "saved_query",
        lambda clock: (
            query_runs.save(
                adam(), None, query_runs.QueryInput("Invoices", "select 1", {}), clock()
            ).id
        ),
        1,
    ),
    "a warehouse's address": (
        "warehouse_address",
        lambda clock: query_runs.save_dsn(
            adam(), db.session.get_one(Account, 1001), b"x", "db.example.com", clock()
        ),
        0,
    ),
    "a decision on a column": (
        "column_mask",
        lambda clock: reveals.decide(adam(), 1001, 10011000, "name", masked=True, at=clock()),
        0,
    ),
}


@pytest.mark.parametrize("destination", PLACES)
def test_two_who_write_the_same_at_once_cause_no_error_in_the_database(
    app: Flask, clock: Clock, errors: Callable[[], list[str]], destination: str
) -> None:
    table, write, refused = PLACES[destination]
    found = twice_at_once(app, table, lambda: write(clock))
    assert sum(isinstance(each, ValueError) for each in found) == refused, found
    done = [
        each[0] if isinstance(each, tuple) else each
        for each in found
        if isinstance(each, int | tuple)
    ]
    assert len(set(done)) <= 1, "each has another one"
    if isinstance(found[0], tuple):
        assert sorted(is_new for _, is_new in found) == [False, True]
    assert errors() == []


def token_of(session: requests.Session, url: str) -> str:
    field = BeautifulSoup(session.get(f"{url}/me", timeout=60).text, "html.parser").select_one(
        "input[name=csrf_token]"
    )
    assert field is not None
    return str(field["value"])


def use_console(url: str, page: str, connection: Any, number: int) -> list[int]:
    """Start a sync and an export, send events and open pages; return the statuses."""
    session = sign_in(url, ("olga@example.com", "adam@example.com")[number % 2])
    form = {"csrf_token": token_of(session, url)}
    posts = ((f"{url}{page}/sync", form), (f"{url}{TABLE}/exports", {**form, "format": "csv"}))
    statuses = [
        session.post(address, data=data, timeout=60, allow_redirects=False).status_code
        for address, data in posts
    ]
    for event_id in ("one", "two", f"own {number}"):
        event = webhooks.made(connection, "pipeline_run_ended", 7, "SUCCESS", event_id=event_id)
        body = json.dumps(event).encode()
        headers = {"X-Peliqan-Signature": webhooks.sign(body)}
        response = requests.post(f"{url}{webhooks.ADDRESS}", body, headers=headers, timeout=60)
        statuses.append(response.status_code)
    paths = ("/", page, "/since", "/exports")
    return statuses + [session.get(url + path, timeout=60).status_code for path in paths]


def is_done(app: Flask, before: int) -> bool:
    """Return whether three refreshes after ``before``, two exports and eight events are there."""
    with app.app_context():
        over = Refresh.id > before, Refresh.ended_at.is_not(None)
        refreshes = db.session.scalar(select(func.count(Refresh.id)).where(*over)) or 0
        made = select(func.count(Export.id)).where(Export.state == "done")
        exports = db.session.scalar(made) or 0
        events = db.session.scalar(select(func.count(WebhookEvent.id))) or 0
        db.session.remove()
        return refreshes >= 3 and exports >= 2 and events >= 8


def test_a_fleet_in_its_ordinary_work_causes_no_error_in_the_database(
    app: Flask,
    services: Services,
    store: dict[str, str],
    sandbox: Sandbox,
    errors: Callable[[], list[str]],
    request: pytest.FixtureRequest,
) -> None:
    clock: Clock = request.getfixturevalue("clock")
    tmp_path: Path = request.getfixturevalue("tmp_path")
    sandbox.life.run_seconds = (0, 1)
    own = {
        "dashboard_refresh_interval": 5,
        "dashboard_watch_interval": 1,
        "peliqan_webhook_secret": webhooks.SECRET,
    }
    processes = Processes(make_environ(sandbox.url, tmp_path, **store, **RECEIVERS, **own))
    connection = sandbox.healthy
    page = f"/accounts/{connection.account_id}/connections/{connection.id}"
    with receive() as receiver:
        with app.app_context():
            Clockwork(services, clock, receiver).rule()
            db.session.execute(
                update(Refresh).values(
                    started_at=Refresh.started_at.op("-")(db.text("interval '1 hour'"))
                )
            )
            db.session.commit()
            before = db.session.scalar(select(func.max(Refresh.id))) or 0
            db.session.remove()
        try:
            url = processes.serve()
            for _ in range(2):
                processes.start("worker")

            def work(number: int) -> list[int]:
                return use_console(url, page, connection, number)

            with ThreadPoolExecutor(6) as threads:
                answers = [status for each in threads.map(work, range(6)) for status in each]
            assert set(answers) <= {200, 204, 302, 303}, answers

            wait_for(
                lambda: is_done(app, before), "three refreshes, exports and events", within=120
            )
        finally:
            processes.end_all()
    assert errors() == []
