"""Commands for upkeep: one pass, people, the schema."""

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
from dashboard.users import service as people
from dashboard.users import two_factor
from dashboard.users.models import User

WHO = "command line"
own_password = click.option(
    "--own-password",
    is_flag=True,
    help="They chose it themselves, and need not choose another when they sign in.",
)


@click.command()
@click.option("--account", type=int, help="Only the account with this id of Peliqan's.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON, and no progress bar.")
def refresh(account: int | None, as_json: bool) -> None:
    """One pass over the fleet. Exit code 0: all read; 1: some accounts unreadable; 2: nothing could be read."""
    app = make_current_app()
    parts: Services = app.extensions["services"]
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
            result = fleet.refresh_fleet(parts, progress=progress)
        elif queries.account_or_none(account) is None:
            raise click.ClickException(
                f"The console does not know the account {account}. Run a full pass first."
            )
        else:
            result = fleet.refresh_account(parts, account)
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
    """People."""


@users.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(people.ROLES), required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@own_password
def create_user(email: str, role: str, password_stdin: bool, own_password: bool) -> None:
    """Add a person; when they first sign in they have to choose a password of their own."""
    password = _password(password_stdin)
    with make_current_app().app_context():
        try:
            user = people.create_user(email, role, password, utc_now(), given=not own_password)
        except people.PeopleError as error:
            raise click.ClickException(str(error)) from None
        audit.record(utc_now(), WHO, "create_user", audit.DONE, detail=f"{user.email} as {role}")
        click.echo(f"{user.email} can sign in as {role}.")


@users.command("list")
def list_users() -> None:
    """Everybody, a line each."""
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
    """Shut a person out, now."""
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
    """Give a person a new password, to be changed when they sign in; it ends their sessions."""
    password = _password(password_stdin)
    with make_current_app().app_context():
        user = get_user(email)
        try:
            people.set_password(user, password, utc_now(), given=not own_password)
        except people.PeopleError as error:
            raise click.ClickException(str(error)) from None
        audit.record(
            utc_now(), WHO, "change_user", audit.DONE, detail=f"{user.email}: set-password"
        )
        click.echo(f"{user.email} has a new password.")


@users.command("remove-second-factor")
@click.argument("email")
def remove_second_factor(email: str) -> None:
    """For an administrator who has lost telephone and recovery codes: the password alone signs them in again."""
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
    """The person with this address; ends the command where there is none."""
    user = people.find_user(email)
    if user is None:
        raise click.ClickException(f"There is no user {email}.")
    return user


@click.group("db")
def database() -> None:
    """The store's schema."""


@database.command("upgrade")
def upgrade_database() -> None:
    """Bring it to this version's. A store of a newer version stays as it is: this version runs on it too."""
    app = make_app()
    try:
        upgrade_schema(app)
        with app.app_context():
            found, ours = schema.current_version(), schema.newest_version()
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            sentence = "Something else holds a table for more than ten seconds. Nothing was changed: try again."
            raise click.ClickException(sentence) from None
        raise
    if found > ours:
        click.echo(
            f"The database is a newer version's (schema {found}; this version's is {ours}) and stays so: this one runs on it."
        )
    else:
        click.echo("The database is up to date.")
