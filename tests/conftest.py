"""Fixtures for all tests: a sandbox on a loopback port, a console over its fleet, and users.

Olga is an operator, Viv a viewer, Adam an administrator; Mallory is not signed in.
"""

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from werkzeug.routing.rules import Rule
from werkzeug.serving import make_server

from dashboard.app import create_app
from dashboard.cli.common import upgrade_schema
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.refresh.service import refresh_fleet
from dashboard.sandbox.app import create_sandbox
from dashboard.settings import Settings
from dashboard.users import service as users
from tests.support.clock import Clock
from tests.support.databases import Servers, fast_folder, run_servers
from tests.support.folded_texts import wrong_folds
from tests.support.people import PASSWORD, PASSWORD_HASH, Person
from tests.support.sandbox import ACCOUNTS, Sandbox
from tests.support.settings import make_settings
from tests.support.shared_app import SharedApp

logging.getLogger("werkzeug").setLevel(logging.ERROR)
if fast := fast_folder():
    # The parent of ``tmp_path``, unless the environment sets one.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(fast))
# Fixtures that start a browser, a database server, a proxy or another process of the console.
STARTS_A_PROGRAM = frozenset(
    {
        "browser",
        "demo",
        "deployment",
        "machine",
        "nginx",
        "pooler",
        "processes",
        "release",
        "servers",
    }
)

# Folders and files whose tests take five seconds or more.
SLOW = (
    "actions/test_outcome_pages.py",
    "actions/test_outcomes.py",
    "actions/test_polling.py",
    "actions/test_sync.py",
    "alerts/test_addresses.py",
    "alerts/test_outbox.py",
    "alerts/test_pages.py",
    "alerts/test_schedule.py",
    "alerts/test_sending.py",
    "api_faults",
    "bulk",
    "causes/test_causes.py",
    "cli",
    "core/test_backup.py",
    "core/test_migrations.py",
    "core/test_text.py",
    "customer_links/test_banks.py",
    "customer_links/test_pages.py",
    "deliveries/test_jobs.py",
    "deliveries/test_pages.py",
    "exports",
    "findings/test_against_peliqans_checks.py",
    "findings/test_scenarios.py",
    "fleet/test_counters.py",
    "fleet/test_run_outcomes.py",
    "masking/test_pages.py",
    "monitoring/test_probes.py",
    "notes/test_notes.py",
    "operations/test_interrupt.py",
    "peliqan/test_loads.py",
    "peliqan/test_models.py",
    "peliqan/test_odd_responses.py",
    "project/test_deployment.py",
    "project/test_supply_chain.py",
    "project/test_versions.py",
    "pulls",
    "refresh/test_api_outages.py",
    "refresh/test_refresh.py",
    "refresh/test_workers.py",
    "reports/test_since.py",
    "reports/test_since_pages.py",
    "reports/test_timeline.py",
    "reports/test_timeline_pages.py",
    "resilience",
    "sandbox/test_filters.py",
    "sandbox/test_runs.py",
    "sandbox/test_scenarios.py",
    "sandbox/test_warehouse.py",
    "security",
    "sql/test_pages.py",
    "tables/test_data_check_page.py",
    "tables/test_data_checks.py",
    "tables/test_every_type.py",
    "tables/test_freshness.py",
    "tables/test_freshness_page.py",
    "tables/test_health_page.py",
    "tables/test_pages.py",
    "tables/test_recorded_rows.py",
    "tables/test_search.py",
    "telemetry",
    "users/oidc",
    "users/test_email_addresses.py",
    "users/test_restricted_users.py",
    "web/test_bad_input.py",
    "web/test_page_cost.py",
    "web/test_pages.py",
    "web/test_spellings.py",
    "webhooks/test_events_in_the_snapshot.py",
    "webhooks/test_receiver_and_pages.py",
    "webhooks/test_watched_connections.py",
)


def _compile_once() -> None:
    """Compile the builders of routes' addresses once a process: all apps have the same 200."""
    cache: dict[object, Any] = {}
    compile_builder = Rule._compile_builder

    def compiled(rule: Rule, append_unknown: bool = True) -> Any:
        key = (rule.rule, tuple(rule._trace), tuple((rule.defaults or {}).items()), append_unknown)
        if key not in cache:
            cache[key] = compile_builder(rule, append_unknown)
        return cache[key]

    Rule._compile_builder = compiled  # type: ignore[method-assign]


_compile_once()


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[Sandbox]:
    """One sandbox for all tests of a process; ``sandbox`` resets it."""
    app = create_sandbox(ACCOUNTS, run_seconds=(0, 0))
    life = app.extensions["sandbox"].life
    life.rests_from = life.clock()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Sandbox(f"http://127.0.0.1:{server.server_port}", app)
    server.shutdown()
    thread.join(5)


@pytest.fixture
def sandbox(sandbox_server: Sandbox) -> Iterator[Sandbox]:
    """The sandbox, reset to its start."""
    requests.post(f"{sandbox_server.url}/sandbox/control/reset", timeout=30)
    yield sandbox_server
    sandbox_server.life.run_seconds = (0, 0)


def fill(settings: Settings) -> None:
    """Fill a new store with the users and one refresh of the fleet."""
    requests.post(f"{settings.peliqan_api_url}/sandbox/control/reset", timeout=30)
    app = create_app(settings)
    upgrade_schema(app)
    with app.app_context():
        services: Services = app.extensions["services"]
        for name, role in (("viv", "viewer"), ("olga", "operator"), ("adam", "admin")):
            users.create_user(
                f"{name}@example.com", role, PASSWORD, services.clock()
            ).password_hash = PASSWORD_HASH
        db.session.commit()
        assert refresh_fleet(services).error is None
        if db.engine.dialect.name == "sqlite":
            db.session.execute(db.text("PRAGMA wal_checkpoint(TRUNCATE)"))
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(scope="session")
def filled_store(sandbox_server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store after one refresh of the fleet; copied for each test."""
    folder = tmp_path_factory.mktemp("filled")
    fill(make_settings(sandbox_server.url, folder))
    return folder


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Redis servers, one of each for all tests of a process."""
    with run_servers() as running:
        yield running


@pytest.fixture(scope="session")
def filled_servers(
    servers: Servers, sandbox_server: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Servers:
    """The servers with a filled database named "filled"; copied for each test."""
    url = servers.postgresql.create("filled")
    fill(
        make_settings(
            sandbox_server.url, tmp_path_factory.mktemp("filled-servers"), database_url=url
        )
    )
    return servers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked ``both_engines`` twice: on SQLite, and on PostgreSQL with Redis."""
    marks = metafunc.definition.iter_markers("parametrize")
    is_chosen = any(mark.args[0] == "engine" for mark in marks)
    if (
        metafunc.definition.get_closest_marker("both_engines")
        and "engine" in metafunc.fixturenames
        and not is_chosen
    ):
        metafunc.parametrize("engine", ["embedded", "servers"], indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark ``programs`` by fixtures and ``slow`` by file: ``make check`` omits both."""
    for item in items:
        if any(item.path.is_relative_to(Path(__file__).parent / each) for each in SLOW):
            item.add_marker("slow")
        engine = item.callspec.params.get("engine") if hasattr(item, "callspec") else None
        if engine == "servers" or STARTS_A_PROGRAM & set(getattr(item, "fixturenames", ())):
            item.add_marker("programs")


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of the console: "embedded" (SQLite alone) or "servers" (PostgreSQL, Redis)."""
    return str(getattr(request, "param", "embedded"))


@pytest.fixture
def store(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A filled store for one test, as settings."""
    if engine == "embedded":
        shutil.copy(request.getfixturevalue("filled_store") / "console.db", tmp_path / "console.db")
        yield {}
        return
    servers: Servers = request.getfixturevalue("filled_servers")
    servers.redis.client.flushall()
    servers.postgresql.drop("test")
    yield {
        "database_url": servers.postgresql.create("test", like="filled"),
        "redis_url": servers.redis.url,
    }
    servers.revive()
    servers.postgresql.drop("test")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Templates compiled once for all tests of a process, keyed by their text."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture(scope="session")
def shared_apps() -> dict[str, SharedApp]:
    """The console of a test process for each engine, made when a test first needs it."""
    return {}


@pytest.fixture
def app(
    shared_apps: dict[str, SharedApp],
    engine: str,
    store: dict[str, str],
    sandbox: Sandbox,
    tmp_path: Path,
    clock: Clock,
) -> Iterator[Flask]:
    """A console for one test: the application of the process with services of its own."""
    settings = make_settings(sandbox.url, tmp_path, **store)
    if engine not in shared_apps:
        shared_apps[engine] = SharedApp(settings)
    with shared_apps[engine].lend(settings, clock) as lent:
        yield lent


@pytest.fixture(autouse=True)
def comparable_texts_are_those_of_their_rows(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test marked ``both_engines`` that written rows have comparable texts."""
    is_checked = request.node.get_closest_marker("both_engines") and "app" in request.fixturenames
    app: Flask | None = request.getfixturevalue("app") if is_checked else None
    yield
    if app is not None:
        with app.app_context():
            assert wrong_folds() == []


@pytest.fixture
def services(app: Flask) -> Services:
    found: Services = app.extensions["services"]
    return found


@pytest.fixture
def viv(app: Flask) -> Person:
    return Person(app.test_client(), "viv@example.com")


@pytest.fixture
def olga(app: Flask) -> Person:
    return Person(app.test_client(), "olga@example.com")


@pytest.fixture
def adam(app: Flask) -> Person:
    return Person(app.test_client(), "adam@example.com")


@pytest.fixture
def mallory(app: Flask) -> Person:
    return Person(app.test_client())


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines, and name the address in the error."""
    import socket

    real = socket.getaddrinfo

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in {None, "127.0.0.1", "localhost", "::1", ""}:
            raise OSError(f"A test reached for {name}: tests speak to this machine alone.")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)
