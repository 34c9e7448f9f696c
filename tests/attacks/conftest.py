"""One console for all tests of a file: what is attacked here must stand whatever was done to it before."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from jinja2 import FileSystemBytecodeCache

from dashboard.app import create_app
from dashboard.store.database import db
from dashboard.views.security import limiter
from tests.attacks.places import Places
from tests.conftest import Clock, Sandbox, make_settings
from tests.engines import Servers


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> str:
    """SQLite, unless a file says otherwise."""
    return str(getattr(request, "param", "embedded"))


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacked")


@pytest.fixture(scope="module")
def changes() -> dict[str, Any]:
    """Settings other than those of other tests."""
    return {}


@pytest.fixture(scope="module")
def app(
    engine: str,
    changes: dict[str, Any],
    folder: Path,
    clock: Clock,
    sandbox_server: Sandbox,
    compiled: FileSystemBytecodeCache,
    request: pytest.FixtureRequest,
) -> Iterator[Flask]:
    """A console over the fleet that is known from other tests."""
    requests.post(f"{sandbox_server.url}/sandbox/control/reset", timeout=5)
    servers: Servers | None = None
    if engine == "embedded":
        shutil.copy(request.getfixturevalue("filled") / "console.db", folder / "console.db")
    else:
        servers = request.getfixturevalue("filled_servers")
        assert servers is not None
        servers.redis.client.flushall()
        servers.postgresql.drop("attacked")
        url = servers.postgresql.create("attacked", like="filled")
        changes = {**changes, "database_url": url, "redis_url": servers.redis.url}
    made = create_app(make_settings(sandbox_server.url, folder, **changes), clock=clock)
    made.jinja_env.bytecode_cache = compiled
    limiter.enabled = False
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()
    if servers is not None:
        servers.postgresql.drop("attacked")


@pytest.fixture
def limited(app: Flask) -> Iterator[None]:
    """With the limits on attempts, and none counted yet."""
    limiter.enabled = True
    with app.app_context():
        limiter.reset()
    yield
    limiter.enabled = False


@pytest.fixture(scope="module")
def places(app: Flask) -> Places:
    return Places(app)
