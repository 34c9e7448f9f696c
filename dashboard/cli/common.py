"""Helpers of all commands: make the app from the environment, or end with a message."""

import logging
import os
import sys
from typing import NoReturn

import click
from flask import Flask
from sqlalchemy import select

from dashboard.app import create_app
from dashboard.cli.store_checks import queue_problem, sharing_problem, store_problem
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.core.schema import current_version, newest_version, upgrade
from dashboard.findings.playbook import PlaybookError
from dashboard.fleet.counters import repair_texts
from dashboard.masking.rule_file import MasksError
from dashboard.settings import SettingsError, read_settings
from dashboard.telemetry import logs, outage_log, sentry, tracing

log = logging.getLogger(__name__)


def make_app(*, pages: bool = False) -> Flask:
    """Make the app from the environment; ``pages``: with its views.

    Ends the process with a message that names every invalid setting or file.
    """
    try:
        return create_app(read_settings(), pages=pages)
    except (SettingsError, PlaybookError, MasksError) as error:
        _refuse(str(error))


def make_current_app(*, pages: bool = False) -> Flask:
    """Make the app, and check that it can run.

    Ends the process if the database or Redis does not answer, the schema is older, or SQLite lies
    on a network file system.
    """
    try:
        return _ensure_runnable(make_app(pages=pages))
    except _CannotRun as refusal:
        _refuse(str(refusal))


def make_app_for_reload() -> Flask | None:
    """Make the app again for a running console; None, with an error logged, if it cannot run."""
    try:
        settings = read_settings()
        app = _ensure_runnable(create_app(settings))
    except (SettingsError, PlaybookError, MasksError, _CannotRun) as refusal:
        log.error("Everything stays as it was: %s", refusal)
        return None
    logs.configure_logging(settings.dashboard_log_level, sys.stderr, _outages(app))
    return app


def configure_logging(app: Flask) -> None:
    """Start JSON logging, and Sentry and OpenTelemetry if the environment turns them on."""
    current: Services = app.extensions["services"]
    try:
        sentry.begin(os.environ)
        tracing.begin(os.environ)
    except tracing.Missing as missing:
        _refuse(str(missing))
    logs.configure_logging(current.settings.dashboard_log_level, sys.stderr, _outages(app))
    for name in current.settings.unknown:
        log.warning("%s: this version has no such setting, and goes on without it.", name)


def _outages(app: Flask) -> outage_log.Outages:
    """Return the log filter that reports outages of the database and Redis once."""
    current: Services = app.extensions["services"]

    def probe_database() -> None:
        with app.app_context(), db.engine.connect() as connection:
            connection.execute(select(1))

    return outage_log.Outages(
        {outage_log.DATABASE: probe_database, outage_log.REDIS: current.queues.waiting}
    )


class _CannotRun(Exception):
    """Something that the console needs does not answer or is outdated; the text says what."""


def _ensure_runnable(app: Flask) -> Flask:
    current: Services = app.extensions["services"]
    problems = {
        "The database": store_problem(app),
        "Redis": queue_problem(current.settings.redis_url),
        "DASHBOARD_DATA": sharing_problem(current.settings),
    }
    close_store(app)
    for name, problem in problems.items():
        if problem is not None:
            raise _CannotRun(f"{name} {problem}.")
    return app


def close_store(app: Flask) -> None:
    """Close this process's database connections, which a fork must not share with its parent."""
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def upgrade_schema(app: Flask) -> None:
    """Apply missing migrations, then fill the folded texts in small steps. Commits.

    Small steps, since older versions serve meanwhile. A database with a newer schema is not
    changed.
    """
    with app.app_context():
        upgrade()
        if current_version() == newest_version():
            repair_texts()


def _refuse(sentence: str) -> NoReturn:
    click.echo(sentence, err=True)
    sys.exit(2)
