"""One console for all tests of a file: it must withstand attacks whatever happened before."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from jinja2 import FileSystemBytecodeCache

from dashboard.app import create_app
from dashboard.cli.common import close_store
from dashboard.core.database import db
from dashboard.web.security import limiter
from tests.security.route_requests import RouteRequests
from tests.security.seeded_objects import make_one_of_each
from tests.support.alert_receiver import RECEIVERS
from tests.support.clock import Clock
from tests.support.databases import Servers
from tests.support.hook_receiver import HOOK
from tests.support.people import Person
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> str:
    """The engine: SQLite, unless a file parametrizes it."""
    return str(getattr(request, "param", "embedded"))


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacked")


@pytest.fixture(scope="module")
def changes() -> dict[str, Any]:
    """Settings that differ from those of other tests."""
    return {}


@pytest.fixture(scope="session")
def used_store(
    filled_store: Path,
    sandbox_server: Sandbox,
    compiled: FileSystemBytecodeCache,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder whose console has one of each object; copied for each file of tests."""
    folder = tmp_path_factory.mktemp("used_store")
    shutil.copy(filled_store / "console.db", folder / "console.db")
    requests.post(f"{sandbox_server.url}/sandbox/control/reset", timeout=30)
    limiter.enabled = False
    made = create_app(make_settings(sandbox_server.url, folder, **HOOK, **RECEIVERS))
    made.jinja_env.bytecode_cache = compiled
    olga, adam = (Person(made.test_client(), f"{name}@example.com") for name in ("olga", "adam"))
    make_one_of_each(made, olga, adam, folder, "Of the test")
    with made.app_context():
        db.session.execute(db.text("PRAGMA wal_checkpoint(TRUNCATE)"))
    close_store(made)
    return folder


@pytest.fixture(scope="module")
def app(
    engine: str,
    changes: dict[str, Any],
    folder: Path,
    clock: Clock,
    sandbox_server: Sandbox,
    request: pytest.FixtureRequest,
) -> Iterator[Flask]:
    """A console over the usual fleet; on SQLite with one object for every route."""
    servers: Servers | None = None
    if engine == "embedded":
        shutil.copytree(request.getfixturevalue("used_store"), folder, dirs_exist_ok=True)
        requests.post(f"{sandbox_server.url}/sandbox/control/reset", timeout=30)
    else:
        servers = request.getfixturevalue("filled_servers")
        assert servers is not None
        servers.redis.client.flushall()
        servers.postgresql.drop("attacked")
        url = servers.postgresql.create("attacked", like="filled")
        changes = {**changes, "database_url": url, "redis_url": servers.redis.url}
    made = create_app(
        make_settings(sandbox_server.url, folder, **{**RECEIVERS, **changes}), clock=clock
    )
    made.jinja_env.bytecode_cache = request.getfixturevalue("compiled")
    limiter.enabled = False
    yield made
    close_store(made)
    if servers is not None:
        servers.postgresql.drop("attacked")


@pytest.fixture
def rate_limited(app: Flask) -> Iterator[None]:
    """Switch the limits on attempts on, with all counters at zero."""
    limiter.enabled = True
    with app.app_context():
        limiter.reset()
    yield
    limiter.enabled = False


@pytest.fixture(scope="module")
def route_requests(app: Flask) -> RouteRequests:
    return RouteRequests(app)


@pytest.fixture
def stubbed_views(app: Flask) -> Iterator[None]:
    """Replace every view but sign-in: only the access checks remain."""
    views = dict(app.view_functions)
    for endpoint, view in views.items():
        if endpoint not in {"static", "people.login", "people.me"}:
            app.view_functions[endpoint] = _stub(view)
    yield
    app.view_functions.update(views)


def _stub(view: Any) -> Callable[..., str]:
    def stub(**_: Any) -> str:
        return "opened"

    stub.__dict__.update(view.__dict__)
    return stub
