"""For operators and their machines: is it alive, is it ready, and what is not."""

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
from dashboard.tasks.queue import MINUTE
from dashboard.web.access import PUBLIC, requires

bp = Blueprint("health", __name__)
OK = "ok"
OLD = timedelta(minutes=30)
# A worker takes the minute's job; three minutes without one, and there is none.
SEEN_WITHIN = 3 * MINUTE


@dataclass(frozen=True)
class Readiness:
    """What was found, each in words or "ok". Only the store and the queue decide whether pages can be shown."""

    store: str
    queue: str
    worker: str
    peliqan: str
    snapshot_age: timedelta | None

    @property
    def reason(self) -> str | None:
        """Why no page can be shown, if none can."""
        return next((said for said in (self.store, self.queue) if said != OK), None)


@bp.get("/healthz")
@requires(PUBLIC)
def alive() -> ResponseReturnValue:
    """The process answers."""
    return "ok\n", {"Content-Type": "text/plain; charset=utf-8"}


@bp.get("/readyz")
@requires(PUBLIC)
def ready() -> ResponseReturnValue:
    """What is not ready. Says nothing that is not for everybody.

    503 only where the store or the queue is away or takes nothing, so that nobody could sign in: then another machine serves
    better. A worker or Peliqan that is not heard of is told as well, but pages show what is known, and say how old it is; to take
    every machine out for it would help nobody.
    """
    found = check_readiness(services())
    checks = {
        "store": found.store,
        "queue": found.queue,
        "worker": found.worker,
        "peliqan": found.peliqan,
    }
    age = found.snapshot_age
    told = {
        "ready": found.reason is None,
        **({"reason": found.reason} if found.reason else {}),
        "checks": checks,
        "snapshot_age_seconds": round(age.total_seconds()) if age is not None else None,
        "stale": age is None or age > OLD,
    }
    return jsonify(told), 503 if found.reason else 200


def check_readiness(parts: Services) -> Readiness:
    """How it stands at the moment; never raises."""
    at = parts.clock()
    queue = _queue(parts, at)
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
    lately = timedelta(seconds=max(600, 3 * parts.settings.dashboard_refresh_interval))
    # The minute's job is due a while after it was taken.
    worker = _since(
        found.ticked_at - MINUTE if found.ticked_at else None,
        at,
        SEEN_WITHIN,
        "no worker has done anything",
    )
    return Readiness(
        store, queue, worker, _since(found.answered_at, at, lately, "no account could be read"), age
    )


def _queue(parts: Services, at: datetime) -> str:
    try:
        parts.queues.waiting()
    except RedisError:
        return "Redis does not answer"
    except sqlite3.Error:
        return "the queue's file cannot be used: its disk may be full"
    try:
        parts.queues.ensure_writable(at)
    except RedisError:
        return "Redis takes no value: it may have no memory left"
    except sqlite3.Error:
        return "the queue's file cannot be written to: its disk may be full"
    return OK


def _since(last: datetime | None, at: datetime, within: timedelta, said: str) -> str:
    if last is None:
        return f"{said} yet"
    return OK if at - last <= within else f"{said} since {last:%d %B %Y, %H:%M UTC}"
