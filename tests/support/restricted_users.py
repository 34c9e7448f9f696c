"""A fleet with names that give themselves away: what a limited person may not see is called Outsider."""

from datetime import datetime

from flask import Flask
from sqlalchemy import String, cast, literal, select, update

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
from dashboard.users import scopes
from dashboard.users import service as users
from dashboard.webhooks.models import WebhookEvent

# Accounts 1001 to 1060 are there, cust-00001 to cust-00060.
CHOSEN = "cust-0001*\ncust-0002*\ncust-00003\nnorth-*"
INSIDE = {1003, *range(1010, 1030)}


def add_outsiders(app: Flask, at: datetime) -> dict[str, int]:
    """Olga and Viv see a few customers. Everything that can be kept of an account is kept of one that they do not see: its ids."""
    with app.app_context():
        db.session.execute(
            update(Account)
            .where(Account.id.not_in(INSIDE))
            .values(name=literal("Outsider ") + cast(Account.id, String))
        )
        db.session.execute(
            update(Account)
            .where(Account.id.in_(INSIDE))
            .values(name=literal("Insider ") + cast(Account.id, String))
        )
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
        recount()
        shown = select(Connection).where(
            Connection.is_warehouse.is_(False), Connection.account_id.not_in(INSIDE)
        )
        connection = db.session.scalars(
            shown.order_by(Connection.account_id, Connection.id)
        ).first()
        assert connection is not None
        account_id, connection_id = place = connection.account_id, connection.id
        mine = select(Cause.id).where(
            ~select(Finding.id)
            .where(Finding.cause_id == Cause.id, Finding.account_id.in_(INSIDE))
            .exists()
        )
        cause_id = db.session.scalar(mine.limit(1))
        unsettled = select(Finding.cause_id).where(Finding.recovered_at.is_(None))
        theirs, others = (
            unsettled.where(Finding.account_id.in_(INSIDE)),
            unsettled.where(Finding.account_id.not_in(INSIDE)),
        )
        shared = db.session.scalar(
            select(Cause.id).where(Cause.id.in_(theirs), Cause.id.in_(others)).limit(1)
        )
        finding = db.session.scalars(
            select(Finding).where(Finding.account_id.not_in(INSIDE)).limit(1)
        ).one()
        run = Run(
            account_id=account_id,
            connection_id=connection_id,
            id=990_001,
            status="ERROR",
            started_at=at,
            error="of an outsider",
        )
        notes = [
            Note(account_id=account_id, at=at, who="adam@example.com", text="Outsider’s note"),
            Note(
                account_id=account_id,
                connection_id=connection_id,
                at=at,
                who="adam@example.com",
                text="Outsider’s note",
            ),
            Note(cause_id=shared, at=at, who="adam@example.com", text="Outsider called about this"),
            Note(
                cause_id=cause_id, at=at, who="adam@example.com", text="Outsider called about this"
            ),
        ]
        event = WebhookEvent(
            key="outsider",
            received_at=at,
            event="outsider",
            account_id=account_id,
            connection_id=connection_id,
            body="{}",
            state="done",
        )
        entry = AuditEntry(
            at=at,
            who="adam@example.com",
            what="note",
            result="done",
            account_id=account_id,
            detail="Outsider",
        )
        whole = AuditEntry(
            at=at, who="adam@example.com", what="outsider", result="done", detail="Outsider"
        )
        query = SavedQuery(
            name="all", text="select 1", parameters={}, who="adam@example.com", at=at
        )
        db.session.add_all([run, *notes, event, entry, whole, query])
        db.session.commit()
        action, _ = actions.start_action(
            actions.REAUTHORISE, connection, "adam@example.com", at, why="Outsider waits"
        )
        action.state, action.url = actions.WAITING, "https://login.example.com/outsider"
        db.session.commit()
        actions.complete(
            actions.start_action(
                actions.SYNC, connection, "adam@example.com", at, why="Outsider asked"
            )[0],
            "done",
            at,
            "Outsider",
        )
        job = bulk.open_job("sync", [place], place, "adam@example.com", "for Outsider", 1, at)
        olga = users.find_user("olga@example.com")
        assert olga is not None
        # Hers from before she was limited.
        question = query_runs.start_run(
            olga, query_runs.NewRun("of Outsider", b"x", [account_id], "of Outsider"), at
        )
        export = exports.open_export(
            olga,
            exports.NewExport(
                account_id, 1, "Outsider’s table", "csv", {}, [], [], "Outsider’s table"
            ),
            at,
        )
        search = searches.start("olga@example.com", connection, b"x", at)
        delivery = deliveries.request(place, "adam@example.com", at)
        found = {
            "account_id": account_id, "connection_id": connection_id, "cause_id": cause_id, "finding_id": finding.id,
            "action_id": action.id, "job_id": job.id, "question_id": question.id,
            "answer_id": query_runs.results_of(question.id)[0].id, "export_id": export.id, "search_id": search.id,
            "note_id": notes[0].id, "run_id": 990_001, "database_id": 1, "table_id": 1, "row_id": 1, "event_id": event.id,
            "query_id": query.id, "delivery_id": delivery.id, "shared": shared,
        }  # fmt: skip
        for name in ("olga@example.com", "viv@example.com"):
            user = users.find_user(name)
            assert user is not None
            scopes.limit(user, scopes.read(CHOSEN))
        assert all(found.values()), found
        return found
