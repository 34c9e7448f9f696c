"""Health probes: whether the process is alive, whether it is ready, and what is not ready."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from dashboard.context import Services, services
from dashboard.core import schema
from dashboard.monitoring import queries as service_status
from dashboard.monitoring.limits import STALE_AFTER, WORKER_SEEN_WITHIN
from dashboard.tasks.queues import MINUTE
from dashboard.web.required_role import PUBLIC, requires

bp = Blueprint("health", __name__)
OK = "ok"


@dataclass(frozen=True)
class Readiness:
    """The result of each check: "ok", or what is wrong. Only store and queue decide readiness."""

    store: str
    queue: str
    worker: str
    peliqan: str
    snapshot_age: timedelta | None

    @property
    def reason(self) -> str | None:
        """Return why no page can be served; None if pages can be served."""
        return next((result for result in (self.store, self.queue) if result != OK), None)


@bp.get("/healthz")
@requires(PUBLIC)
def alive() -> ResponseReturnValue:
    """Answer "ok" while the process runs."""
    return "ok\n", {"Content-Type": "text/plain; charset=utf-8"}


@bp.get("/readyz")
@requires(PUBLIC)
def ready() -> ResponseReturnValue:
    """Report what is not ready, without confidential facts.

    503 only if the store or the queue does not answer or accept writes, since nobody can sign in
    then and another machine may serve better. A missing worker or a silent API is reported with
    200: pages show the snapshot and its age, and removing every machine would help nobody.
    """
    found = check_readiness(services())
    checks = {
        "store": found.store,
        "queue": found.queue,
        "worker": found.worker,
        "peliqan": found.peliqan,
    }
    age = found.snapshot_age
    body = {
        "ready": found.reason is None,
        **({"reason": found.reason} if found.reason else {}),
        "checks": checks,
        "snapshot_age_seconds": round(age.total_seconds()) if age is not None else None,
        "stale": age is None or age > STALE_AFTER,
    }
    return jsonify(body), 503 if found.reason else 200


def check_readiness(current: Services) -> Readiness:
    """Check store, queue, worker and API. Does not raise."""
    at = current.clock()
    queue = _queue(current, at)
    unknown = "cannot be told without the store"
    try:
        if schema.needs_upgrade():
            return Readiness(
                "the store has an older schema: run dashboard db upgrade",
                queue,
                unknown,
                unknown,
                None,
            )
        found = service_status.read()
    except SQLAlchemyError:
        return Readiness("the database does not answer", queue, unknown, unknown, None)
    try:
        service_status.ensure_writable(at)
        store = OK
    except SQLAlchemyError:
        store = "the database cannot be written to: its disk may be full"
    age = at - found.pass_alive_at if found.pass_alive_at is not None else None
    recently = timedelta(seconds=max(600, 3 * current.settings.dashboard_refresh_interval))
    # ``ticked_at`` is when the minute task is due next, one minute after the last claim.
    worker = _since(
        found.ticked_at - MINUTE if found.ticked_at else None,
        at,
        WORKER_SEEN_WITHIN,
        "no worker has done anything",
    )
    return Readiness(
        store,
        queue,
        worker,
        _since(found.answered_at, at, recently, "no account could be read"),
        age,
    )


def _queue(current: Services, at: datetime) -> str:
    try:
        current.queues.waiting()
    except RedisError:
        return "Redis does not answer"
    except sqlite3.Error:
        return "the queue's file cannot be used: its disk may be full"
    try:
        current.queues.ensure_writable(at)
    except RedisError:
        return "Redis takes no value: it may have no memory left"
    except sqlite3.Error:
        return "the queue's file cannot be written to: its disk may be full"
    return OK


def _since(last: datetime | None, at: datetime, within: timedelta, problem: str) -> str:
    if last is None:
        return f"{problem} yet"
    return OK if at - last <= within else f"{problem} since {last:%d %B %Y, %H:%M UTC}"
