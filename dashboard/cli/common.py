"""What commands share: the app from the settings, or one sentence and an exit code."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import click
from flask import Flask
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from dashboard.app import create_app
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.core.redaction import scrubbed
from dashboard.core.schema import current_version, needs_upgrade, newest_version, upgrade
from dashboard.findings.playbook import PlaybookError
from dashboard.fleet.counters import repair_texts
from dashboard.masking.rules import MasksError
from dashboard.monitoring import queries as service_status
from dashboard.settings import Settings, SettingsError, read_settings
from dashboard.telemetry import logs, outages, sentry, tracing

log = logging.getLogger(__name__)
MOUNTS = Path("/proc/mounts")
NETWORKED = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "lustre",
    "afs",
    "9p",
}


def make_app(*, pages: bool = False) -> Flask:
    """The console from the environment, with its ``pages`` where a command needs them; ends the process with every wrong setting,
    or file of playbook or masks, named."""
    try:
        return create_app(read_settings(), pages=pages)
    except (SettingsError, PlaybookError, MasksError) as error:
        _refuse(str(error))


def make_current_app(*, pages: bool = False) -> Flask:
    """The same, refusing to run without its database or Redis, on an older schema, or on a file shared by machines."""
    try:
        return _current(make_app(pages=pages))
    except _CannotRun as refusal:
        _refuse(str(refusal))


def make_current_app_anew() -> Flask | None:
    """The same for a console that runs; None, and why in the log, where it cannot be made: the one there is goes on."""
    try:
        settings = read_settings()
        app = _current(create_app(settings))
    except (SettingsError, PlaybookError, MasksError, _CannotRun) as refusal:
        log.error("Everything stays as it was: %s", refusal)
        return None
    logs.configure_logging(settings.dashboard_log_level, sys.stderr, _outages(app))
    return app


def configure_logging(app: Flask) -> None:
    """Lines of JSON from now on, and Sentry and OpenTelemetry where the environment asks for them."""
    parts: Services = app.extensions["services"]
    try:
        sentry.begin(os.environ)
        tracing.begin(os.environ)
    except tracing.Missing as missing:
        _refuse(str(missing))
    logs.configure_logging(parts.settings.dashboard_log_level, sys.stderr, _outages(app))
    for name in parts.settings.unknown:
        log.warning("%s: this version has no such setting, and goes on without it.", name)


def _outages(app: Flask) -> outages.Outages:
    """What says once in the log that the database or Redis is away."""
    parts: Services = app.extensions["services"]

    def ask_database() -> None:
        with app.app_context(), db.engine.connect() as connection:
            connection.execute(select(1))

    return outages.Outages({outages.DATABASE: ask_database, outages.REDIS: parts.queues.waiting})


class _CannotRun(Exception):
    """Something that the console stands on is away, or older; one sentence."""


def _current(app: Flask) -> Flask:
    parts: Services = app.extensions["services"]
    problems = {
        "The database": store_problem(app),
        "Redis": queue_problem(parts.settings.redis_url),
        "DASHBOARD_DATA": sharing_problem(parts.settings),
    }
    close_store(app)
    for name, problem in problems.items():
        if problem is not None:
            raise _CannotRun(f"{name} {problem}.")
    return app


def store_problem(app: Flask) -> str | None:
    """What is wrong with the database, in words that follow its name."""
    with app.app_context():
        try:
            if needs_upgrade():
                return "has an older schema than this version: run dashboard db upgrade"
        except SQLAlchemyError as error:
            return f"does not answer ({own_words(error)}): check DATABASE_URL"
        try:
            service_status.ensure_writable(app.extensions["services"].clock())
        except SQLAlchemyError as error:
            return f"cannot be written to ({own_words(error)}): make room on its disk, or lift what makes it read-only"
    return None


def queue_problem(redis_url: str) -> str | None:
    """What is wrong with Redis, where there is one."""
    if not redis_url:
        return None
    try:
        with Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
            client.set("console.written", "1", ex=60)
    except ResponseError as error:
        return (
            f"takes no value ({own_words(error)}): give it more memory, or let it write to its disk"
        )
    except (RedisError, ValueError) as error:
        return f"does not answer ({own_words(error)}): check REDIS_URL"
    return None


def own_words(error: Exception) -> str:
    """What a database or Redis says, in its first line, without secrets: a wrong password, name, host and port differ there."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return scrubbed(lines[0])[:300] if lines else type(cause).__name__


def sharing_problem(settings: Settings, mounts: Path = MOUNTS) -> str | None:
    """Why SQLite cannot work where the data folder is. ``mounts``: a table of what is mounted where, as Linux has it.

    SQLite's write-ahead log is memory shared between processes of one machine (https://www.sqlite.org/wal.html): on a network
    file system a second machine would not see it, and both would damage the file.
    """
    if not settings.store_url.startswith("sqlite") or not mounts.exists():
        return None
    folder = Path(settings.store_url.removeprefix("sqlite:///")).resolve().parent
    places = {
        Path(where): kind for _, where, kind, *_ in map(str.split, mounts.read_text().splitlines())
    }
    kind = next((places[place] for place in (folder, *folder.parents) if place in places), "")
    if kind not in NETWORKED:
        return None
    return (
        f"lies on a network file system ({kind}), where SQLite cannot be shared between machines:"
        " choose a local folder, or set DATABASE_URL to a PostgreSQL database"
    )


def close_store(app: Flask) -> None:
    """Close the connections that this process opened: a fork must not share them with its parent."""
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def upgrade_schema(app: Flask) -> None:
    """Apply the migrations that are missing, then fill the folded texts in small steps: older versions serve meanwhile.

    A store that a newer version upgraded stays as it is.
    """
    with app.app_context():
        upgrade()
        if current_version() == newest_version():
            repair_texts()


def _refuse(sentence: str) -> NoReturn:
    click.echo(sentence, err=True)
    sys.exit(2)
