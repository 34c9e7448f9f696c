"""A receiver of alerts on a free loopback port, and a worker that tests run."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sqlalchemy import select

from dashboard.alerts import outbox
from dashboard.alerts import rules as alert_rules
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.alerts.tasks import send_alerts
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings.models import Cause
from tests.support.clock import Clock

SECRET = "hush-hush-4711"
# The destinations that tests allow: receivers on this machine, and those of single tests.
RECEIVERS = {
    "dashboard_places": "json://127.0.0.1, mmost://127.0.0.1, json://, jsons://, slack://, "
    "discord://, gchat://, postgresql://, sqlite:////, parquet:///"
}


class Receiver:
    """A receiver of alerts.

    ``status``: the HTTP status of its responses. Its address has a secret, as webhooks have.
    """

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200
        # A request waits for this event before it gets its response.
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.arrived = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.paths.append(self.path)
                if outer.status == 200:
                    outer.got.append(body)
                outer.arrived.set()
                outer.may_answer.wait(5)
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return (
            f"json://bob:{SECRET}@127.0.0.1:{self.server.server_port}/hook/{SECRET}?+X-Key={SECRET}"
        )

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.got]


@contextmanager
def receive() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(
        target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join(5)


class Clockwork:
    """The worker's task of every minute, run by the test."""

    def __init__(self, services: Services, clock: Clock, receiver: Receiver) -> None:
        self.services, self.clock, self.receiver = services, clock, receiver

    def rule(self, **wanted: Any) -> AlertRule:
        fields: dict[str, Any] = {
            "name": "Support",
            "sends": (outbox.NEW, outbox.RECOVERED),
            "severity": "critical",
            "connector": None,
            "account": "",
            "quiet_from": None,
            "quiet_to": None,
            "digest_at": None,
            "zone": "UTC",
        }
        rule = AlertRule(on=True, created_at=self.clock(), created_by="adam@example.com")
        address = wanted.pop("address", self.receiver.address)
        rule.place, rule.address = "JSON", self.services.vault.encrypt(address)
        alert_rules.save(rule, alert_rules.AlertRuleInput(**{**fields, **wanted}), self.clock())
        return rule

    def minute(self, **later: float) -> list[str]:
        """Move the clock, run the worker's minute, and return the titles that arrive."""
        self.clock.move(**later)
        before = len(self.receiver.got)
        send_alerts()
        db.session.expire_all()
        return self.receiver.titles[before:]

    def at(self, text: str) -> None:
        """Move the clock to the next such time of day in UTC."""
        wanted, now = datetime.strptime(text, "%H:%M").time(), self.clock()
        moment = datetime.combine(now.date(), wanted, UTC)
        self.clock.ahead += (moment if moment > now else moment + timedelta(days=1)) - now


def messages(*conditions: Any) -> list[AlertMessage]:
    db.session.expire_all()
    shown = select(AlertMessage).where(AlertMessage.state != outbox.KNOWN, *conditions)
    return list(db.session.scalars(shown.order_by(AlertMessage.id)))


def the_cause(connector: str = "made_up") -> Cause:
    db.session.expire_all()
    query = select(Cause).where(Cause.connector == connector).order_by(Cause.id.desc())
    found = db.session.scalars(query).first()
    assert found is not None
    return found
