"""The application: settings in, Flask out. Nothing imports this but the command line and the tests."""

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import datetime
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
from dashboard.context import Services, utc_now
from dashboard.core.database import db, end_session, engine_options, prefer_indexes
from dashboard.core.paths import ASSETS
from dashboard.core.private_files import CannotBeMade, make_private
from dashboard.customer_links import service as customer_links
from dashboard.deliveries.hook import open_hook
from dashboard.findings.playbook import read_playbook
from dashboard.findings.signals import recovered
from dashboard.fleet.token_vault import TokenVault
from dashboard.http.client import FromClient
from dashboard.masking.rules import read_masks
from dashboard.refresh.outages import DatabaseOutageStore
from dashboard.refresh.signals import accounts_read
from dashboard.settings import Settings, SettingsError
from dashboard.tasks.processes import ProcessRegistration
from dashboard.tasks.queue import TaskQueues
from dashboard.web.converters import Id
from dashboard.webhooks import service as webhook_events
from dashboard.worker.dispatch import TASKS, every_minute


class _Flask(Flask):
    """Flask whose external addresses (``url_for(..., _external=True)``, Werkzeug's own redirects) begin with ``own_url``."""

    own_url: str | None = None

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Without ``own_url``, by the host that was asked for and the scheme of ``FromClient``."""
        adapter = super().create_url_adapter(request)
        if adapter is not None and self.own_url is not None:
            parts = urlsplit(self.own_url)
            adapter.url_scheme, adapter.server_name, adapter.script_name = (
                parts.scheme,
                parts.netloc,
                f"{parts.path}/",
            )
        return adapter


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    backoff: float = 0.3,
    adapter: BaseAdapter | None = None,
    pages: bool = True,
) -> Flask:
    """The console. ``clock`` gives aware times in UTC; ``backoff``: seconds before a read is tried again, at first; ``adapter``
    replaces the network. ``pages``: whether it answers anybody; a worker does not, and takes six megabytes less.

    Raises:
        SettingsError: the data folder cannot be used, or takes no file of the queue.
        PlaybookError: a file of the playbook is missing or malformed.
        MasksError: the rules for masking cannot be read.
    """
    from dashboard.telemetry.api_calls import ApiCallRecorder
    from dashboard.telemetry.task_runs import around_task

    playbook = read_playbook(settings.dashboard_playbook or ASSETS / "playbook")
    masks = read_masks(settings.dashboard_masks or ASSETS / "masks.ini")
    app = _Flask(
        "dashboard", template_folder=str(ASSETS / "templates"), static_folder=str(ASSETS / "static")
    )
    app.own_url = settings.dashboard_url
    app.url_map.converters["int"] = Id
    try:
        make_private(
            settings.dashboard_data, *(each for each in settings.own_files if each.is_absolute())
        )
    except CannotBeMade as error:
        raise SettingsError(f"Settings need attention:\n  DASHBOARD_DATA: {error}") from None
    app.config.update(
        SECRET_KEY=settings.secret_keys[0],
        SECRET_KEY_FALLBACKS=settings.secret_keys[1:],
        SQLALCHEMY_DATABASE_URI=settings.store_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings.store_url),
        SESSION_COOKIE_PATH=settings.path or "/",
        SESSION_COOKIE_NAME=f"{settings.cookie_prefix}console_session",
        SESSION_COOKIE_SECURE=not settings.dashboard_insecure_cookies,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        # Never set: signing out would delete the cookie of that name, which another application on this host may have.
        REMEMBER_COOKIE_NAME=f"{settings.cookie_prefix}console_remember",
        REMEMBER_COOKIE_PATH=settings.path or "/",
        REMEMBER_COOKIE_SECURE=not settings.dashboard_insecure_cookies,
        MAX_CONTENT_LENGTH=1024 * 1024,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
        WTF_CSRF_TIME_LIMIT=None,
        # It would compare the Referer header with the Host header, which a proxy need not pass on. The token is enough.
        WTF_CSRF_SSL_STRICT=False,
        RATELIMIT_STORAGE_URI=settings.redis_url or "memory://",
    )
    app.extensions["thresholds"] = settings.thresholds
    db.init_app(app)
    # Before Flask-SQLAlchemy's own: an error at the end of a request would be the server's bare 500, in the place of the page.
    app.teardown_appcontext(lambda _error: end_session())
    with app.app_context():
        prefer_indexes(db.engine)
        vault = TokenVault(db.engine, settings.secret_keys)
        outages = DatabaseOutageStore(db.engine, urlsplit(settings.peliqan_api_url).netloc)
    api = peliqan.Peliqan(
        settings.peliqan_api_url,
        settings.peliqan_partner_token,
        tokens=vault,
        routes=peliqan.Routes(settings.paths),
        read_timeout=settings.dashboard_api_timeout,
        concurrency=settings.dashboard_api_concurrency,
        pace=peliqan.RateLimiter(
            settings.dashboard_api_concurrency, settings.dashboard_api_rate, settings.redis_url
        ),
        breaker=peliqan.CircuitBreaker(outages, clock=clock),
        backoff=backoff,
        adapter=adapter,
        watch=ApiCallRecorder(),
    )
    app.extensions["presence"] = ProcessRegistration(app, clock)
    try:
        queues = TaskQueues(app, settings, clock, TASKS, every_minute, around_task)
    except sqlite3.Error as error:
        # SQLite writes when it opens the queue's file: "database or disk is full", "attempt to write a readonly database".
        free = shutil.disk_usage(settings.dashboard_data).free >> 20
        problem = f"the work queue in {settings.dashboard_data} cannot be used ({error}; {free:,} MB are free on its disk)"
        next_step = "make room, or give the folder and its files to the user who runs the console"
        raise SettingsError(
            f"Settings need attention:\n  DASHBOARD_DATA: {problem}: {next_step}"
        ) from None
    _connect_features()
    hook = open_hook(settings, clock)
    app.extensions["services"] = Services(
        app, settings, clock, api, vault, outages, queues, hook, playbook, masks
    )
    if pages:
        from dashboard import blueprints as views
        from dashboard.telemetry.access_log import AccessLog
        from dashboard.web import security

        views.register(app)
        # gunicorn would take the path from there; it is that of DASHBOARD_URL alone.
        os.environ.pop("SCRIPT_NAME", None)
        # In front of every view: who reads the client's address, the scheme or the path reads these.
        probes = {
            rule.rule for rule in app.url_map.iter_rules() if rule.endpoint in security.PROBES
        }
        inner = FromClient(app.wsgi_app, settings.dashboard_proxies, settings.path, probes)
        app.wsgi_app = AccessLog(inner)  # type: ignore[method-assign]
    logging.getLogger("huey").setLevel(logging.WARNING)
    return app


def _connect_features() -> None:
    """Connect what lower packages report to the packages above them that act on it, in the same transaction."""
    recovered.connect(outcomes.on_recovered)
    accounts_read.connect(webhook_events.on_accounts_read)
    action_completed.connect(on_action_completed)
    POLLERS.update(dict.fromkeys(LINKS, customer_links.poll))
