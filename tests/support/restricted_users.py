"""A fleet in which every object that a restricted user may not see is named Outsider."""

from datetime import datetime

from flask import Flask
from sqlalchemy import Select, String, cast, literal, select, update

from dashboard.actions import service as actions
from dashboard.audit.models import AuditEntry
from dashboard.bulk import service as bulk
from dashboard.core.database import db
from dashboard.deliveries import service as deliveries
from dashboard.exports import service as exports
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.counters import recount
from dashboard.fleet.models import Account, Connection, Run
from dashboard.notes.models import Note
from dashboard.sql import service as query_runs
from dashboard.sql.models import SavedQuery
from dashboard.tables.search import service as searches
from dashboard.users import customer_access
from dashboard.users import service as users
from dashboard.webhooks.models import WebhookEvent

# The fleet has the accounts 1001 to 1060: cust-00001 to cust-00060.
CHOSEN = "cust-0001*\ncust-0002*\ncust-00003\nnorth-*"
INSIDE = {1003, *range(1010, 1030)}


def add_outsiders(app: Flask, at: datetime) -> dict[str, int]:
    """Restrict Olga and Viv; add every kind of object to an account that they may not see.

    Return the ids of these objects. Commits.
    """
    with app.app_context():
        _rename()
        recount()
        connection = db.session.scalars(
            select(Connection)
            .where(Connection.is_warehouse.is_(False), Connection.account_id.not_in(INSIDE))
            .order_by(Connection.account_id, Connection.id)
        ).first()
        assert connection is not None
        found = {
            "account_id": connection.account_id,
            "connection_id": connection.id,
            "run_id": 990_001,
            "database_id": 1,
            "table_id": 1,
            "row_id": 1,
        }
        found |= _findings()
        found |= _rows(connection, found, at)
        found |= _work(connection, at)
        for email in ("olga@example.com", "viv@example.com"):
            user = users.find_user(email)
            assert user is not None
            customer_access.limit(user, customer_access.read(CHOSEN))
        assert all(found.values()), found
        return found


def _rename() -> None:
    """Give all objects names that say whether restricted users may see them."""
    for accounts, name in (
        (Account.id.not_in(INSIDE), "Outsider "),
        (Account.id.in_(INSIDE), "Insider "),
    ):
        named = literal(name) + cast(Account.id, String)
        db.session.execute(update(Account).where(accounts).values(name=named))
    db.session.execute(
        update(Connection)
        .where(Connection.account_id.not_in(INSIDE))
        .values(name="Outsider’s", last_error="of an outsider")
    )
    db.session.execute(
        update(Finding)
        .where(Finding.account_id.not_in(INSIDE))
        .values(evidence="An outsider has this.")
    )
    db.session.execute(update(Cause).values(example="An outsider has this."))
    db.session.execute(
        update(Run).where(Run.account_id.not_in(INSIDE)).values(error="of an outsider")
    )


def _findings() -> dict[str, int]:
    """Return a cause of outsiders only, a shared cause, and a finding of an outsider."""
    inside = (
        select(Finding.id)
        .where(Finding.cause_id == Cause.id, Finding.account_id.in_(INSIDE))
        .exists()
    )
    current = select(Finding.cause_id).where(Finding.recovered_at.is_(None))
    visible = current.where(Finding.account_id.in_(INSIDE))
    hidden = current.where(Finding.account_id.not_in(INSIDE))
    both = select(Cause.id).where(Cause.id.in_(visible), Cause.id.in_(hidden))
    finding = select(Finding.id).where(Finding.account_id.not_in(INSIDE))
    return {
        "cause_id": _first(select(Cause.id).where(~inside)),
        "shared": _first(both),
        "finding_id": _first(finding),
    }


def _first(query: Select[int]) -> int:
    found = db.session.scalar(query.limit(1))
    assert found is not None
    return found


def _rows(connection: Connection, ids: dict[str, int], at: datetime) -> dict[str, int]:
    """Add a run, notes, an event, audit entries and a query."""
    key = {"account_id": connection.account_id, "connection_id": connection.id}
    author = {"at": at, "who": "adam@example.com"}
    run = Run(**key, id=ids["run_id"], status="ERROR", started_at=at, error="of an outsider")
    notes = [
        Note(account_id=connection.account_id, text="Outsider’s note", **author),
        Note(**key, text="Outsider’s note", **author),
        Note(cause_id=ids["shared"], text="Outsider called about this", **author),
        Note(cause_id=ids["cause_id"], text="Outsider called about this", **author),
    ]
    event = WebhookEvent(
        **key, key="outsider", received_at=at, event="outsider", body="{}", state="done"
    )
    done = {"result": "done", "detail": "Outsider", **author}
    entries = [
        AuditEntry(what="note", account_id=connection.account_id, **done),
        AuditEntry(what="outsider", **done),
    ]
    query = SavedQuery(name="all", text="select 1", parameters={}, **author)
    db.session.add_all([run, *notes, event, *entries, query])
    db.session.commit()
    return {"note_id": notes[0].id, "event_id": event.id, "query_id": query.id}


def _work(connection: Connection, at: datetime) -> dict[str, int]:
    """Add actions, a bulk job, a query run, an export, a search and a delivery."""
    adam, key = "adam@example.com", (connection.account_id, connection.id)
    action, _ = actions.start_action(
        actions.REAUTHORISE, connection, adam, at, why="Outsider waits"
    )
    action.state, action.url = actions.WAITING, "https://login.example.com/outsider"
    db.session.commit()
    sync, _ = actions.start_action(actions.SYNC, connection, adam, at, why="Outsider asked")
    actions.complete(sync, "done", at, "Outsider")
    job = bulk.open_job(bulk.NewJob("sync", [key], key, adam, "for Outsider", 1), at)
    olga = users.find_user("olga@example.com")
    assert olga is not None
    # Olga's own objects, from the time before her restriction.
    run = query_runs.start_run(
        olga, query_runs.NewRun("of Outsider", b"x", [key[0]], "of Outsider"), at
    )
    title = "Outsider’s table"
    export = exports.open_export(
        olga, exports.NewExport(key[0], 1, title, "csv", {}, [], [], title), at
    )
    search = searches.start(olga.email, connection, b"x", at)
    delivery = deliveries.request(key, adam, at)
    return {
        "action_id": action.id,
        "job_id": job.id,
        "question_id": run.id,
        "answer_id": query_runs.results_of(run.id)[0].id,
        "export_id": export.id,
        "search_id": search.id,
        "delivery_id": delivery.id,
    }
