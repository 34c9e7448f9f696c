"""One of each object that users can make, made through its form, with a text in every field."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from dashboard.actions import service as actions
from dashboard.actions.tasks import poll_action
from dashboard.alerts.models import AlertRule
from dashboard.bulk import service as bulk
from dashboard.bulk.tasks import step_bulk_job
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.exports.models import Export
from dashboard.exports.tasks import write_export
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Connection, Run
from dashboard.pulls import service as pulls
from dashboard.pulls.tasks import run_pull
from dashboard.sql import service as query_runs
from dashboard.sql.models import SavedQuery
from dashboard.sql.tasks import run_query
from dashboard.webhooks.tasks import process_events
from tests.security.route_requests import ACCOUNT, TABLE
from tests.support.people import Person
from tests.support.webhook_sender import ADDRESS


def fields_of(person: Person, page: str, action: str) -> dict[str, Any]:
    """Return the fields of the form with this action, as a browser sends it untouched."""
    form = next(
        each
        for each in person.get(page).select("form[method=post]")
        if str(each["action"]).partition("#")[0] == action
    )
    found: dict[str, Any] = {}
    for field in form.select("input[name], textarea[name], select[name]"):
        if field.get("type") in {"checkbox", "radio"} and not field.has_attr("checked"):
            continue
        options = field.select("option[selected]") or field.select("option")
        value = options[0].get("value", "") if options else field.get("value", field.text)
        found.setdefault(str(field["name"]), []).append(str(value))
    return found


def send(person: Person, page: str, action: str, *accepted: int, **typed: str) -> TestResponse:
    """Fill in the form and send it; the status must be one of ``accepted``."""
    response = person.client.post(action, data={**fields_of(person, page, action), **typed})
    assert response.status_code in (accepted or {302, 303}), (
        f"{action}: {response.status_code}\n{response.text[:2000]}"
    )
    return response


def work(app: Flask, folder: Path) -> None:
    """Process all pending work as workers do."""
    services: Services = app.extensions["services"]
    with app.app_context():
        at = services.clock()
        for answer_id in query_runs.due(at):
            run_query(answer_id)
        for export_id in db.session.scalars(select(Export.id)).all():
            write_export(export_id)
        for schedule_id in pulls.due(at):
            run_pull(schedule_id)
        for job_id in bulk.due(at):
            step_bulk_job(job_id)
        for action_id in actions.due(at):
            poll_action(action_id)
        process_events()
        db.session.remove()


@dataclass(frozen=True)
class _Pages:
    """Addresses of the stored objects on which users act.

    ``oauth``: a connection of another account that signs in by OAuth.
    """

    connection_id: int
    cause: str
    finding: str
    oauth: str

    @property
    def connection(self) -> str:
        return f"/accounts/{ACCOUNT}/connections/{self.connection_id}"


def _pages(app: Flask) -> _Pages:
    with app.app_context():
        runs = select(Run).where(Run.account_id == ACCOUNT).order_by(Run.id.desc())
        run = db.session.scalars(runs).first()
        cause_id = db.session.scalars(select(Cause.id).order_by(Cause.id.desc())).first()
        finding_id = db.session.scalars(select(Finding.id).order_by(Finding.id.desc())).first()
        oauth = db.session.scalars(
            select(Connection).where(
                Connection.auth_type == "oauth2", Connection.account_id != ACCOUNT
            )
        ).first()
        assert run is not None
        assert cause_id is not None
        assert finding_id is not None
        assert oauth is not None
        return _Pages(
            run.connection_id,
            f"/causes/{cause_id}",
            f"/findings/{finding_id}",
            f"/accounts/{oauth.account_id}/connections/{oauth.id}",
        )


def make_one_of_each(
    app: Flask, olga: Person, adam: Person, folder: Path, text: str, column: str = ""
) -> None:
    """Make one of each object. ``column``: of the table with all types, to mask."""
    pages, account = _pages(app), f"/accounts/{ACCOUNT}"
    Person(app.test_client()).post(
        "/login", page="/login", email=text, password="whatever it may be"
    )
    for page in (account, pages.connection, pages.cause):
        olga.post(f"{page}/notes", text=text)
    olga.post(f"{account}/owner", do="take")
    olga.post(f"{pages.connection}/sync", why=text)
    olga.post(f"{pages.connection}/read")
    olga.post(f"{pages.oauth}/reauthorise", why=text)
    olga.post(f"{account}/invite", connector=text[:40].replace("\x1b", ""))
    olga.post(f"{pages.connection}/search", value=text)
    olga.post("/me/tokens", name=text)
    adam.post(f"{pages.finding}/suppress", days="1", reason=text)
    olga.post(f"/accounts/{ACCOUNT}/tables/{TABLE}/reveal", why=text)
    if column:
        adam.post(f"/accounts/{ACCOUNT}/tables/{TABLE}/masks", column=column, decision="mask")
    for suffix in ("csv", "jsonl"):
        adam.post(f"/accounts/{ACCOUNT}/tables/{TABLE}/exports", format=suffix)
    send(olga, "/queries/new", "/queries", name=text[:60], text=f"select 1 as one -- {text}")
    saved = newest(app, SavedQuery)
    send(adam, f"/queries/{saved}?q={ACCOUNT}", f"/queries/{saved}/ask")
    olga.post(f"{account}/sql", text=f'select * from "Everything" -- {text}')
    adam.post(f"{account}/warehouse", address=text)
    send(adam, "/alerts/new", "/alerts", name=text, address="json://127.0.0.1:9/hook", sends="new")
    adam.post(f"/alerts/{newest(app, AlertRule)}/test")
    _make_pull(adam, folder, text)
    bulk_new = f"/bulk/new?which=ticked&kind=sync&c=1002-{_connection_of(app, 1002)}"
    send(olga, bulk_new, "/bulk", why=text)
    event = {
        "event": text,
        "event_id": text,
        "status": text,
        "account_id": ACCOUNT,
        "server_id": pages.connection_id,
        "more": text,
    }
    assert app.test_client().post(ADDRESS, json=event).status_code == 204
    work(app, folder)


def _make_pull(adam: Person, folder: Path, text: str) -> None:
    copies = folder.with_name(f"{folder.name}-copies")
    copies.mkdir(exist_ok=True)
    address = f"sqlite:///{copies}/{text[:20].replace('/', '')}.db"
    fields = {"name": text, "address": address, "accounts": str(ACCOUNT), "tables": str(TABLE)}
    send(adam, "/pulls/new", "/pulls", **fields)


def newest(app: Flask, model: Any) -> int:
    with app.app_context():
        found: int = db.session.scalars(select(model.id).order_by(model.id.desc())).first()  # type: ignore[assignment]
        return found


def _connection_of(app: Flask, account_id: int) -> int:
    with app.app_context():
        wanted = select(Connection.id).where(
            Connection.account_id == account_id, Connection.is_warehouse.is_(False)
        )
        found = db.session.scalars(wanted).first()
        assert found is not None
        return found
