"""The commands ``refresh``, ``users`` and ``db``."""

import json
import sys

import click
from psycopg.errors import LockNotAvailable
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from dashboard.audit import service as audit
from dashboard.cli.common import make_app, make_current_app, upgrade_schema
from dashboard.context import Services, utc_now
from dashboard.core import schema
from dashboard.core.database import db
from dashboard.fleet import queries
from dashboard.refresh import service as fleet
from dashboard.users import passwords, two_factor
from dashboard.users import service as people
from dashboard.users.errors import PeopleError
from dashboard.users.models import User

WHO = "command line"
own_password = click.option(
    "--own-password",
    is_flag=True,
    help="The user chose the password, and need not choose another at sign-in.",
)


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


@click.group()
def users() -> None:
    """Manage users."""


@users.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(people.ROLES), required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@own_password
def create_user(email: str, role: str, password_stdin: bool, own_password: bool) -> None:
    """Create a user, who has to choose a new password at the first sign-in."""
    password = _password(password_stdin)
    with make_current_app().app_context():
        try:
            user = people.create_user(email, role, password, utc_now(), given=not own_password)
        except PeopleError as error:
            raise click.ClickException(str(error)) from None
        audit.record(utc_now(), WHO, "create_user", audit.DONE, detail=f"{user.email} as {role}")
        click.echo(f"{user.email} can sign in as {role}.")


@users.command("list")
def list_users() -> None:
    """List all users."""
    with make_current_app().app_context():
        for user in db.session.scalars(select(User).order_by(User.email_folded, User.id)):
            marks = [
                user.issuer or "",
                f"handed over to {user.handed_to}" if user.handed_to else "",
                "some customers" if user.sees_some else "",
                "password to be changed" if user.password_given else "",
                "disabled" if user.disabled_at else "",
            ]
            click.echo("\t".join([user.email, user.role, *filter(None, marks)]))


@users.command("disable")
@click.argument("email")
def disable_user(email: str) -> None:
    """Disable a user and end their sessions."""
    with make_current_app().app_context():
        user = get_user(email)
        people.disable(user, utc_now())
        audit.record(utc_now(), WHO, "change_user", audit.DONE, detail=f"{user.email}: disable")
        click.echo(f"{user.email} is shut out.")


@users.command("set-password")
@click.argument("email")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@own_password
def set_password(email: str, password_stdin: bool, own_password: bool) -> None:
    """Set a new password, which the user must change at sign-in, and end their sessions."""
    password = _password(password_stdin)
    with make_current_app().app_context():
        user = get_user(email)
        try:
            passwords.set_password(user, password, utc_now(), given=not own_password)
        except PeopleError as error:
            raise click.ClickException(str(error)) from None
        audit.record(
            utc_now(), WHO, "change_user", audit.DONE, detail=f"{user.email}: set-password"
        )
        click.echo(f"{user.email} has a new password.")


@users.command("remove-second-factor")
@click.argument("email")
def remove_second_factor(email: str) -> None:
    """Remove the second factor of a user who lost telephone and recovery codes."""
    with make_current_app().app_context():
        user = get_user(email)
        two_factor.switch_off(user)
        audit.record(utc_now(), WHO, "second_factor_off", audit.DONE, detail=user.email)
        click.echo(f"{user.email} signs in with their password alone.")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


def get_user(email: str) -> User:
    """Return the user with this address; ends the command if there is none."""
    user = people.find_user(email)
    if user is None:
        raise click.ClickException(f"There is no user {email}.")
    return user


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
