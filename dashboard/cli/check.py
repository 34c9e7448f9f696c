"""The command ``check``: settings and services, what is wrong with them, and what to do."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from itertools import compress
from urllib.parse import urlsplit

import click
import requests
from flask import Flask
from humanize import naturaldelta
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from dashboard import peliqan
from dashboard.cli.common import make_app
from dashboard.cli.store_checks import queue_problem, sharing_problem, store_problem
from dashboard.context import Services
from dashboard.core.backup import is_pooled, missing_programs
from dashboard.deliveries.hook import NONE
from dashboard.peliqan.client import LOOPBACK
from dashboard.settings import Settings
from dashboard.tasks import periodic
from dashboard.tasks.queues import MINUTE
from dashboard.telemetry import sentry, tracing
from dashboard.users import issuers

LITTLE_ROOM = 1 << 30
# Codes of a second factor are accepted for 30 seconds before and after their own step.
CLOCK_MAY_DIFFER = timedelta(seconds=60)
USUAL = ("database", "API", "clock", "Redis", "data")
# Checked if configured or named.
SET_UP = ("hook", "provider")


@click.command()
@click.argument(
    "what", nargs=-1, type=click.Choice((*USUAL, *SET_UP, "worker"), case_sensitive=False)
)
def check(what: tuple[str, ...]) -> None:
    """Check the settings and WHAT is named; without WHAT, everything except the worker.

    Prints what is wrong and what to do. Exit code 0: nothing is wrong; 1: a check failed; 2: the
    settings are wrong or missing.
    """
    app = make_app(pages=True)
    current: Services = app.extensions["services"]
    click.echo("settings  fine")
    for line in _settings(current.settings):
        click.echo(f"  {line}")
    click.echo("playbook  fine")
    checks: dict[str, Callable[[], str | None]] = {
        "database": lambda: store_problem(app) or sharing_problem(current.settings),
        "API": lambda: _api_problem(app, current.api),
        "clock": lambda: _clock_problem(current.settings, current.clock()),
        "Redis": lambda: queue_problem(current.settings.redis_url),
        "data": lambda: _data_problem(current.settings),
        "hook": lambda: NONE if current.hook is None else current.hook.problem(),
        "provider": lambda: provider_problem(app),
        "worker": lambda: _worker_problem(app, current.clock()),
    }
    are_set_up = (current.hook is not None, current.settings.dashboard_oidc_issuer is not None)
    usual = (*USUAL, *compress(SET_UP, are_set_up))
    problems = {name: problem() for name, problem in checks.items() if name in (what or usual)}
    for extra, problem in _extras().items():
        problems[extra] = problem
    for name, problem in problems.items():
        click.echo(f"{name:<9} {problem or 'fine'}")
    notes = [
        *_notes(app, current.settings),
        *([] if problems.get("database") else _notes_on_users(app, current.settings)),
    ]
    for note in notes:
        click.echo(f"note      {note}")
    sys.exit(1 if any(problems.values()) else 0)


def _settings(settings: Settings) -> Iterator[str]:
    """Yield a line for each setting that differs from its default; secrets without their value."""
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if name == "paths":
            yield from (f"PELIQAN_PATH_{route.upper()} = {path}" for route, path in value.items())
        elif value != field.default:
            yield f"{name.upper()} = {value}" if field.repr else f"{name.upper()} is set"


def _notes(app: Flask, settings: Settings) -> Iterator[str]:
    """Yield notes on what works, but not as well as it could."""
    for name in settings.unknown:
        yield (
            f"{name}: this version has no such setting, and goes on without it."
            " Is it mistyped, or a newer version's?"
        )
    if not settings.peliqan_webhook_secret:
        yield (
            "PELIQAN_WEBHOOK_SECRET is empty: whoever knows the address can post events."
            " Set it here and at Peliqan."
        )
    if settings.dashboard_insecure_cookies:
        yield (
            "DASHBOARD_INSECURE_COOKIES is on: sessions can be overheard."
            " Unset it where people sign in over https."
        )
    if (
        settings.dashboard_url
        and settings.dashboard_url.startswith("https:")
        and not settings.dashboard_proxies
    ):
        yield (
            "DASHBOARD_PROXIES is 0, and DASHBOARD_URL is https:"
            " behind a proxy, all attempts to sign in count as its own."
            " Set it to the number of proxies in front."
        )
    if not settings.dashboard_url:
        yield (
            "DASHBOARD_URL is empty: alerts have no links. Set it to the address that people open."
        )
    for name, host in _without_tls(settings):
        yield (
            f"{name} leads to {host} without TLS: what is asked and answered can be overheard,"
            " unless the network is your own."
        )
    if missing := missing_programs(settings):
        yield (
            f"{' and '.join(missing)} cannot be found:"
            " dashboard backup and restore need them. Install PostgreSQL's client."
        )
    with app.app_context(), suppress(SQLAlchemyError):
        if is_pooled():
            yield (
                "DATABASE_URL leads through a pooler: backup and restore need the address of the"
                " database server itself."
            )


def _notes_on_users(app: Flask, settings: Settings) -> Iterator[str]:
    """Yield notes on users who cannot sign in at the provider, or have not yet.

    Only the note on the settings if the database does not answer.
    """
    issuer = settings.dashboard_oidc_issuer
    if issuer is not None and issuers.is_microsoft(issuer) and not settings.oidc_domains:
        yield (
            "DASHBOARD_OIDC_DOMAINS is empty, and Entra ID does not send email_verified:"
            " nobody new, or handed over, can sign in"
            " there. Name the domains of your people's addresses."
        )
    try:
        with app.app_context():
            bound, waiting = issuers.bound_elsewhere(issuer), issuers.count_waiting()
    except SQLAlchemyError:
        return
    for elsewhere, count in bound:
        people = f"{count} {'person is' if count == 1 else 'people are'}"
        yield (
            f"{people} bound to {elsewhere}, which is not DASHBOARD_OIDC_ISSUER, and cannot sign"
            " in. If its address changed:"
            f" dashboard users move-issuer {elsewhere} NEW;"
            " otherwise hand them over under Admin, Users."
        )
    if waiting:
        yield (
            "People who are handed over and have not signed in at the provider yet:"
            f" {waiting}. Their passwords still work."
        )


def _without_tls(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield setting and host of servers on other machines whose connection does not require TLS."""
    store, queue = make_url(settings.store_url), urlsplit(settings.redis_url)
    if (
        store.host
        and store.host not in LOOPBACK
        and store.query.get("sslmode") not in {"require", "verify-ca", "verify-full"}
    ):
        yield "DATABASE_URL", store.host
    if queue.hostname and queue.hostname not in LOOPBACK and queue.scheme != "rediss":
        yield "REDIS_URL", queue.hostname


def _extras() -> dict[str, str | None]:
    """Return Sentry and tracing if the environment turns them on, with what is wrong or None."""
    found = {}
    if sentry.wanted(os.environ):
        found["Sentry"] = (
            None
            if find_spec("sentry_sdk")
            else "is not installed: pip install 'partner-console[sentry]'"
        )
    if tracing.wanted(os.environ):
        is_installed = find_spec("opentelemetry") and find_spec("opentelemetry.sdk")
        found["tracing"] = (
            None if is_installed else "is not installed: pip install 'partner-console[tracing]'"
        )
    return found


def _data_problem(settings: Settings) -> str | None:
    folder = settings.dashboard_data
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"cannot be written to: give this user the folder {folder} (DASHBOARD_DATA)"
    free = shutil.disk_usage(folder).free
    if free < LITTLE_ROOM:
        return (
            f"has {free // (1 << 20)} MB left on the disk of {folder}:"
            " make room, or choose another DASHBOARD_DATA"
        )
    return None


def _worker_problem(app: Flask, at: datetime) -> str | None:
    with app.app_context():
        try:
            last = periodic.last_claimed_at("tick", MINUTE)
        except SQLAlchemyError:
            return "cannot be told without the database"
    if last is None:
        return "has not begun yet: start one with dashboard worker"
    return (
        f"has done nothing since {last:%d %B %Y, %H:%M UTC}: start one with dashboard worker"
        if at - last > 3 * MINUTE
        else None
    )


def provider_problem(app: Flask) -> str | None:
    """Return what is wrong with the identity provider; None if nothing, or if none is set."""
    # Imported here, since the views import much that other commands do not need.
    from dashboard.users.views.oidc import ProviderUnavailable, SharedIssuer, provider

    with app.app_context():
        current = provider()
        try:
            if current is not None:
                current.metadata(refresh=True)
        except SharedIssuer as shared:
            return f"signs nobody in: {shared}"
        except ProviderUnavailable as away:
            return (
                f"cannot be asked ({away}): check DASHBOARD_OIDC_ISSUER;"
                " people with a password can sign in all the same"
            )
    return None


def _clock_problem(settings: Settings, at: datetime) -> str | None:
    """Compare the clock with the Date header of Peliqan's API; None also without that header."""
    try:
        answer = requests.head(settings.peliqan_api_url, timeout=5, allow_redirects=False)
        difference = at - parsedate_to_datetime(answer.headers["Date"])
    except (requests.RequestException, KeyError, ValueError, TypeError):
        return None
    if abs(difference) <= CLOCK_MAY_DIFFER:
        return None
    way = "ahead of" if difference > timedelta() else "behind"
    return (
        f"is {naturaldelta(difference)} {way} Peliqan's: set this machine's time."
        " The ages on pages, the ends of sessions and the codes of a second factor go by it"
    )


def _api_problem(app: Flask, api: peliqan.Peliqan) -> str | None:
    try:
        with app.app_context():
            if api.breaker.outage is not None:
                # The API is called even if it is known not to answer, since the user asks now.
                api.answers_again()
            api.account_page(1, 1)
    except peliqan.PeliqanError as error:
        return f"{error.explained} {error.next_step}"
    return None
