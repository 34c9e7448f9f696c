"""Workers as processes, killed and disconnected, on both pairs of engines."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import select, update

from dashboard.app import create_app
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet.models import AccountRefreshState, Connection
from dashboard.monitoring import queries as service_status
from dashboard.refresh import passes
from dashboard.refresh.models import Refresh
from dashboard.refresh.schedule import WITH_NEXT_REFRESH
from dashboard.refresh.tasks import read_due
from dashboard.sql import service as query_runs
from dashboard.sql.models import QueryResult
from dashboard.sql.tasks import run_query
from dashboard.users import service as users
from dashboard.worker import dispatch
from dashboard.worker.consumer import NICE
from tests.support.clock import Clock
from tests.support.databases import Servers, free_port, wait_for
from tests.support.people import PASSWORD
from tests.support.processes import Processes, make_environ
from tests.support.sandbox import ACCOUNTS, Sandbox
from tests.support.settings import make_settings

pytestmark = pytest.mark.both_engines


@pytest.fixture
def machines(store: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> Iterator[Processes]:
    found = Processes(make_environ(sandbox.url, tmp_path, dashboard_api_concurrency=2, **store))
    yield found
    found.end_all()


def newest(app: Flask) -> Refresh:
    with app.app_context():
        found = passes.latest()
        assert found is not None
        db.session.expunge_all()
        return found


def start_refresh(app: Flask, clock: Clock) -> int:
    """Make every account due."""
    with app.app_context():
        found = passes.start_or_join(clock()).id
        db.session.remove()
    return found


def finished(app: Flask, pass_id: int) -> Callable[[], bool]:
    def poll() -> bool:
        with app.app_context():
            return passes.get(pass_id).active is None

    return poll


def test_two_workers_share_a_pass_and_read_no_account_twice(
    app: Flask, machines: Processes, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.fault("servers", delay_ms=100)
    pass_id = start_refresh(app, clock)
    before = sandbox.state()["calls"].get("servers", 0)
    workers = [machines.start("worker"), machines.start("worker")]
    wait_for(finished(app, pass_id), "the pass ends")
    found = newest(app)
    assert (found.accounts, found.done, found.unreadable, found.error) == (
        ACCOUNTS,
        ACCOUNTS,
        0,
        None,
    )
    assert sandbox.state()["calls"]["servers"] - before == ACCOUNTS
    assert [worker.poll() for worker in workers] == [None, None]


def test_a_worker_that_had_nothing_to_do_takes_part_at_once_in_a_pass_that_begins(
    app: Flask, services: Services
) -> None:
    services.queues.stop.set()
    with app.app_context():
        passes.start_or_join(services.clock())
        account_ids = sorted(db.session.scalars(select(AccountRefreshState.account_id)))[:5]
        db.session.execute(
            update(AccountRefreshState)
            .where(AccountRefreshState.account_id.not_in(account_ids))
            .values(due_at=WITH_NEXT_REFRESH)
        )
        db.session.commit()
        read_due()
    assert [task.eta for task in services.queues["readings"].pending()] == [None]


def test_what_time_alone_changes_is_noticed_by_the_tick(
    app: Flask, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    well = sandbox.healthy
    with app.app_context():
        assert db.session.scalars(select(Finding).where(Finding.state == "new")).all()
        same_connection = (Connection.account_id == well.account_id, Connection.id == well.id)
        db.session.execute(
            update(Connection)
            .where(*same_connection)
            .values(consent_expires_at=clock() + timedelta(days=4))
        )
        db.session.commit()
        clock.move(hours=25)
        dispatch.every_minute()
        db.session.expire_all()
        consent = db.session.scalars(select(Finding).where(Finding.connection_id == well.id)).one()
        assert (consent.rule, consent.state) == ("consent_expiring", "new")
        assert db.session.scalars(select(Finding).where(Finding.state == "new")).all() == [consent]


def test_a_killed_workers_accounts_are_taken_over_within_a_minute(
    app: Flask, machines: Processes, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.fault("servers", delay_ms=200)
    pass_id = start_refresh(app, clock)
    victim = machines.start("worker")
    before = sandbox.state()["calls"].get("servers", 0)
    wait_for(
        lambda: sandbox.state()["calls"].get("servers", 0) - before >= 10, "the first worker reads"
    )
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    killed = time.monotonic()
    assert not finished(app, pass_id)()
    machines.start("worker")
    wait_for(finished(app, pass_id), "another worker finishes", within=60)
    assert time.monotonic() - killed < 60
    found = newest(app)
    assert (found.accounts, found.done, found.error) == (ACCOUNTS, ACCOUNTS, None)
    # Only accounts that the first one had leased and not saved are read again.
    assert ACCOUNTS <= sandbox.state()["calls"]["servers"] - before <= ACCOUNTS + 20


def test_a_worker_beside_the_pages_lets_them_have_the_processor_first(machines: Processes) -> None:
    beside = machines.start("worker", "--exit-with-parent")
    wait_for(
        lambda: (
            os.getpriority(os.PRIO_PROCESS, beside.pid) == os.getpriority(os.PRIO_PROCESS, 0) + NICE
        ),
        "it steps back",
    )


def test_a_worker_with_nothing_in_hand_ends_soon_after_it_is_asked_to(
    app: Flask, services: Services, machines: Processes, clock: Clock
) -> None:
    started = clock()

    def idle_and_working() -> bool:
        with app.app_context():
            db.session.remove()
            ticked = service_status.read().ticked_at
        return (
            ticked is not None and ticked >= started and not any(services.queues.waiting().values())
        )

    idle = machines.start("worker")
    wait_for(idle_and_working, "it has leased all due accounts")
    asked_at = time.monotonic()
    idle.send_signal(signal.SIGTERM)
    assert idle.wait(60) == 0
    # Each of six queues may wait 1 second for a message in Redis, but at the same time.
    assert time.monotonic() - asked_at < 4


def test_a_worker_keeps_a_large_answer_in_seconds_and_then_ends_when_it_is_asked_to(
    app: Flask, services: Services, machines: Processes, clock: Clock
) -> None:
    """10,000 rows of 700 letters: code that scans each text repeatedly took minutes."""
    text = (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10000)"
        " select replace(hex(zeroblob(350)), '0', 'x') as remark from n"
    )
    with app.app_context():
        olga = users.find_user("olga@example.com")
        assert olga is not None
        question = query_runs.start_run(
            olga,
            query_runs.NewRun(
                "large", query_runs.encrypted(text, services.vault.keys), [1001], "large"
            ),
            clock(),
        )
        [result] = query_runs.results_of(question.id)
        answer_id = result.id
        run_query.enqueue_when_due(result)
        db.session.remove()

    def is_answered() -> bool:
        with app.app_context():
            return db.session.get_one(QueryResult, answer_id).state == query_runs.DONE

    worker = machines.start("worker")
    wait_for(is_answered, "the result is stored", within=60)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0


def test_a_periodic_job_runs_once_however_many_workers_there_are(
    app: Flask,
    services: Services,
    store: dict[str, str],
    sandbox: Sandbox,
    tmp_path: Path,
    clock: Clock,
) -> None:
    start_refresh(app, clock)
    others = [
        create_app(make_settings(sandbox.url, tmp_path, **store), clock=clock) for _ in range(5)
    ]

    def run_every_minute(other: Flask) -> None:
        with other.app_context():
            dispatch.every_minute()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(run_every_minute, others))
    assert services.queues["readings"].pending_count() == 1
    clock.move(minutes=1)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(run_every_minute, others))
    assert services.queues["readings"].pending_count() == 2
    for other in others:
        with other.app_context():
            db.engine.dispose()


def sign_in(url: str) -> tuple[requests.Session, requests.Response]:
    session = requests.Session()
    token = BeautifulSoup(session.get(f"{url}/login", timeout=20).text, "html.parser").select_one(
        "input[name=csrf_token]"
    )
    assert token is not None
    form = {"email": "olga@example.com", "password": PASSWORD, "csrf_token": token["value"]}
    return session, session.post(f"{url}/login", data=form, timeout=20, allow_redirects=False)


@pytest.mark.parametrize("engine", ["servers"], indirect=True)
class TestServersThatGoAway:
    """Stop the servers; the ``store`` fixture starts them again."""

    def test_without_redis_pages_are_shown_and_what_needs_it_says_so(
        self, machines: Processes, servers: Servers
    ) -> None:
        url = machines.serve()
        session, response = sign_in(url)
        assert response.status_code == 302
        servers.redis.stop()
        assert session.get(f"{url}/connections", timeout=20).status_code == 200
        _, refused = sign_in(url)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        assert "Redis does not answer" in refused.text
        servers.redis.start()
        wait_for(lambda: sign_in(url)[1].status_code == 302, "people can sign in again")

    def test_without_the_database_every_page_says_so_and_recovers(
        self, machines: Processes, servers: Servers
    ) -> None:
        url = machines.serve()
        session, _ = sign_in(url)
        assert session.get(f"{url}/connections", timeout=20).status_code == 200
        servers.postgresql.stop()
        away = session.get(f"{url}/connections", timeout=20)
        assert (away.status_code, away.headers["Retry-After"]) == (503, "10")
        assert "database does not answer" in away.text
        assert session.get(f"{url}/connections.json", timeout=20).json()["error"] == "store_away"
        servers.postgresql.start()
        wait_for(
            lambda: session.get(f"{url}/connections", timeout=20).status_code == 200,
            "pages are shown again",
        )

    @pytest.mark.parametrize("which", ["postgresql", "redis"])
    def test_a_pass_goes_on_when_a_server_was_away_for_ten_seconds(
        self,
        app: Flask,
        machines: Processes,
        servers: Servers,
        sandbox: Sandbox,
        clock: Clock,
        which: str,
    ) -> None:
        sandbox.fault("servers", delay_ms=200)
        pass_id = start_refresh(app, clock)
        before = sandbox.state()["calls"].get("servers", 0)
        worker = machines.start("worker")
        wait_for(
            lambda: sandbox.state()["calls"].get("servers", 0) - before >= 10, "the worker reads"
        )
        server = getattr(servers, which)
        server.stop()
        away_until = time.monotonic() + 10
        wait_for(lambda: time.monotonic() > away_until, "ten seconds", within=20)
        server.start()
        wait_for(finished(app, pass_id), "the pass ends", within=60)
        found = newest(app)
        assert (found.accounts, found.done, found.unreadable, found.error) == (
            ACCOUNTS,
            ACCOUNTS,
            0,
            None,
        )
        assert sandbox.state()["calls"]["servers"] - before <= ACCOUNTS + 20
        assert worker.poll() is None

    @pytest.mark.parametrize(
        ("which", "name"), [("postgresql", "The database"), ("redis", "Redis")]
    )
    @pytest.mark.parametrize("command", ["serve", "worker"])
    def test_a_server_that_is_away_at_the_start_is_one_sentence(
        self, machines: Processes, servers: Servers, which: str, name: str, command: str
    ) -> None:
        getattr(servers, which).stop()
        # Not the default port, where another server may listen.
        options = [f"--port={free_port()}"] if command == "serve" else []
        process = machines.start(command, *options, stderr=subprocess.PIPE)
        errors = process.communicate(timeout=30)[1].decode()
        assert process.returncode == 2
        assert errors.startswith(f"{name} does not answer")
        assert errors.count("\n") == 1
