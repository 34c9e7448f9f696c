"""The version of the database schema, and upgrades.

Alembic is imported only for an upgrade: it takes 11 MB of memory in a process.
"""

from pathlib import Path

from flask import current_app
from sqlalchemy import inspect, text

from dashboard.core.database import db

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def newest_version() -> str:
    """Return the number of the newest migration. Migrations are numbered in order."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def needs_upgrade() -> bool:
    """Return whether the newest migration has not been applied.

    A newer schema is fine: migrations only add, so that the previous version can serve while they
    run (see docs/operations.md).
    """
    return current_version() < newest_version()


def is_newer() -> bool:
    """Return whether the schema is newer than this version, which can serve it all the same."""
    return current_version() > newest_version()


def current_version() -> str:
    """Return the number of the last applied migration; empty if none was applied."""
    with db.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def upgrade(version: str = "head", patience: str = "10s") -> None:
    """Apply missing migrations up to ``version``; none if the schema ``is_newer``.

    ``patience``: how long a migration waits for a lock of a table in PostgreSQL, as "10s". Then
    it fails, since a waiting change of a table blocks all other users of that table.
    """
    if is_newer():
        return
    import flask_migrate

    flask_migrate.Migrate(
        current_app, db, directory=str(MIGRATIONS), render_as_batch=True, lock_timeout=patience
    )
    flask_migrate.upgrade(revision=version)
