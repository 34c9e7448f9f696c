"""The application factory. Only the command line, wsgi.py and the tests import this module."""

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from flask import Flask, Request
from requests.adapters import BaseAdapter
from werkzeug.routing import MapAdapter

from dashboard import peliqan
from dashboard.actions import outcomes
from dashboard.actions.service import LINKS
from dashboard.actions.signals import action_completed
from dashboard.actions.tasks import POLLERS
from dashboard.bulk.tasks import on_action_completed
from dashboard.context import Clock, Services, utc_now
from dashboard.core.database import db, end_session, engine_options, prefer_indexes
from dashboard.core.paths import ASSETS
from dashboard.core.private_files import CannotBeMade, make_private
from dashboard.customer_links import service as customer_links
from dashboard.deliveries.hook import open_hook
from dashboard.findings.playbook import read_playbook
from dashboard.findings.signals import recovered
from dashboard.fleet.token_vault import TokenVault
from dashboard.http.client_address import FromClient
from dashboard.masking.rule_file import read_masks
from dashboard.refresh.api_outages import DatabaseOutageStore
from dashboard.refresh.signals import accounts_read
from dashboard.settings import Settings, SettingsError
from dashboard.tasks.processes import ProcessRegistration
from dashboard.tasks.queues import TaskQueues
from dashboard.web.converters import Id
from dashboard.webhooks import service as webhook_events
from dashboard.worker.dispatch import TASKS, every_minute


class _Flask(Flask):
    """Flask whose external addresses begin with ``own_url``, Werkzeug's redirects included."""

    own_url: str | None = None

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return the adapter; without ``own_url`` it uses the request's host and scheme."""
        adapter = super().create_url_adapter(request)
        if adapter is not None and self.own_url is not None:
            parts = urlsplit(self.own_url)
            adapter.url_scheme, adapter.server_name = parts.scheme, parts.netloc
            adapter.script_name = f"{parts.path}/"
        return adapter


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    backoff: float = 0.3,
    adapter: BaseAdapter | None = None,
    pages: bool = True,
) -> Flask:
    """Create the application.

    ``clock``: returns aware times in UTC. ``backoff``: seconds before the first retry of an API
    read. ``adapter``: replaces the network to the API. ``pages``: with views; a worker has none,
    which saves six megabytes.

    Raises:
        SettingsError: the data folder or the work queue in it cannot be used.
        PlaybookError: a file of the playbook is missing or malformed.
        MasksError: the masking rules cannot be read.
    """
    app = _create_flask(settings)
    _protect_data_folder(settings)
    app.config.update(flask_config(settings))
    _init_database(app)
    with app.app_context():
        set_services(app, settings, clock, backoff, adapter)
    _connect_features()
    if pages:
        _add_pages(app)
        set_middleware(app, settings)
    logging.getLogger("huey").setLevel(logging.WARNING)
    return app


def set_services(
    app: Flask,
    settings: Settings,
    clock: Clock = utc_now,
    backoff: float = 0.3,
    adapter: BaseAdapter | None = None,
) -> None:
    """Create the services of an application, with its parameters and errors; replace earlier ones.

    Needs an application context.
    """
    playbook = read_playbook(settings.dashboard_playbook or ASSETS / "playbook")
    masks = read_masks(settings.dashboard_masks or ASSETS / "masks.ini")
    vault = TokenVault(db.engine, settings.secret_keys)
    outages = DatabaseOutageStore(db.engine, urlsplit(settings.peliqan_api_url).netloc)
    breaker = peliqan.CircuitBreaker(outages, clock=clock)
    api = _create_api(settings, vault, breaker, backoff, adapter)
    queues = _open_queues(app, settings, clock)
    hook = open_hook(settings, clock)
    app.extensions["thresholds"] = settings.thresholds
    app.extensions["presence"] = ProcessRegistration(app, clock)
    app.extensions["services"] = Services(
        app, settings, clock, api, vault, outages, queues, hook, playbook, masks
    )


def _create_flask(settings: Settings) -> Flask:
    app = _Flask(
        "dashboard", template_folder=str(ASSETS / "templates"), static_folder=str(ASSETS / "static")
    )
    app.own_url = settings.dashboard_url
    app.url_map.converters["int"] = Id
    return app


def _protect_data_folder(settings: Settings) -> None:
    """Create the data folder and make it and the database file private to this user."""
    files = (each for each in settings.own_files if each.is_absolute())
    try:
        make_private(settings.dashboard_data, *files)
    except CannotBeMade as error:
        raise _data_folder_error(str(error)) from None


def _data_folder_error(problem: str) -> SettingsError:
    return SettingsError(f"Settings need attention:\n  DASHBOARD_DATA: {problem}")


def flask_config(settings: Settings) -> dict[str, object]:
    """Return the configuration of Flask and its extensions."""
    cookies_need_https = not settings.dashboard_insecure_cookies
    return {
        "SECRET_KEY": settings.secret_keys[0],
        "SECRET_KEY_FALLBACKS": settings.secret_keys[1:],
        "SQLALCHEMY_DATABASE_URI": settings.store_url,
        "SQLALCHEMY_ENGINE_OPTIONS": engine_options(settings.store_url),
        "SESSION_COOKIE_PATH": settings.path or "/",
        "SESSION_COOKIE_NAME": f"{settings.cookie_prefix}console_session",
        "SESSION_COOKIE_SECURE": cookies_need_https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        # The console never sets this cookie. Signing out deletes it, so it must not have the name
        # of a cookie of another application on this host.
        "REMEMBER_COOKIE_NAME": f"{settings.cookie_prefix}console_remember",
        "REMEMBER_COOKIE_PATH": settings.path or "/",
        "REMEMBER_COOKIE_SECURE": cookies_need_https,
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "SEND_FILE_MAX_AGE_DEFAULT": 3600,
        "WTF_CSRF_TIME_LIMIT": None,
        # Off, since it compares the Referer header with the Host header, which a proxy need not
        # pass on. The token is enough.
        "WTF_CSRF_SSL_STRICT": False,
        "RATELIMIT_STORAGE_URI": settings.redis_url or "memory://",
    }


def _init_database(app: Flask) -> None:
    db.init_app(app)
    # Registered after Flask-SQLAlchemy's own, and so called before it: an error at the end of a
    # request would replace the page by the server's bare 500.
    app.teardown_appcontext(lambda _error: end_session())
    with app.app_context():
        prefer_indexes(db.engine)


def _create_api(
    settings: Settings,
    vault: TokenVault,
    breaker: peliqan.CircuitBreaker,
    backoff: float,
    adapter: BaseAdapter | None,
) -> peliqan.Peliqan:
    # Imported here, since the environment at the import of its metrics decides where they count.
    from dashboard.telemetry.api_calls import ApiCallRecorder

    return peliqan.Peliqan(
        settings.peliqan_api_url,
        settings.peliqan_partner_token,
        tokens=vault,
        routes=peliqan.Routes(settings.paths),
        options=peliqan.ClientOptions(
            read_timeout=settings.dashboard_api_timeout,
            concurrency=settings.dashboard_api_concurrency,
            rate_limiter=peliqan.RateLimiter(
                settings.dashboard_api_concurrency, settings.dashboard_api_rate, settings.redis_url
            ),
            breaker=breaker,
            backoff=backoff,
            adapter=adapter,
            observer=ApiCallRecorder(),
        ),
    )


def _open_queues(app: Flask, settings: Settings, clock: Clock) -> TaskQueues:
    # Imported here for the same reason as in ``_create_api``.
    from dashboard.telemetry.task_runs import around_task

    folder = settings.dashboard_data
    try:
        return TaskQueues(app, settings, clock, TASKS, every_minute, around_task)
    except sqlite3.Error as error:
        # SQLite writes when it opens the queue's file: "database or disk is full", "attempt to
        # write a readonly database".
        free = shutil.disk_usage(folder).free >> 20
        raise _data_folder_error(
            f"the work queue in {folder} cannot be used ({error}; {free:,} MB are free on its"
            " disk): make room, or give the folder and its files to the user who runs the console"
        ) from None


def _connect_features() -> None:
    """Connect signals of lower packages to the features that handle them, in one transaction."""
    recovered.connect(outcomes.on_recovered)
    accounts_read.connect(webhook_events.on_accounts_read)
    action_completed.connect(on_action_completed)
    POLLERS.update(dict.fromkeys(LINKS, customer_links.poll))


def _add_pages(app: Flask) -> None:
    """Register the views."""
    # Imported here, since a worker needs no views.
    from dashboard import blueprints

    blueprints.register(app)
    # gunicorn would take the path from this variable; only DASHBOARD_URL sets it.
    os.environ.pop("SCRIPT_NAME", None)


def set_middleware(app: Flask, settings: Settings) -> None:
    """Put the WSGI middleware in front of the views; replace an earlier one.

    From the outside: the access log; the client's address, the scheme and the path; webhooks.
    """
    # Imported here, since a worker needs no views.
    from dashboard.telemetry.access_log import AccessLog
    from dashboard.web import security
    from dashboard.webhooks.receiver import WebhookReceiver

    probes = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint in security.PROBES}
    receiver = WebhookReceiver(app, partial(Flask.wsgi_app, app))
    inner = FromClient(receiver, settings.dashboard_proxies, settings.path, probes)
    app.wsgi_app = AccessLog(inner)  # type: ignore[method-assign]
