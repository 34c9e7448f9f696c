"""Whether the database's schema is this version's."""

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app

from dashboard.store.database import db


def needs_upgrade() -> bool:
    """True when the newest migration has not been applied."""
    config: Config = current_app.extensions["migrate"].migrate.get_config()
    head = ScriptDirectory.from_config(config).get_current_head()
    with db.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() != head
