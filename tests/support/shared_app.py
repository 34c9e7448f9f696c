"""One console for all tests of a process: each test gets it with a store and services of its own.

Routes, templates and SQL statements are compiled once instead of once a test, which takes 0.1 to
0.4 seconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import event, make_url

from dashboard.app import create_app, flask_config, set_middleware, set_services
from dashboard.core.database import db
from dashboard.settings import Settings
from dashboard.web.security import limiter
from tests.support.clock import Clock


class SharedApp:
    """An application that is lent to one test at a time."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.app.config["RATELIMIT_ENABLED"] = False
        # What tests change, each with its content at the start.
        self.changed: list[tuple[dict[Any, Any], dict[Any, Any]]] = [
            (each, dict(each))
            for each in (
                self.app.config,
                self.app.extensions,
                self.app.view_functions,
                self.app.jinja_env.globals,
            )
        ]
        with self.app.app_context():
            self.engine = db.engine
        event.listen(self.engine, "do_connect", self._connect)

    def _connect(self, _dialect: object, _record: object, args: list[str], _: object) -> None:
        """Open the SQLite file of the test."""
        if self.engine.dialect.name == "sqlite":
            args[0] = str(self.engine.url.database)

    @contextmanager
    def lend(self, settings: Settings, clock: Clock) -> Iterator[Flask]:
        """Yield the application with the store of ``settings`` and new services."""
        limiter.enabled = False
        self._restore()
        self.app.config.update(flask_config(settings))
        self.engine.url = make_url(settings.store_url)
        with self.app.app_context():
            set_services(self.app, settings, clock)
        set_middleware(self.app, settings)
        yield self.app
        self._restore()
        with self.app.app_context():
            db.session.remove()
            self.engine.dispose()

    def _restore(self) -> None:
        """Undo what the last test changed."""
        for current, original in self.changed:
            current.clear()
            current.update(original)
