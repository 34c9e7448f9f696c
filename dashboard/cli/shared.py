"""What commands share: the app from the settings, or one sentence and an exit code."""

import sys

import click
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy.exc import SQLAlchemyError

from dashboard.app import create_app
from dashboard.settings import SettingsError, read_settings
from dashboard.store.database import db
from dashboard.store.schema import needs_upgrade


def make_app() -> Flask:
    """The console from the environment; ends the process with every wrong setting named."""
    try:
        return create_app(read_settings())
    except SettingsError as error:
        click.echo(error, err=True)
        sys.exit(2)


def make_current_app() -> Flask:
    """The same, refusing to run on an older schema."""
    app = make_app()
    with app.app_context():
        try:
            old = needs_upgrade()
        except SQLAlchemyError as error:
            click.echo(f"The database does not answer: {type(error.__cause__ or error).__name__}. Check DATABASE_URL.", err=True)
            sys.exit(2)
    close_store(app)
    if old:
        click.echo("The database has an older schema than this version. Run: dashboard db upgrade", err=True)
        sys.exit(2)
    return app


def close_store(app: Flask) -> None:
    """Close the connections that this process opened: a fork must not share them with its parent."""
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def upgrade_schema(app: Flask) -> None:
    """Bring the database to this version's schema."""
    with app.app_context():
        upgrade()
