"""The commands ``backup`` and ``restore``."""

from pathlib import Path

import click

from dashboard.audit import service as audit
from dashboard.cli.common import close_store, make_app
from dashboard.cli.users import WHO
from dashboard.context import Services, utc_now
from dashboard.core import backup as store_backup
from dashboard.core.schema import needs_upgrade
from dashboard.monitoring import queries as service_status
from dashboard.tasks import processes

FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.command()
@FILE
def backup(file: Path) -> None:
    """Write the database to FILE, while everything runs. It does not contain SECRET_KEY.

    A database with an older version's schema gets no entry in its audit log: such a backup is made
    before an upgrade.
    """
    app = make_app()
    current: Services = app.extensions["services"]
    with app.app_context():
        is_older = needs_upgrade()
        # Recorded before any data leaves the console.
        entry = (
            None
            if is_older
            else audit.record(utc_now(), WHO, "backup", audit.PENDING, detail=f"To {file.name}.")
        )
        problem = ""
        try:
            made = store_backup.write(current.settings, file, utc_now())
        except store_backup.BackupError as error:
            problem = str(error)
        if entry is not None:
            audit.complete(entry.id, audit.FAILED if problem else audit.DONE, problem, utc_now())
            if not problem:
                service_status.backup_made(utc_now())
            audit.commit()
        if problem:
            raise click.ClickException(problem)
    size = file.stat().st_size / (1 << 20)
    facts = f"{made.engine}, schema {made.schema}, {size:.1f} MB"
    click.echo(f"{file} has the store as of {made.at} ({facts}).")
    if is_older:
        click.echo("The audit trail does not have it: the schema is an older version's.")


@click.command()
@FILE
@click.option(
    "--replace", is_flag=True, help="Also if the database is not empty: its content is lost."
)
def restore(file: Path, replace: bool) -> None:
    """Replace the database by the content of FILE. Stop the console and its workers first."""
    app = make_app()
    current: Services = app.extensions["services"]
    with app.app_context():
        if seconds := processes.seconds_in_use(utc_now()):
            raise click.ClickException(
                "The console or a worker uses this store. Nothing was changed:"
                " end all of them, then restore. One that was"
                f" killed counts as running for {seconds} seconds more."
            )
        try:
            made = store_backup.restore(current.settings, file, replace=replace)
        except store_backup.BackupError as error:
            raise click.ClickException(str(error)) from None
        processes.forget()
        older = needs_upgrade()
        if not older:
            audit.record(
                utc_now(), WHO, "restore", audit.DONE, detail=f"From {file.name}, as of {made.at}."
            )
    close_store(app)
    next_step = " Its schema is older: run dashboard db upgrade." if older else ""
    click.echo(f"The store is as of {made.at}.{next_step}")
