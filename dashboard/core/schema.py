"""The schema's version, and bringing a database to it. Alembic is loaded for that alone: it costs a process eleven megabytes."""

from pathlib import Path

from flask import current_app
from sqlalchemy import inspect, text

from dashboard.core.database import db

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def newest_version() -> str:
    """The last migration's number: their files are numbered in the order in which they are applied."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def needs_upgrade() -> bool:
    """True when the newest migration has not been applied.

    One that is newer than this version will do: migrations run while the version before still serves, and add only (see
    docs/operations.md).
    """
    return current_version() < newest_version()


def is_newer() -> bool:
    """Whether the store has migrations that this version does not know: it was a newer version's, and this one serves it too."""
    return current_version() > newest_version()


def current_version() -> str:
    """The number of the last migration that was applied; empty where none was."""
    with db.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def upgrade(version: str = "head", patience: str = "10s") -> None:
    """Apply the migrations that have not been applied, up to one; none to a store that ``is_newer``.

    ``patience``: how long each waits for a table, in PostgreSQL.

    A change of a table that waits for somebody's long transaction makes everybody else wait behind it: it gives up instead.
    """
    if is_newer():
        return
    import flask_migrate

    flask_migrate.Migrate(
        current_app, db, directory=str(MIGRATIONS), render_as_batch=True, lock_timeout=patience
    )
    flask_migrate.upgrade(revision=version)
