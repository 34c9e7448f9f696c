"""The command ``refresh``."""

import json
import sys

import click

from dashboard.cli.common import make_current_app
from dashboard.context import Services
from dashboard.fleet import queries
from dashboard.refresh import service as fleet


@click.command()
@click.option("--account", type=int, help="Only the account with this id of Peliqan's.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON, and no progress bar.")
def refresh(account: int | None, as_json: bool) -> None:
    """Refresh the fleet once.

    Exit code 0: all accounts read; 1: some are unreadable; 2: none could be read.
    """
    app = make_current_app()
    current: Services = app.extensions["services"]
    with (
        app.app_context(),
        click.progressbar(
            length=1, label="Reading accounts", file=sys.stderr, hidden=as_json
        ) as bar,
    ):

        def progress(done: int, accounts: int) -> None:
            bar.length = max(accounts, 1)
            bar.update(done - bar.pos)

        fleet.tune_interpreter()
        if account is None:
            result = fleet.refresh_fleet(current, progress=progress)
        elif queries.account_or_none(account) is None:
            raise click.ClickException(
                f"The console does not know the account {account}. Run a full refresh first."
            )
        else:
            result = fleet.refresh_account(current, account)
    nothing = result.error is not None or (
        result.accounts > 0 and len(result.unreadable) == result.accounts
    )
    if as_json:
        unreadable = {str(key): reason for key, reason in result.unreadable.items()}
        click.echo(
            json.dumps(
                {"accounts": result.accounts, "unreadable": unreadable, "error": result.error}
            )
        )
    else:
        click.echo(
            result.error
            or f"{result.accounts - len(result.unreadable)} of {result.accounts} accounts read."
        )
        for account_id, reason in result.unreadable.items():
            click.echo(f"  {account_id}: {reason}")
    sys.exit(2 if nothing else 1 if result.unreadable else 0)
