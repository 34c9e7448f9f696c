"""A console over its own store, and a signed-in session."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from bs4 import BeautifulSoup
from flask import Flask

from bench.fleet import EMAIL, PASSWORD
from dashboard.app import create_app
from dashboard.cli.common import upgrade_schema
from dashboard.settings import read_settings
from tests.support.databases import Servers
from tests.support.processes import Processes, make_environ

UNUSED_ADDRESS = "http://127.0.0.1:1"


class Site(Processes):
    """A new store with its settings: an ``app`` to fill it, processes to serve it."""

    def __init__(self, folder: Path, api_url: str, **settings: object) -> None:
        super().__init__(make_environ(api_url, folder, **settings))
        self.app = self.make_app()
        upgrade_schema(self.app)

    def make_app(self, **settings: object) -> Flask:
        """Return another console over the same store, with other settings."""
        other = {name.upper(): str(value) for name, value in settings.items()}
        return create_app(read_settings({**self.environ, **other}, Path(os.devnull)))


@contextmanager
def site(
    servers: Servers | None = None, api_url: str = UNUSED_ADDRESS, **settings: object
) -> Iterator[Site]:
    """Make a new store, on SQLite or on these servers; remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="console-bench-") as folder:
        name = Path(folder).name
        urls = (
            {"database_url": servers.postgresql.create(name), "redis_url": servers.redis.url}
            if servers is not None
            else {}
        )
        made = Site(Path(folder), api_url, **urls, **settings)
        try:
            yield made
        finally:
            made.end_all()
            if servers is not None:
                servers.postgresql.drop(name)


def sign_in(url: str) -> requests.Session:
    """Return a session of the only user."""
    session = requests.Session()
    page = BeautifulSoup(session.get(f"{url}/login", timeout=30).text, "html.parser")
    field = page.select_one("input[name=csrf_token]")
    assert field is not None
    form = {"email": EMAIL, "password": PASSWORD, "csrf_token": field["value"]}
    response = session.post(f"{url}/login", data=form, timeout=30, allow_redirects=False)
    assert response.status_code == 302, response.text[:500]
    return session


def seconds(session: requests.Session, url: str) -> float:
    """Return the seconds of a page, to its last byte."""
    began = time.perf_counter()
    response = session.get(url, timeout=60)
    took = time.perf_counter() - began
    assert response.status_code == 200, f"{url}: {response.status_code}"
    return took
