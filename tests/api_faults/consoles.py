"""A console over the raw API, and every page and form that calls the API during a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, select
from werkzeug.test import TestResponse

from dashboard.actions.models import Action
from dashboard.app import create_app
from dashboard.audit.models import AuditEntry
from dashboard.cli.common import upgrade_schema
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.exports.models import Export
from dashboard.fleet.models import Account, Connection, MonitoredTable, Run
from dashboard.refresh.service import refresh_fleet
from dashboard.tables.health.models import TableCheck
from dashboard.users import service as users
from tests.api_faults.table import ACCOUNT, BANK, CONNECTION, DATABASE, ROW, RUN, TABLE
from tests.support.clock import Clock
from tests.support.people import PASSWORD, PASSWORD_HASH, Person
from tests.support.settings import make_settings

AT = f"/accounts/{ACCOUNT}"
HERE, THERE = f"{AT}/connections/{CONNECTION}", f"{AT}/tables/{TABLE}"
WHO = "adam@example.com"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class ConsoleRequest:
    """A page or form.

    ``asks``: the API routes that it calls, in order; ``starts``: the one that starts work.
    """

    path: str
    asks: tuple[str, ...]
    form: Mapping[str, str] | None = None
    starts: str = ""
    what: str = ""
    htmx: bool = field(default=False)


CONSOLE_REQUESTS = (
    ConsoleRequest(f"{HERE}/live", ("server", "runs"), htmx=True),
    ConsoleRequest(f"{HERE}/check", ("server", "runs"), {}),
    ConsoleRequest(f"{HERE}/rows-check", ("applications", "tables", "fields", "rows"), {}),
    ConsoleRequest(f"{HERE}/data-check", ("default_dw_info", "proxy_db"), {}),
    ConsoleRequest(f"{HERE}/runs/{RUN}", ("run_logs",)),
    ConsoleRequest(f"{HERE}/sync", ("syncdb",), {}, "syncdb", "sync"),
    ConsoleRequest(f"{HERE}/reauthorise", ("reauthorise",), {}, "reauthorise", "reauthorise"),
    ConsoleRequest(f"{AT}/connections/{BANK}/saltedge-refresh", ("saltedge_refresh",), {},
        "saltedge_refresh", "saltedge_refresh"),
    ConsoleRequest(f"{AT}/invite", ("invite",), {"connector": "xero"}, "invite", "invite"),
    ConsoleRequest("/embed/token", ("integrate",), {"external_id": "cust-1"}, "integrate",
        "widget_token"),
    ConsoleRequest("/embed/connected", ("server", "runs"), {"external_id": "cust-1",
        "server_id": str(CONNECTION)}),
    ConsoleRequest(f"{AT}/databases", ("applications",)),
    ConsoleRequest(f"{AT}/databases/{DATABASE}", ("applications", "tables")),
    ConsoleRequest(THERE, ("fields", "rows", "table")),
    # The surrounding page has read its columns.
    ConsoleRequest(f"{THERE}?fill=1", ("rows",), htmx=True),
    ConsoleRequest(f"{THERE}.json", ("fields", "rows")),
    ConsoleRequest(f"{THERE}.csv", ("fields", "rows")),
    ConsoleRequest(f"{THERE}/rows/{ROW}", ("table", "fields", "row")),
    ConsoleRequest(f"{THERE}/rows/{ROW}/cell?column=Name", ("fields", "row")),
    ConsoleRequest(f"{THERE}/reveal", ("table",), {"why": "A customer asks for it."}),
    ConsoleRequest(f"{THERE}/masks", ("fields",), {"column": "Name", "decision": "rules"}),
    ConsoleRequest(f"{THERE}/health", ("table", "fields", "rows")),
    ConsoleRequest(f"{THERE}/export.csv", ("fields", "rows")),
    ConsoleRequest(f"{THERE}/export.parquet", ("fields", "rows")),
    ConsoleRequest(f"{THERE}/exports", ("fields", "table"), {"format": "csv"}),
    ConsoleRequest(f"{AT}/sql/schema", ("applications", "tables")),
    ConsoleRequest(f"{AT}/sql/schema?table={TABLE}", ("fields",)),
)  # fmt: skip


class FaultConsole:
    """A console with a signed-in administrator, and a client for each parallel request."""

    def __init__(self, app: Flask, clock: Clock) -> None:
        self.app, self.clock = app, clock
        self.services: Services = app.extensions["services"]
        self._clients: dict[ConsoleRequest, tuple[FlaskClient, str]] = {}

    def sign_in(self) -> None:
        person = Person(self.app.test_client(), WHO)
        token, cookie = person.token(), person.client.get_cookie("console_session")
        assert cookie is not None
        for visit in CONSOLE_REQUESTS:
            client = self.app.test_client()
            client.set_cookie("console_session", cookie.value)
            self._clients[visit] = client, token

    def send(self, visit: ConsoleRequest) -> TestResponse:
        """Send the request and follow redirects."""
        client, token = self._clients[visit]
        headers = {"HX-Request": "true"} if visit.htmx else {}
        if visit.form is None:
            return client.get(visit.path, headers=headers, buffered=True)
        return client.post(
            visit.path,
            data={"csrf_token": token, **visit.form},
            headers=headers,
            follow_redirects=True,
            buffered=True,
        )

    def see(self, path: str) -> TestResponse:
        """Open any page."""
        return self._clients[CONSOLE_REQUESTS[0]][0].get(path)

    def forget(self) -> None:
        """Reset to no actions and no outages; make old data due for a read."""
        self.services.api.breaker.record_answer()
        self.services.api.missing_routes.forget()
        with self.app.app_context():
            db.session.execute(db.update(Connection).values(looked_at=LONG_AGO, looking_until=None))
            for model in (Action, Export, TableCheck, MonitoredTable, AuditEntry):
                db.session.execute(delete(model))
            db.session.commit()

    def entry(self, what: str) -> AuditEntry:
        """Return the only audit entry of this kind."""
        with self.app.app_context():
            return db.session.scalars(select(AuditEntry).where(AuditEntry.what == what)).one()

    def snapshot(self) -> dict[str, Any]:
        """Return the snapshot without the times of reads."""
        with self.app.app_context():
            accounts = db.session.scalars(select(Account).order_by(Account.id))
            connections = db.session.scalars(
                select(Connection).order_by(Connection.account_id, Connection.id)
            )
            runs = db.session.scalars(
                select(Run).order_by(Run.account_id, Run.connection_id, Run.id)
            )
            return {
                "accounts": [
                    (each.id, each.name, each.external_id, each.gone_at) for each in accounts
                ],
                "connections": [
                    (
                        each.account_id,
                        each.id,
                        each.name,
                        each.connector,
                        each.status,
                        each.gone_at,
                        each.last_run_status,
                    )
                    for each in connections
                ],
                "runs": [
                    (each.account_id, each.connection_id, each.id, each.status, each.records)
                    for each in runs
                ],
            }

    def read_fleet(self) -> Any:
        """Refresh the fleet, runs included."""
        with self.app.app_context():
            db.session.execute(db.update(Connection).values(runs_read_at=None))
            db.session.commit()
            found = refresh_fleet(self.services)
            db.session.remove()
            return found


def open_console(url: str, folder: Path, timeout: float, clock: Clock) -> FaultConsole:
    """Return a console over this API; ``timeout`` of the API in seconds."""
    app = create_app(
        make_settings(url, folder, dashboard_api_timeout=timeout), clock=clock, backoff=0.0
    )
    from dashboard.web.security import limiter

    app.config["RATELIMIT_ENABLED"] = False
    limiter.enabled = False
    return FaultConsole(app, clock)


def fill(console: FaultConsole) -> None:
    """Fill a store with an administrator and one refresh of the fleet."""
    upgrade_schema(console.app)
    with console.app.app_context():
        users.create_user(WHO, "admin", PASSWORD, console.clock()).password_hash = PASSWORD_HASH
        db.session.commit()
    assert console.read_fleet().unreadable == {}


def closed(console: FaultConsole) -> None:
    """Close its connections to the store."""
    with console.app.app_context():
        db.session.remove()
        db.engine.dispose()
