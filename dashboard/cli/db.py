"""The command ``db``: schema upgrades."""

import click
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from dashboard.cli.common import make_app, upgrade_schema
from dashboard.core import schema


@click.group("db")
def database() -> None:
    """Manage the database schema."""


@database.command("upgrade")
def upgrade_database() -> None:
    """Upgrade the schema to this version's. A newer version's schema is kept, and works too."""
    app = make_app()
    try:
        upgrade_schema(app)
        with app.app_context():
            found, ours = schema.current_version(), schema.newest_version()
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            sentence = (
                "Something else holds a table for more than ten seconds. Nothing was changed:"
                " try again."
            )
            raise click.ClickException(sentence) from None
        raise
    if found > ours:
        click.echo(
            f"The database is a newer version's (schema {found};"
            f" this version's is {ours}) and stays so: this one runs on it."
        )
    else:
        click.echo("The database is up to date.")
