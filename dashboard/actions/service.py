"""Actions started by users: sync, reauthorise, bank refresh, invite.

The row is committed before the API is called, polled while the action runs, and completed once.

States: ``starting`` (stored, no response yet), ``running``, ``unknown`` (the response was lost; a
poll finds out), ``waiting`` (the customer has to follow a link). End states: ``done``, ``failed``,
``stuck``, ``superseded``. ``actions.outcomes`` assesses what a completed action changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update

from dashboard.actions import outcomes
from dashboard.actions.models import Action
from dashboard.audit import service as audit
from dashboard.audit.models import AuditEntry
from dashboard.core import leases, row_access
from dashboard.core.database import add_if_new, change, db
from dashboard.core.text import comparable
from dashboard.findings import queries as finding_queries
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.models import Account, Connection

SYNC, REAUTHORISE, BANK_REFRESH, INVITE = "sync", "reauthorise", "saltedge_refresh", "invite"
# Actions that produce a link for the customer.
LINKS = (REAUTHORISE, BANK_REFRESH, INVITE)
STARTING, RUNNING, UNKNOWN, WAITING = "starting", "running", "unknown", "waiting"
# End states with their results in the audit trail.
ENDS = {
    "done": audit.DONE,
    "failed": audit.FAILED,
    "stuck": audit.UNKNOWN,
    "superseded": audit.UNKNOWN,
}
LEASE = timedelta(seconds=60)


@dataclass(frozen=True)
class ActionRequest:
    """Who starts an action, when and why.

    ``interval``: seconds between the first polls. ``why``: a line of the user's, or "".
    ``on_create``: called with a new action before its first commit. If it raises, nothing is sent
    to Peliqan and the caller rolls back.
    """

    who: str
    at: datetime
    interval: float
    why: str = ""
    on_create: Callable[[Action], None] | None = None


def start_action(
    kind: str,
    connection: Connection,
    who: str,
    at: datetime,
    why: str = "",
    on_create: Callable[[Action], None] | None = None,
) -> tuple[Action, bool]:
    """Store a new action with its audit entry and the connection's worst finding. Commits.

    Returns the action and True, or the action of this kind that is in flight and False. ``why``
    and ``on_create``: see ``ActionRequest``.
    """
    account_id, connection_id = connection.account_id, connection.id
    why = " ".join(why.replace("\0", "").split())[:500]
    worst = next(iter(finding_queries.of_connection(account_id, connection_id)), None)
    last_run = fleet_runs.newest_id(account_id, connection_id) if kind == SYNC else None
    ids = {"account_id": account_id, "connection_id": connection_id}
    entry = audit.start(at, who, kind, **ids, detail=_audit_detail(why, ""))
    action = add_if_new(
        Action(
            kind=kind,
            state=STARTING,
            in_flight=f"{account_id}/{connection_id}/{kind}",
            **ids,
            audit_id=entry.id,
            started_by=who,
            started_at=at,
            # If this process dies before the response, a worker polls the action then.
            due_at=at + LEASE,
            status_before=connection.status,
            last_run_before=last_run,
            why=why,
            connector=connection.connector,
        )
    )
    if action is None:
        db.session.rollback()
        existing = in_flight(account_id, connection_id, kind)
        if existing is None:
            # The other action ended after the failed insert, so this request still belongs to it.
            existing = latest(account_id, connection_id, 1)[0]
        return existing, False
    if worst is not None:
        action.rule, action.severity_before = worst.rule, worst.severity
        action.cause_id = worst.cause_id
    if on_create is not None:
        on_create(action)
    db.session.commit()
    return action, True


def complete(action: Action, state: str, at: datetime, detail: str = "") -> None:
    """Store an action's end state, its outcome and the audit result; delete its link. Commits.

    The outcome is taken from the snapshot: read the connection before the call.
    """
    action.state, action.settled_at, action.detail = state, at, detail[:2000]
    action.in_flight = action.due_at = action.leased_until = action.url = None
    with row_access.unrestricted():
        entry = db.session.get_one(AuditEntry, action.audit_id)
    entry.result, entry.settled_at = ENDS[state], at
    entry.detail = _audit_detail(action.why, detail)[:2000]
    outcomes.record_outcome(action)
    db.session.commit()


def lease(action_id: int, at: datetime) -> Action | None:
    """Lease a due action for 60 seconds; return None if it is not due or leased. Commits.

    The lease excludes all other processes, so only one polls an action at a time.
    """
    return leases.lease(Action, action_id, at, LEASE, [Action.settled_at.is_(None)])


def reschedule(action: Action, until: datetime) -> None:
    """Set when the action is polled next, and release its lease. Commits."""
    action.due_at, action.leased_until = until, None
    db.session.commit()


def due(at: datetime, most: int = 500) -> list[int]:
    """Return ids of actions to poll now, the longest due first."""
    return leases.ready_ids(Action, at, most)


def make_due(ended: Mapping[tuple[int, int], int], at: datetime) -> list[int]:
    """Make actions due whose runs ended, and return their ids. Does not commit.

    ``ended``: the latest ended run by account and connection id; 0 if its id is not known.
    """
    if not ended:
        return []
    current = select(Action.id, Action.account_id, Action.connection_id, Action.run_id).where(
        Action.in_flight.is_not(None),
        Action.account_id.in_({account_id for account_id, _ in ended}),
    )
    found = [
        row.id
        for row in db.session.execute(current)
        if (run_id := ended.get((row.account_id, row.connection_id))) is not None
        and (row.run_id is None or not run_id or run_id >= row.run_id)
    ]
    # A locked row is being polled: that poll notices the event and schedules another.
    free = (
        select(Action.id)
        .where(Action.id.in_(found), Action.due_at > at)
        .with_for_update(skip_locked=True)
        .cte("free")
    )
    change(update(Action).where(Action.id.in_(select(free.c.id))).values(due_at=at))
    return found


def in_flight(account_id: int, connection_id: int, kind: str) -> Action | None:
    """Return the unfinished action of this kind on the connection."""
    return db.session.scalar(
        select(Action).where(Action.in_flight == f"{account_id}/{connection_id}/{kind}")
    )


def latest(account_id: int, connection_id: int, most: int = 10) -> list[Action]:
    """Return the actions on a connection, newest first."""
    mine = select(Action).where(
        Action.account_id == account_id, Action.connection_id == connection_id
    )
    return list(db.session.scalars(mine.order_by(Action.id.desc()).limit(most)))


def _audit_detail(why: str, detail: str) -> str:
    return " · ".join(part for part in (f"Why: {why}" if why else "", detail) if part)


def start_invite(account: Account, connector: str, who: str, at: datetime) -> tuple[Action, bool]:
    """Store an invite to connect something. Commits; returns like ``start_action``."""
    entry = audit.start(at, who, INVITE, account_id=account.id, detail=connector)
    action = add_if_new(
        Action(
            kind=INVITE,
            state=STARTING,
            in_flight=_invite_key(account.id, connector),
            account_id=account.id,
            connection_id=0,
            audit_id=entry.id,
            started_by=who,
            started_at=at,
            due_at=at + LEASE,
            connector=connector,
        )
    )
    if action is None:
        db.session.rollback()
        # The invite that prevented the insert is the newest one, even if it has just ended.
        mine = (
            select(Action)
            .where(Action.account_id == account.id, Action.kind == INVITE)
            .order_by(Action.id.desc())
        )
        wanted = comparable(connector)
        return next(
            each for each in db.session.scalars(mine) if comparable(each.connector) == wanted
        ), False
    db.session.commit()
    return action, True


def invite_in_flight(account_id: int, connector: str) -> Action | None:
    """Return the unfinished invite of this account to connect this connector."""
    return db.session.scalar(
        select(Action).where(Action.in_flight == _invite_key(account_id, connector))
    )


def _invite_key(account_id: int, connector: str) -> str:
    # The column holds 128 characters, and folding may lengthen a connector's name.
    return f"{account_id}/{comparable(connector)[:90]}/{INVITE}"
