"""Store, warehouse and copies behind PgBouncer, which changes connections."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from flask import Flask

from dashboard.cli import main
from dashboard.core.database import db
from dashboard.pulls.destinations.base import DestinationError
from dashboard.pulls.destinations.database import DatabaseDestination
from dashboard.pulls.destinations.registry import open_destination
from dashboard.refresh import passes
from dashboard.sql import result as sql_result
from dashboard.sql.backends import postgresql
from tests.operations.conftest import POOL_SIZE
from tests.pulls.conftest import fleet, own
from tests.support.clock import Clock
from tests.support.databases import Servers, wait_for
from tests.support.pgbouncer import PgBouncer
from tests.support.processes import Processes, make_environ
from tests.support.pulled_customers import CUSTOMERS
from tests.support.sample_tables import OwnTable
from tests.support.sandbox import Sandbox
from tests.support.visits import sign_in

# Fixtures of the tests of copies.
__all__ = ["fleet", "own"]

PAGES = (
    "/",
    "/connections",
    "/causes",
    "/accounts/1001",
    "/audit",
    "/connections.json",
    "/trend",
    "/me",
)
VISITORS, ROUNDS = 12, 4


@pytest.fixture
def store(store: dict[str, str], pooler: PgBouncer) -> dict[str, str]:
    """The test's store, through the pooler."""
    return {**store, "database_url": pooler.url("test")}


@pytest.fixture
def run(store: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> Callable[..., Result]:
    """Run a command in this process."""
    environ = make_environ(sandbox.url, tmp_path, **store)
    return lambda *words, **more: CliRunner().invoke(
        main, words, env={**environ, **more}, input=more.pop("given", None)
    )


@pytest.fixture
def database(servers: Servers) -> Iterator[str]:
    """The name of an empty database."""
    servers.postgresql.drop("pooled")
    servers.postgresql.create("pooled")
    yield "pooled"
    servers.postgresql.drop("pooled")


def left_in_sessions(pooler: PgBouncer, database: str) -> set[tuple[Any, ...]]:
    """Return settings, prepared statements and locks of each server connection."""
    statement = """
        SELECT current_setting('search_path'), current_setting('random_page_cost'),
            current_setting('statement_timeout'), current_setting('lock_timeout'),
            current_setting('default_transaction_read_only'), current_user,
            (SELECT count(*) FROM pg_prepared_statements),
            (SELECT count(*) FROM pg_listening_channels()),
            (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
    """
    address = pooler.url(database)
    with psycopg.connect(address, autocommit=True, prepare_threshold=None) as connection:
        return {row for _ in range(2 * POOL_SIZE) for row in connection.execute(statement)}


CLEAN = {('"$user", public', "4", "0", "0", "off", "console", 0, 0, 0)}


def test_commands_work_through_a_pooler_and_leave_nothing_in_its_connections(
    run: Callable[..., Result], pooler: PgBouncer, database: str
) -> None:
    address = pooler.url(database)
    for words in (
        ("db", "upgrade"),
        ("db", "upgrade"),
        ("users", "create", "new@example.com", "--role", "admin", "--password-stdin"),
        ("refresh",),
        ("users", "list"),
        ("check", "database"),
    ):
        done = run(*words, DATABASE_URL=address, given="a long password of one's own\n")
        assert done.exit_code == 0, (words, done.output, done.exception)
    assert left_in_sessions(pooler, database) == CLEAN


def test_pages_and_passes_go_on_with_fewer_server_connections_than_clients(
    app: Flask, processes: Processes, pooler: PgBouncer, clock: Clock, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb") as log:
        url = processes.serve(stderr=log)
        with app.app_context():
            pass_id = passes.start_or_join(clock()).id
            db.session.remove()
            db.engine.dispose()
        for _ in range(2):
            processes.start("worker", stderr=log)
        session = sign_in(url)

        def visit(_: int) -> list[int]:
            return [
                session.get(url + page, headers={"Connection": "close"}, timeout=120).status_code
                for _ in range(ROUNDS)
                for page in PAGES
            ]

        with ThreadPoolExecutor(VISITORS) as visitors:
            answers = [
                status for statuses in visitors.map(visit, range(VISITORS)) for status in statuses
            ]
        assert (len(answers), set(answers)) == (VISITORS * ROUNDS * len(PAGES), {200})

        def is_complete() -> bool:
            with app.app_context():
                found = passes.get(pass_id)
                db.session.remove()
                return found.active is None and found.error is None

        wait_for(is_complete, "the refresh is complete", within=60)
        processes.end_all()
    wrong = [
        line
        for line in (tmp_path / "log").read_text().splitlines()
        if json.loads(line)["level"] != "INFO"
    ]
    assert wrong == []
    assert left_in_sessions(pooler, "test") == CLEAN


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_what_needs_a_session_of_its_own_says_that_it_needs_the_servers_address(
    run: Callable[..., Result], servers: Servers, pooler: PgBouncer, tmp_path: Path, command: str
) -> None:
    file, direct = tmp_path / "kept.console", servers.postgresql.url("test")
    if command == "restore":
        assert run("backup", str(file), DATABASE_URL=direct).exit_code == 0
    words = (command, str(file), *(["--replace"] if command == "restore" else []))
    refused = run(*words)
    assert (
        refused.exit_code,
        "set DATABASE_URL to the address of the database server" in refused.output,
    ) == (1, True)
    assert (
        "backup and restore need the address of the database server itself"
        in run("check", "database").output
    )
    done = run(*words, DATABASE_URL=direct)
    assert done.exit_code == 0, done.output
    assert left_in_sessions(pooler, "test") == CLEAN
    assert run("users", "list").exit_code == 0


def run_query(address: str, question: str, seconds: float = 20) -> sql_result.Result:
    result = sql_result.Result()
    postgresql.run_query(address, question, result, lambda _cancel: None, seconds)
    return result


@pytest.fixture
def warehouse(pooler: PgBouncer, servers: Servers, database: str) -> str:
    """A customer's warehouse through the pooler."""
    with psycopg.connect(servers.postgresql.url(database), autocommit=True) as connection:
        connection.execute("create table invoice (id int primary key)")
        connection.execute("insert into invoice select generate_series(1, 30)")
        connection.execute(
            "create function write_anyway() returns void language plpgsql as $$ begin"
            " perform set_config('transaction_read_only', 'off', false);"
            " delete from invoice; end $$"
        )
    return pooler.url(database)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("insert into invoice values (99)", "read-only transaction"),
        (
            "with gone as (delete from invoice returning *) select * from gone",
            "read-only transaction",
        ),
        ("select write_anyway()", "read-write mode"),
        ("do $$ begin set transaction read write; delete from invoice; end $$", "read-write mode"),
        ("set transaction read write", "read-write mode"),
        ("select 1; select 2", "multiple commands"),
        ("commit; drop table invoice", "multiple commands"),
        ("select pg_sleep(60)", "statement timeout"),
        (
            "select pg_sleep(60) from (select set_config('statement_timeout', '0', false)) as "
            "longer",
            "statement timeout",
        ),
        ("select * from nothing_like_it", "does not exist"),
    ],
)
def test_a_question_through_a_pooler_is_read_only_short_and_a_single_one(
    warehouse: str, question: str, message: str
) -> None:
    with pytest.raises(sql_result.Failed) as refused:
        run_query(warehouse, question, seconds=1)
    assert message in str(refused.value).lower()
    assert [column.name for column in run_query(warehouse, "select id from invoice").columns] == [
        "id"
    ]
    assert len(run_query(warehouse, "select id from invoice").rows) == 30


@pytest.mark.parametrize(
    "question",
    [
        "set search_path to nowhere",
        "set session characteristics as transaction read write",
        "set default_transaction_read_only = on",
        "set role pg_monitor",
        "select set_config('search_path', 'nowhere', false), set_config('lock_timeout', '1', "
        "false)",
        "select pg_advisory_lock(7)",
        "prepare kept as select 1",
        "listen news",
        "commit",
        "rollback",
        "commit and chain",
    ],
)
def test_a_question_leaves_nothing_to_whoever_gets_the_connection_next(
    warehouse: str, pooler: PgBouncer, database: str, question: str
) -> None:
    assert left_in_sessions(pooler, database) == CLEAN
    for _ in range(POOL_SIZE):
        with contextlib.suppress(sql_result.Failed):
            run_query(warehouse, question)
    assert left_in_sessions(pooler, database) == CLEAN
    with pytest.raises(sql_result.Failed, match="read-only transaction"):
        run_query(warehouse, "delete from invoice")


def test_a_question_is_cancelled_through_the_pooler(
    warehouse: str, servers: Servers, database: str
) -> None:
    cancels: list[Callable[[], None]] = []
    failures: list[str] = []

    def ask_for_long() -> None:
        try:
            postgresql.run_query(
                warehouse, "select pg_sleep(50)", sql_result.Result(), cancels.append
            )
        except sql_result.Failed as error:
            failures.append(str(error))

    thread = threading.Thread(target=ask_for_long)
    thread.start()
    with psycopg.connect(servers.postgresql.url(database), autocommit=True) as connection:
        active = (
            "select count(*) from pg_stat_activity "
            "where query like 'select pg_sleep(50)%' and state = 'active'"
        )
        wait_for(
            lambda: connection.execute(active).fetchone() == (1,),
            "the query is running",
            within=60,
        )
        cancels[0]()
        thread.join(60)
        assert connection.execute(active).fetchone() == (0,)
    assert (
        [failure for failure in failures if "canceling statement due to user request" in failure]
        == failures
        != []
    )


def test_many_questions_at_once_are_answered_with_few_server_connections(warehouse: str) -> None:
    with ThreadPoolExecutor(8) as askers:
        found = list(
            askers.map(
                lambda _: len(run_query(warehouse, "select id from invoice").rows), range(24)
            )
        )
    assert found == [30] * 24


def test_copies_arrive_through_a_pooler_and_hold_one_lock_as_long_as_they_last(
    run: Callable[..., Result], pooler: PgBouncer, servers: Servers, database: str, fleet: OwnTable
) -> None:
    address = pooler.url(database)
    words = ("pull", "--to", address, *(f"--account={each}" for each in CUSTOMERS), "--json")
    for more in ((), ("--full",), ()):
        fleet.put(len(fleet.rows) + 1, "2026-02-01T00:00:00Z")
        done = run(*words, *more)
        assert done.exit_code == 0, (done.output, done.exception)
        copied = json.loads(done.stdout)["tables"]
        assert len(copied) == 2 * len(CUSTOMERS) + 1
    assert left_in_sessions(pooler, database) == CLEAN
    with psycopg.connect(servers.postgresql.url(database)) as connection:
        for each in copied:
            count = psycopg.sql.SQL("SELECT count(*) FROM {}").format(
                psycopg.sql.Identifier(each["target"])
            )
            assert connection.execute(count).fetchone() == (each["rows"],)
    holder = open_destination(address)
    assert isinstance(holder, DatabaseDestination)
    with (
        holder,
        pytest.raises(DestinationError, match="Another pull is writing"),
        open_destination(address),
    ):
        pass
    with open_destination(address):
        pass
    assert left_in_sessions(pooler, database) == CLEAN
