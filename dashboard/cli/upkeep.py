"""Commands for upkeep: one pass, people, the schema, and what is wrong with the settings."""

import json
import sys
from collections.abc import Callable
from datetime import datetime

import click
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from dashboard import peliqan
from dashboard.app import Console, utc_now
from dashboard.cli.shared import make_app, make_current_app, queue_problem, sharing_problem, store_problem, upgrade_schema
from dashboard.fleet import refresh as fleet
from dashboard.fleet.hook import NONE
from dashboard.fleet.queue import MINUTE
from dashboard.store import audit, due, people, snapshot
from dashboard.store.database import db
from dashboard.store.models import User

WHO = "command line"


@click.command()
@click.option("--account", type=int, help="Only the account with this id of Peliqan's.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON, and no progress bar.")
def refresh(account: int | None, as_json: bool) -> None:
    """One pass over the fleet. Exit code 0: all read; 1: some accounts unreadable; 2: nothing could be read."""
    app = make_current_app()
    parts: Console = app.extensions["console"]
    with app.app_context(), click.progressbar(length=1, label="Reading accounts", file=sys.stderr, hidden=as_json) as bar:

        def progress(done: int, accounts: int) -> None:
            bar.length = max(accounts, 1)
            bar.update(done - bar.pos)

        fleet.let_threads_take_turns()
        if account is None:
            result = fleet.refresh_fleet(parts.fleet, progress=progress)
        elif snapshot.account_or_none(account) is None:
            raise click.ClickException(f"The console does not know the account {account}. Run a full pass first.")
        else:
            result = fleet.refresh_account(parts.fleet, account)
    nothing = result.error is not None or (result.accounts > 0 and len(result.unreadable) == result.accounts)
    if as_json:
        unreadable = {str(key): reason for key, reason in result.unreadable.items()}
        click.echo(json.dumps({"accounts": result.accounts, "unreadable": unreadable, "error": result.error}))
    else:
        click.echo(result.error or f"{result.accounts - len(result.unreadable)} of {result.accounts} accounts read.")
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
def create_user(email: str, role: str, password_stdin: bool) -> None:
    """Add a person."""
    password = _password(password_stdin)
    with make_current_app().app_context():
        try:
            user = people.create_user(email, role, password, utc_now())
        except people.PeopleError as error:
            raise click.ClickException(str(error)) from None
        audit.record(utc_now(), WHO, "create_user", audit.DONE, detail=f"{user.email} as {role}")
        click.echo(f"{user.email} can sign in as {role}.")


@users.command("list")
def list_users() -> None:
    """Everybody, a line each."""
    with make_current_app().app_context():
        for user in db.session.scalars(select(User).order_by(User.email)):
            click.echo("\t".join([user.email, user.role, *(["disabled"] if user.disabled_at else [])]))


@users.command("disable")
@click.argument("email")
def disable_user(email: str) -> None:
    """Shut a person out, now."""
    with make_current_app().app_context():
        people.disable(_user(email), utc_now())
        audit.record(utc_now(), WHO, "change_user", audit.DONE, detail=f"{email}: disable")
        click.echo(f"{email} is shut out.")


@users.command("set-password")
@click.argument("email")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def set_password(email: str, password_stdin: bool) -> None:
    """Give a person a new password; it ends their sessions."""
    password = _password(password_stdin)
    with make_current_app().app_context():
        try:
            people.set_password(_user(email), password, utc_now())
        except people.PeopleError as error:
            raise click.ClickException(str(error)) from None
        audit.record(utc_now(), WHO, "change_user", audit.DONE, detail=f"{email}: set-password")
        click.echo(f"{email} has a new password.")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


def _user(email: str) -> User:
    user = people.find_user(email)
    if user is None:
        raise click.ClickException(f"There is no user {email}.")
    return user


@click.group("db")
def database() -> None:
    """The store's schema."""


@database.command("upgrade")
def upgrade_database() -> None:
    """Bring it to this version's."""
    try:
        upgrade_schema(make_app())
    except OperationalError as error:
        raise click.ClickException(f"The database does not answer ({type(error.orig).__name__}): check DATABASE_URL.") from None
    click.echo("The database is up to date.")


@click.command()
@click.argument("what", nargs=-1, type=click.Choice(["database", "API", "Redis", "hook", "worker"], case_sensitive=False))
def check(what: tuple[str, ...]) -> None:
    """Says in plain words what is wrong: with the settings, and WHAT is named, or all but the worker, who may not have begun."""
    app = make_app()
    parts: Console = app.extensions["console"]
    click.echo("settings  fine")
    click.echo("playbook  fine")
    checks: dict[str, Callable[[], str | None]] = {
        "database": lambda: store_problem(app) or sharing_problem(parts.settings),
        "API": lambda: _api_problem(app, parts.api),
        "Redis": lambda: queue_problem(parts.settings.redis_url),
        "hook": lambda: NONE if parts.work.hook is None else parts.work.hook.problem(),
        "worker": lambda: _worker_problem(app, parts.clock()),
    }
    usual = ("database", "API", "Redis", *(["hook"] if parts.work.hook is not None else []))
    problems = {name: problem() for name, problem in checks.items() if name in (what or usual)}
    for name, problem in problems.items():
        click.echo(f"{name:<9} {problem or 'fine'}")
    sys.exit(1 if any(problems.values()) else 0)


def _worker_problem(app: Flask, at: datetime) -> str | None:
    with app.app_context():
        try:
            last = due.last_taken("tick", MINUTE)
        except SQLAlchemyError:
            return "cannot be told without the database"
    if last is None:
        return "has not begun yet: start one with dashboard worker"
    return (
        f"has done nothing since {last:%d %B %Y, %H:%M UTC}: start one with dashboard worker" if at - last > 3 * MINUTE else None
    )


def _api_problem(app: Flask, api: peliqan.Peliqan) -> str | None:
    try:
        with app.app_context():
            if api.breaker.outage is not None:
                # Somebody wants to know: it is asked though it is known not to answer.
                api.answers_again()
            api.account_page(1, 1)
    except peliqan.PeliqanError as error:
        return f"{error.explained} {error.next_step}"
    return None
