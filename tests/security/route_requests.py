"""A request for every route of the console, made from the map of routes and the store."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from dashboard import models
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.bulk.models import BulkJob
from dashboard.core.database import db
from dashboard.fleet.models import Run
from dashboard.pulls.models import PullSchedule
from dashboard.sql.models import SavedQuery
from dashboard.tables.search.models import ValueSearch
from dashboard.users.models import AccessToken
from dashboard.webhooks.models import WebhookEvent

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
FOR_SCRIPTS = (".json", ".csv", ".jsonl", ".parquet")
# The account of the sandbox with a table of all types.
ACCOUNT, DATABASE, TABLE, ROW = 1001, 10011, 10011900, 3
# The models of row numbers that are named otherwise.
MODELS: dict[str, Any] = {
    "rule": AlertRule, "schedule": PullSchedule, "event": WebhookEvent, "message": AlertMessage,
    "query": SavedQuery, "job": BulkJob, "search": ValueSearch, "token": AccessToken,
}  # fmt: skip


def send_request(client: FlaskClient, request: "RouteRequest", **more: Any) -> TestResponse:
    """Send the request and read the response to its end, so that the request is released."""
    response = client.open(more.pop("path", request.path), method=request.method, **more)
    response.get_data()
    response.close()
    return response


@dataclass(frozen=True)
class RouteRequest:
    """A route with one method. ``role``: the role that it declares; None: none."""

    endpoint: str
    method: str
    path: str
    role: str | None

    @property
    def is_for_scripts(self) -> bool:
        return self.path.partition("?")[0].endswith(FOR_SCRIPTS)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class RouteRequests:
    """All routes with each of their methods, without static files."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def all(self, *methods: str) -> list[RouteRequest]:
        with self.app.app_context():
            found = list(self._found())
            db.session.remove()
        return [each for each in found if not methods or each.method in methods]

    def _found(self) -> Iterator[RouteRequest]:
        for rule in sorted(self.app.url_map.iter_rules(), key=lambda each: each.rule):
            if rule.endpoint == "static":
                continue
            view = self.app.view_functions[rule.endpoint]
            for method in METHODS:
                if method in (rule.methods or ()):
                    yield RouteRequest(
                        rule.endpoint, method, self.path(rule), getattr(view, "role", None)
                    )

    def path_with(self, rule: Rule, values: dict[str, str]) -> str:
        """Return the route's address with some other values."""
        with self.app.app_context():
            found = self.path(rule, values)
            db.session.remove()
        return found

    def path(self, rule: Rule, values: dict[str, str] = {}) -> str:
        """Return the route's address with ids of existing objects."""
        numbers = {**self._numbers(rule), **values}
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(numbers[found[1]]), rule.rule)

    def _numbers(self, rule: Rule) -> dict[str, int]:
        run = db.session.scalars(
            select(Run).where(Run.account_id == ACCOUNT).order_by(Run.id.desc())
        ).first()
        assert run is not None
        ids = {
            "account_id": ACCOUNT, "connection_id": run.connection_id, "run_id": run.id,
            "database_id": DATABASE,
            "table_id": TABLE, "row_id": ROW,
        }  # fmt: skip
        return {name: ids.get(name) or self._newest(name, rule) for name in rule.arguments}

    def _newest(self, name: str, rule: Rule) -> int:
        """Return the newest id that a parameter may refer to; 1 where there is none."""
        word = name.removesuffix("_id")
        model = MODELS.get(word) or getattr(models, word.title(), None)
        if model is None:
            return 1
        wanted = select(model.id)
        if word == "note" and "connection" in rule.rule:
            wanted = wanted.where(model.connection_id.is_not(None))
        elif word == "note":
            wanted = wanted.where(model.connection_id.is_(None), model.cause_id.is_(None))
        if word == "action":
            wanted = wanted.where(model.url.is_not(None))
        return db.session.scalars(wanted.order_by(model.id.desc())).first() or 1
