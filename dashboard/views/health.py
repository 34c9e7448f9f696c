"""For operators and their machines: is it alive, is it ready."""

from datetime import timedelta

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from dashboard.app import console
from dashboard.store import passes
from dashboard.store.database import db
from dashboard.views.access import PUBLIC, requires

bp = Blueprint("health", __name__)
OLD = timedelta(minutes=30)


@bp.get("/healthz")
@requires(PUBLIC)
def alive() -> ResponseReturnValue:
    """The process answers."""
    return "ok\n", {"Content-Type": "text/plain; charset=utf-8"}


@bp.get("/readyz")
@requires(PUBLIC)
def ready() -> ResponseReturnValue:
    """The store answers, and how old the snapshot is. Says nothing that is not for everybody."""
    try:
        db.session.execute(select(1))
        last = passes.latest()
    except SQLAlchemyError:
        return jsonify(ready=False, reason="the database does not answer"), 503
    age = (console().clock() - last.alive_at) if last else None
    return jsonify(ready=True, snapshot_age_seconds=round(age.total_seconds()) if age else None, stale=age is None or age > OLD)
