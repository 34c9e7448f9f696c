"""What tests of alerts need: a place that keeps what is sent to it, on a free loopback port, and the worker's minute by hand."""

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
# What the operator of a test's console names: receivers on this machine, and whatever else its tests go to.
RECEIVERS = {
    "dashboard_places": "json://127.0.0.1, mmost://127.0.0.1, json://, jsons://, slack://, discord://, gchat://, postgresql://,"
    " sqlite:////, parquet:///"
}


class Receiver:
    """``status``: what it answers. ``path``: a secret part of its address, as webhooks have them."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200
        # A message that is on its way waits for this, if it is set to wait.
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
    """The worker's minute, made by hand."""

    def __init__(self, parts: Services, clock: Clock, place: Receiver) -> None:
        self.parts, self.clock, self.place = parts, clock, place

    def rule(self, **wanted: Any) -> AlertRule:
        fields: dict[str, Any] = {
            "name": "Support", "sends": (outbox.NEW, outbox.RECOVERED), "severity": "critical", "connector": None, "account": "",
            "quiet_from": None, "quiet_to": None, "digest_at": None, "zone": "UTC",
        }  # fmt: skip
        rule = AlertRule(on=True, created_at=self.clock(), created_by="adam@example.com")
        rule.place, rule.address = (
            "JSON",
            self.parts.vault.encrypt(wanted.pop("address", self.place.address)),
        )
        alert_rules.save(rule, alert_rules.AlertRuleInput(**{**fields, **wanted}), self.clock())
        return rule

    def minute(self, **later: float) -> list[str]:
        """What arrives when the worker does its minute so much later."""
        self.clock.move(**later)
        before = len(self.place.got)
        send_alerts()
        db.session.expire_all()
        return self.place.titles[before:]

    def at(self, text: str) -> None:
        """Go on to the next such moment in UTC."""
        wanted, now = datetime.strptime(text, "%H:%M").time(), self.clock()
        moment = datetime.combine(now.date(), wanted, UTC)
        self.clock.ahead += (moment if moment > now else moment + timedelta(days=1)) - now


def messages(*conditions: Any) -> list[AlertMessage]:
    db.session.expire_all()
    shown = select(AlertMessage).where(AlertMessage.state != outbox.KNOWN, *conditions)
    return list(db.session.scalars(shown.order_by(AlertMessage.id)))


def the_cause(connector: str = "made_up") -> Cause:
    db.session.expire_all()
    return db.session.scalars(
        select(Cause).where(Cause.connector == connector).order_by(Cause.id.desc())
    ).first()  # type: ignore[return-value]
