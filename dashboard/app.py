"""The application: settings in, Flask out. Nothing imports this but the command line and the tests."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask, current_app
from requests.adapters import BaseAdapter

from dashboard import peliqan
from dashboard.data.masks import Masks, read_masks
from dashboard.diagnosis.playbook import Playbook, read_playbook
from dashboard.fleet.queue import Work
from dashboard.fleet.refresh import Fleet
from dashboard.settings import Settings
from dashboard.store.database import db, prefer_indexes
from dashboard.store.tokens import TokenVault

HERE = Path(__file__).parent
# In a checkout the pages stand beside the package, in a wheel inside it.
ASSETS = HERE if (HERE / "templates").is_dir() else HERE.parent


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Console:
    """What a view needs beside the store: ``console()`` gives it."""

    settings: Settings
    api: peliqan.Peliqan
    fleet: Fleet
    work: Work
    clock: Callable[[], datetime]
    playbook: Playbook
    masks: Masks


def console() -> Console:
    """The running console's parts."""
    found: Console = current_app.extensions["console"]
    return found


def create_app(settings: Settings, *, clock: Callable[[], datetime] = utc_now, adapter: BaseAdapter | None = None) -> Flask:
    """The console. ``adapter`` replaces the network in tests; ``clock`` gives aware times in UTC.

    Raises:
        PlaybookError: a file of the playbook is missing or malformed.
        MasksError: the rules for masking cannot be read.
    """
    from dashboard import views
    from dashboard.telemetry.calls import Watch
    from dashboard.telemetry.requests import Watched
    from dashboard.telemetry.tasks import around_task

    playbook = read_playbook(settings.dashboard_playbook or ASSETS / "playbook")
    masks = read_masks(settings.dashboard_masks or ASSETS / "masks.ini")
    app = Flask("dashboard", template_folder=str(ASSETS / "templates"), static_folder=str(ASSETS / "static"))
    settings.dashboard_data.mkdir(parents=True, exist_ok=True)
    app.config.update(
        SECRET_KEY=settings.secret_keys[0],
        SECRET_KEY_FALLBACKS=settings.secret_keys[1:],
        SQLALCHEMY_DATABASE_URI=settings.store_url,
        # An error of the database's would quote the values of its statement, into a log.
        SQLALCHEMY_ENGINE_OPTIONS={"pool_pre_ping": True, "hide_parameters": True},
        SESSION_COOKIE_NAME="console_session",
        SESSION_COOKIE_SECURE=not settings.dashboard_insecure_cookies,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=1024 * 1024,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
        WTF_CSRF_TIME_LIMIT=None,
        RATELIMIT_STORAGE_URI=settings.redis_url or "memory://",
    )
    app.extensions["thresholds"] = settings.thresholds
    db.init_app(app)
    with app.app_context():
        prefer_indexes(db.engine)
        vault = TokenVault(db.engine, settings.secret_keys)
    api = peliqan.Peliqan(
        settings.peliqan_api_url,
        settings.peliqan_partner_token,
        tokens=vault,
        routes=peliqan.Routes(settings.paths),
        read_timeout=settings.dashboard_api_timeout,
        concurrency=settings.dashboard_api_concurrency,
        pace=peliqan.Pace(settings.dashboard_api_concurrency, settings.dashboard_api_rate, settings.redis_url),
        adapter=adapter,
        watch=Watch(),
    )
    fleet = Fleet(
        app,
        api,
        vault,
        clock,
        settings.dashboard_api_concurrency,
        settings.dashboard_refresh_interval,
        settings.dashboard_api_rate,
    )
    app.extensions["console"] = Console(settings, api, fleet, Work(fleet, settings, masks, around_task), clock, playbook, masks)
    views.register(app)
    app.wsgi_app = Watched(app.wsgi_app)  # type: ignore[method-assign]
    logging.getLogger("huey").setLevel(logging.WARNING)
    return app
