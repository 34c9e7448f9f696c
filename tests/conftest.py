"""What all tests share: a sandbox on a loopback port, a console over a fleet that was read from it, and people.

Olga is an operator, Viv a viewer, Adam an administrator; Mallory has not signed in.
"""

import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from argon2 import PasswordHasher
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from werkzeug.routing.rules import Rule
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from dashboard.app import create_app
from dashboard.cli.common import upgrade_schema
from dashboard.context import Console
from dashboard.core.database import db
from dashboard.core.search_text import refold
from dashboard.refresh.service import refresh_fleet
from dashboard.sandbox.app import create_sandbox
from dashboard.sandbox.simulation import EPOCH
from dashboard.settings import Settings
from dashboard.users import service as people
from tests.support.databases import Servers, quick_place, run_servers
from tests.support.processes import TOKEN

logging.getLogger("werkzeug").setLevel(logging.ERROR)
if place := quick_place():
    # What ``tmp_path`` lies under, unless somebody chose.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(place))
ACCOUNTS = 60
PASSWORD = "correct horse battery"
# A hash that is checked in no time: most tests sign somebody in, and are not about guessing passwords.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def _compile_once() -> None:
    """What makes the addresses of routes is compiled once in a process: each app of a test's own has the same 200."""
    known: dict[object, Any] = {}
    compile_builder = Rule._compile_builder

    def compiled(rule: Rule, append_unknown: bool = True) -> Any:
        key = (rule.rule, tuple(rule._trace), tuple((rule.defaults or {}).items()), append_unknown)
        if key not in known:
            known[key] = compile_builder(rule, append_unknown)
        return known[key]

    Rule._compile_builder = compiled  # type: ignore[method-assign]


_compile_once()


class Clock:
    """A clock that a test moves; it begins now, since the sandbox behind it lives in real time."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def move(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@dataclass
class Sandbox:
    """A running stand-in: its address, the app itself and its knobs."""

    url: str
    app: Flask

    @property
    def life(self) -> Any:
        return self.app.extensions["sandbox"].life

    def fault(self, route: str, **fault: Any) -> None:
        requests.post(f"{self.url}/sandbox/control/faults", json={"route": route, **fault}, timeout=30).raise_for_status()

    def clear(self) -> None:
        requests.delete(f"{self.url}/sandbox/control/faults", timeout=30)

    def set(self, connection_id: int, **state: Any) -> None:
        requests.post(f"{self.url}/sandbox/control/connections/{connection_id}", json=state, timeout=30).raise_for_status()

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.url}/sandbox/control/state", timeout=30).json()
        return found

    def find(self, **wanted: Any) -> Any:
        """The first connection whose connector, failure or place is as wanted."""
        return next(self.find_all(**wanted))

    def find_all(self, **wanted: Any) -> Iterator[Any]:
        """Every such connection. LookupError at the end."""
        for account in self.life.accounts(0, ACCOUNTS):
            for each in self.life.connections(account.id):
                have = {
                    "auth": each.connector.auth,
                    "failure": each.failure.name if each.failure else None,
                    "placed": each.placed,
                    "flips": each.flips,
                }
                if all(have[key] == value for key, value in wanted.items()):
                    yield each
        raise LookupError(wanted)

    @property
    def healthy(self) -> Any:
        """A connection that is well, and stays so for an hour in which it does not run: longer than all tests take."""
        return next(
            each for each in self.find_all(auth="oauth2", failure=None, placed=None, flips=False) if self._stays_current(each)
        )

    def _stays_current(self, connection: Any) -> bool:
        # Only a run that is over by then counts.
        rests_from = self.life.rests_from or self.life.clock()
        since = (rests_from - EPOCH).total_seconds() - connection.phase - connection.seconds
        return bool(since % connection.interval + connection.seconds < connection.interval - 3600)


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[Sandbox]:
    """One stand-in for all tests of a process; ``sandbox`` gives it clean."""
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
    """The stand-in, with nothing left over from another test."""
    requests.post(f"{sandbox_server.url}/sandbox/control/reset", timeout=30)
    yield sandbox_server
    sandbox_server.life.run_seconds = (0, 0)


def make_settings(sandbox_url: str, folder: Path, **changes: Any) -> Settings:
    """Settings for a console over the stand-in."""
    return Settings(
        **{
            "secret_key": "k" * 40,
            "peliqan_api_url": sandbox_url,
            "peliqan_partner_token": TOKEN,
            "peliqan_embed_script_url": f"{sandbox_url}/embed/v1.3/peliqan-integration.js",
            "dashboard_data": folder,
            "dashboard_watch_interval": 0.1,
            "dashboard_api_timeout": 3,
            "dashboard_insecure_cookies": True,
            **changes,
        }
    )


def fill(settings: Settings) -> None:
    """Everybody into a new store, and one pass over the fleet, as it is before any test changes it."""
    requests.post(f"{settings.peliqan_api_url}/sandbox/control/reset", timeout=30)
    app = create_app(settings)
    upgrade_schema(app)
    with app.app_context():
        parts: Console = app.extensions["console"]
        for name, role in (("viv", "viewer"), ("olga", "operator"), ("adam", "admin")):
            people.create_user(f"{name}@example.com", role, PASSWORD, parts.clock()).password_hash = PASSWORD_HASH
        db.session.commit()
        assert refresh_fleet(parts.fleet).error is None
        if db.engine.dialect.name == "sqlite":
            db.session.execute(db.text("PRAGMA wal_checkpoint(TRUNCATE)"))
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(scope="session")
def filled(sandbox_server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store after one pass over the fleet; copied for each test."""
    folder = tmp_path_factory.mktemp("filled")
    fill(make_settings(sandbox_server.url, folder))
    return folder


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Redis, one of each for all tests of a process."""
    with run_servers() as running:
        yield running


@pytest.fixture(scope="session")
def filled_servers(servers: Servers, sandbox_server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Servers:
    """The same with a database named "filled"; copied for each test."""
    url = servers.postgresql.create("filled")
    fill(make_settings(sandbox_server.url, tmp_path_factory.mktemp("filled-servers"), database_url=url))
    return servers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked ``both_engines`` twice: on SQLite alone, and on PostgreSQL and Redis."""
    marks = metafunc.definition.iter_markers("parametrize")
    is_chosen = any(mark.args[0] == "engine" for mark in marks)
    if metafunc.definition.get_closest_marker("both_engines") and "engine" in metafunc.fixturenames and not is_chosen:
        metafunc.parametrize("engine", ["embedded", "servers"], indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """What the console stands on: "embedded" (SQLite alone) or "servers" (PostgreSQL and Redis)."""
    return str(getattr(request, "param", "embedded"))


@pytest.fixture
def store(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A filled store of the test's own, as settings."""
    if engine == "embedded":
        shutil.copy(request.getfixturevalue("filled") / "console.db", tmp_path / "console.db")
        yield {}
        return
    servers: Servers = request.getfixturevalue("filled_servers")
    servers.redis.client.flushall()
    servers.postgresql.drop("test")
    yield {"database_url": servers.postgresql.create("test", like="filled"), "redis_url": servers.redis.url}
    servers.revive()
    servers.postgresql.drop("test")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Templates compiled once for all tests of a process, by their text."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture
def app(
    store: dict[str, str], sandbox: Sandbox, tmp_path: Path, clock: Clock, compiled: FileSystemBytecodeCache
) -> Iterator[Flask]:
    """A console of the test's own."""
    made = create_app(make_settings(sandbox.url, tmp_path, **store), clock=clock)
    made.jinja_env.bytecode_cache = compiled
    made.config["RATELIMIT_ENABLED"] = False
    from dashboard.web.security import limiter

    limiter.enabled = False
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(autouse=True)
def comparable_texts_are_those_of_their_rows(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test marked ``both_engines`` that what wrote rows has written their comparable texts."""
    is_checked = request.node.get_closest_marker("both_engines") and "app" in request.fixturenames
    app: Flask | None = request.getfixturevalue("app") if is_checked else None
    yield
    if app is not None:
        with app.app_context():
            assert refold() == 0


@pytest.fixture
def parts(app: Flask) -> Console:
    found: Console = app.extensions["console"]
    return found


class Person:
    """Somebody at a browser: pages come back as soup, and every page is held to what all pages promise."""

    def __init__(self, client: FlaskClient, email: str | None = None) -> None:
        self.client = client
        if email:
            answer = self.post("/login", page="/login", email=email, password=PASSWORD)
            assert answer.status_code == 302, answer.text

    def get(self, path: str, status: int = 200, **headers: str) -> BeautifulSoup:
        answer = self.client.get(path, headers=headers)
        assert answer.status_code == status, f"{path}: {answer.status_code}\n{answer.text[:1500]}"
        soup = BeautifulSoup(answer.text, "html.parser")
        if not headers:
            check_page(soup, path)
        return soup

    def fragment(self, path: str, status: int = 200) -> BeautifulSoup:
        return self.get(path, status, **{"HX-Request": "true"})

    def json(self, path: str, status: int = 200) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text[:500]
        return answer.json

    def token(self, page: str = "/me") -> str:
        # Not as soup, which takes as long as the page itself: there is one before every press.
        found = re.search('name="csrf_token" value="([^"]+)"', self.client.get(page).text)
        assert found is not None
        return found[1]

    def post(self, path: str, page: str = "/me", htmx: bool = False, **fields: str) -> TestResponse:
        headers = {"HX-Request": "true"} if htmx else {}
        return self.client.post(path, data={"csrf_token": self.token(page), **fields}, headers=headers)


def check_page(soup: BeautifulSoup, path: str) -> None:
    """One heading, no id twice, every form with an action, every POST with its token."""
    assert len(soup.find_all("h1")) == 1, f"{path} has not exactly one h1"
    ids = [element["id"] for element in soup.find_all(id=True)]
    assert len(ids) == len(set(ids)), f"{path} has an id twice: {sorted({each for each in ids if ids.count(each) > 1})}"
    for form in soup.find_all("form"):
        assert form.get("action"), f"{path} has a form without action"
        if form.get("method", "").lower() == "post":
            assert form.find("input", {"name": "csrf_token"}), f"{path} has a form without its token"


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


def path_of(connection: Any, below: str = "") -> str:
    """A connection's page, or something below it."""
    return f"/accounts/{connection.account_id}/connections/{connection.id}{below}"


def words(soup: BeautifulSoup) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", soup.get_text(" ")).strip()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten address names itself: nothing but this machine is spoken to."""
    import socket

    real = socket.getaddrinfo

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in {None, "127.0.0.1", "localhost", "::1", ""}:
            raise OSError(f"A test reached for {name}: tests speak to this machine alone.")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)
