"""The lists of bulk jobs and of one job's connections."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import contains_eager, load_only

from dashboard.actions.models import Action
from dashboard.bulk import service as bulk
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.core.database import db
from dashboard.fleet.lists import CONNECTIONS
from dashboard.fleet.models import Account, Connection
from dashboard.listing.listing import Filter, Listing, shown_time


def _count(*states: str) -> ColumnElement[int]:
    mine = select(func.count()).where(BulkItem.job_id == BulkJob.id)
    return (
        (mine.where(BulkItem.state.in_(states)) if states else mine)
        .correlate(BulkJob)
        .scalar_subquery()
    )


# Each row: the job, the number of its connections, and of those in each result.
JOBS = Listing(
    statement=select(
        BulkJob,
        _count().label("connections"),
        _count(bulk.DONE).label("done"),
        _count(bulk.NO_EFFECT).label("no_effect"),
        _count(bulk.FAILED).label("failed"),
        _count(bulk.WAITING, bulk.RUNNING).label("left"),
    ),
    search=(BulkJob.words,),
    exact=(BulkJob.id,),
    filters={
        "state": Filter(BulkJob.state, "State", bulk.STATES),
        "kind": Filter(BulkJob.kind, "What", bulk.KINDS),
        "who": Filter(BulkJob.who, "Who"),
    },
    sorts={"started": (BulkJob.started_at, BulkJob.id), "who": (BulkJob.who, BulkJob.id)},
    default_sort="-started",
)


def serialize_job(row: Any) -> dict[str, Any]:
    """Return a row of ``JOBS`` as a JSON object."""
    job: BulkJob = row.BulkJob
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "who": job.who,
        "why": job.why,
        "cause_id": job.cause_id,
        "connections": row.connections,
        "done": row.done,
        "no_effect": row.no_effect,
        "failed": row.failed,
        "left": row.left,
        "started_at": shown_time(job.started_at),
        "ended_at": shown_time(job.ended_at),
    }


_ITEMS = (
    select(BulkItem, Connection, Action)
    .join(
        Connection,
        and_(Connection.account_id == BulkItem.account_id, Connection.id == BulkItem.connection_id),
    )
    .join(Connection.account)
    .outerjoin(Action, Action.id == BulkItem.action_id)
    .options(
        load_only(Connection.name, Connection.connector, Connection.status, Connection.severity),
        contains_eager(Connection.account).load_only(Account.name, Account.external_id),
        contains_eager(Connection.account).lazyload(Account.check),
    )
)


def items_of(job_id: int) -> Listing:
    """Return the list of a job's items with their connections and actions."""
    return Listing(
        statement=_ITEMS.where(BulkItem.job_id == job_id),
        search=(*CONNECTIONS.search, BulkItem.detail_folded),
        exact=(BulkItem.account_id, BulkItem.connection_id),
        filters={
            "state": Filter(BulkItem.state, "Result", bulk.ITEM_STATES),
            "connector": Filter(Connection.connector, "Connector"),
        },
        sorts={
            "number": (BulkItem.id,),
            "account": (Account.name_folded, Account.id, BulkItem.id),
            "state": (BulkItem.state, BulkItem.id),
            "settled": (BulkItem.settled_at, BulkItem.id),
        },
        default_sort="number",
    )


def one_item(item_id: int) -> Any:
    """Return one row of ``items_of``."""
    return db.session.execute(_ITEMS.where(BulkItem.id == item_id)).one()


def waiting_items(job_id: int, most: int) -> Sequence[Any]:
    """Return the first waiting items, as rows of ``items_of``."""
    waiting = _ITEMS.where(BulkItem.job_id == job_id, BulkItem.state == bulk.WAITING)
    return db.session.execute(waiting.order_by(BulkItem.id).limit(most)).all()


def links_of(job_id: int) -> Sequence[Any]:
    """Return the items whose link waits for a customer, as rows of ``items_of``."""
    return db.session.execute(
        _ITEMS.where(BulkItem.job_id == job_id, Action.url.is_not(None)).order_by(BulkItem.id)
    ).all()


def serialize_item(row: Any) -> dict[str, Any]:
    """Return a row of ``items_of`` as a JSON object, without its link.

    Viewers read this list, and links are for operators.
    """
    item, connection, action = row
    return {
        "account_id": item.account_id,
        "account_name": connection.account.name,
        "external_id": connection.account.external_id,
        "connection_id": item.connection_id,
        "name": connection.name,
        "connector": connection.connector,
        "status": connection.status,
        "result": item.state,
        "detail": item.detail,
        "run_id": action.run_id if action is not None else None,
        "run_status": action.run_status if action is not None else None,
        "records": action.records if action is not None else None,
        "started_at": shown_time(action.started_at) if action is not None else None,
        "settled_at": shown_time(item.settled_at),
    }
