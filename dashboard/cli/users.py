"""The command ``users``; ``identity_providers`` adds more of its commands."""

import sys

import click
from sqlalchemy import select

from dashboard.audit import service as audit
from dashboard.cli.common import make_current_app
from dashboard.context import utc_now
from dashboard.core.database import db
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
