"""What agents start at Peliqan: written down before it is tried, looked at while it lasts, settled once.

States: ``starting`` (written down, not answered yet), ``running``, ``unknown`` (no answer came; being found out),
``waiting`` (a person has to do something: follow a link), and the ends ``done``, ``failed``, ``stuck``, ``superseded``.
What came of it is judged with its end (``actions.outcomes``).
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import select, update

from dashboard.actions import outcomes
from dashboard.actions.models import Action
from dashboard.audit import service as audit
from dashboard.audit.models import AuditEntry
from dashboard.core import row_access
from dashboard.core.database import add_if_new, change, db, is_free
from dashboard.core.text import comparable
from dashboard.findings import queries as finding_queries
from dashboard.fleet.models import Account, Connection

SYNC, REAUTHORISE, BANK_REFRESH, INVITE = "sync", "reauthorise", "saltedge_refresh", "invite"
# What gives a link for a customer to follow.
LINKS = (REAUTHORISE, BANK_REFRESH, INVITE)
STARTING, RUNNING, UNKNOWN, WAITING = "starting", "running", "unknown", "waiting"
ENDS = {
    "done": audit.DONE,
    "failed": audit.FAILED,
    "stuck": audit.UNKNOWN,
    "superseded": audit.UNKNOWN,
}
LEASE = timedelta(seconds=60)


def start_action(
    kind: str,
    connection: Connection,
    who: str,
    at: datetime,
    last_run_before: int | None = None,
    why: str = "",
    along: Callable[[Action], None] | None = None,
) -> tuple[Action, bool]:
    """Write down that an action is about to be tried, with its audit entry and what is wrong just now, and commit.

    ``why``: a line of the person's, or nothing.
    Returns the action and whether it is new: while one of its kind is in flight on the connection, that one is returned.
    ``along``: writes down in the same transaction what the new action is for; should it raise, nothing has begun (the caller
    rolls back).
    """
    account_id, connection_id = connection.account_id, connection.id
    why = " ".join(why.replace("\0", "").split())[:500]
    worst = next(iter(finding_queries.of_connection(account_id, connection_id)), None)
    entry = audit.begin(
        at, who, kind, account_id=account_id, connection_id=connection_id, detail=_told(why, "")
    )
    action = add_if_new(
        Action(
            kind=kind,
            state=STARTING,
            in_flight=f"{account_id}/{connection_id}/{kind}",
            account_id=account_id,
            connection_id=connection_id,
            audit_id=entry.id,
            started_by=who,
            started_at=at,
            # Should this process die before it has an answer, a worker finds out what became of it.
            due_at=at + LEASE,
            status_before=connection.status,
            last_run_before=last_run_before,
            why=why,
            connector=connection.connector,
            rule=worst.rule if worst is not None else None,
            severity_before=worst.severity if worst is not None else None,
            cause_id=worst.cause_id if worst is not None else None,
        )
    )
    if action is None:
        db.session.rollback()
        existing = in_flight(account_id, connection_id, kind)
        if existing is None:
            # It ended between our try and our look: then this press came while that one was still in flight.
            existing = latest(account_id, connection_id, 1)[0]
        return existing, False
    if along is not None:
        along(action)
    db.session.commit()
    return action, True


def complete(action: Action, state: str, at: datetime, detail: str = "") -> None:
    """Write an action's end, what came of it, and the audit entry's result, in one commit. The link it gave is forgotten.

    What came of it is told by the snapshot: read the connection first.
    """
    action.state, action.settled_at, action.detail = state, at, detail[:2000]
    action.in_flight = action.due_at = action.leased_until = action.url = None
    with row_access.unrestricted():
        entry = db.session.get_one(AuditEntry, action.audit_id)
    entry.result, entry.settled_at, entry.detail = ENDS[state], at, _told(action.why, detail)[:2000]
    outcomes.record_outcome(action)
    db.session.commit()


def lease(action_id: int, at: datetime) -> Action | None:
    """The action, if it is due and nobody else looks at it: at most one look at a time, over all processes."""
    taken = db.session.execute(
        update(Action)
        .where(
            Action.id == action_id,
            Action.settled_at.is_(None),
            Action.due_at <= at,
            is_free(Action, at),
        )
        .values(leased_until=at + LEASE)
        .returning(Action.id)
    ).first()
    db.session.commit()
    if taken is None:
        return None
    action = db.session.get(Action, action_id)
    if action is not None:
        db.session.refresh(action)
    return action


def reschedule(action: Action, until: datetime) -> None:
    """Nothing decided: look again then. Commits."""
    action.due_at, action.leased_until = until, None
    db.session.commit()


def due(at: datetime, most: int = 500) -> list[int]:
    """Ids of the actions that should be looked at now."""
    return list(
        db.session.scalars(
            select(Action.id)
            .where(Action.due_at <= at, is_free(Action, at))
            .order_by(Action.due_at)
            .limit(most)
        )
    )


def make_due(ended: Mapping[tuple[int, int], int], at: datetime) -> list[int]:
    """Runs of these connections have ended, the latest with these ids (0: not known): look at what waits for that now.

    Ids of the actions that are due. Does not commit.
    """
    if not ended:
        return []
    under_way = select(Action.id, Action.account_id, Action.connection_id, Action.run_id).where(
        Action.in_flight.is_not(None),
        Action.account_id.in_({account_id for account_id, _ in ended}),
    )
    found = [
        row.id
        for row in db.session.execute(under_way)
        if (run_id := ended.get((row.account_id, row.connection_id))) is not None
        and (row.run_id is None or not run_id or run_id >= row.run_id)
    ]
    # One that is just being written is looked at by somebody, who will see what was told.
    free = (
        select(Action.id)
        .where(Action.id.in_(found), Action.due_at > at)
        .with_for_update(skip_locked=True)
        .cte("free")
    )
    change(update(Action).where(Action.id.in_(select(free.c.id))).values(due_at=at))
    return found


def in_flight(account_id: int, connection_id: int, kind: str) -> Action | None:
    """The action of this kind that is under way on the connection."""
    return db.session.scalar(
        select(Action).where(Action.in_flight == f"{account_id}/{connection_id}/{kind}")
    )


def latest(account_id: int, connection_id: int, most: int = 10) -> list[Action]:
    """What was started here and by whom, newest first."""
    mine = select(Action).where(
        Action.account_id == account_id, Action.connection_id == connection_id
    )
    return list(db.session.scalars(mine.order_by(Action.id.desc()).limit(most)))


def _told(why: str, detail: str) -> str:
    """What the audit entry says: the person's line, and the result."""
    return " · ".join(part for part in (f"Why: {why}" if why else "", detail) if part)


def start_invite(account: Account, connector: str, who: str, at: datetime) -> tuple[Action, bool]:
    """Write down that a customer is about to be invited to connect something, and commit; returns as ``start_action`` does."""
    entry = audit.begin(at, who, INVITE, account_id=account.id, detail=connector)
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
        # Of those that are under way or ended just now, the one that was in our way is the newest.
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
    """The invite of this account to connect this that is under way."""
    return db.session.scalar(
        select(Action).where(Action.in_flight == _invite_key(account_id, connector))
    )


def _invite_key(account_id: int, connector: str) -> str:
    # In 128 characters, whatever its folding makes of a connector's name.
    return f"{account_id}/{comparable(connector)[:90]}/{INVITE}"
