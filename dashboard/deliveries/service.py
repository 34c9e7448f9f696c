"""Deliveries to the data hook: each started once, its progress, its end in the audit trail.

A delivery is ``waiting`` (for the first completed run), ``reading`` (the list of tables),
``sending`` (the tables, in parts), then ``delivered``. It is ``dead`` if it failed too often or no
run completed in time, ``cancelled`` if a user cancelled it. A dead or cancelled delivery can be
resumed with the first part that the hook has not accepted. A worker holds a lease; its writes
return False once it has lost the lease.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, case, select, tuple_, update
from sqlalchemy.orm import contains_eager

from dashboard.audit import service as audit
from dashboard.core import leases
from dashboard.core.database import change, db
from dashboard.core.search_text import with_folds
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.deliveries.models import Delivery
from dashboard.fleet.lists import CONNECTIONS
from dashboard.fleet.models import Account, Connection, ConnectionKey
from dashboard.listing.listing import Filter, Listing, shown_time

WAITING, READING, SENDING, DELIVERED, DEAD, CANCELLED = (
    "waiting",
    "reading",
    "sending",
    "delivered",
    "dead",
    "cancelled",
)
STATES: Final = (WAITING, READING, SENDING, DELIVERED, DEAD, CANCELLED)
OPEN: Final = (WAITING, READING, SENDING)
BY_EVENT: Final = "webhook"
# Renewed with each part. Longer than any part takes to read and to send.
LEASE = timedelta(minutes=10)


def start(connections: Iterable[ConnectionKey], who: str, at: datetime) -> list[int]:
    """Start the delivery of new connections, once each; return the ids of new deliveries.

    Does not commit: it belongs to the transaction of the event that reports the connection.
    """
    keys = {_key(connection): connection for connection in connections}
    if not keys:
        return []
    # From here on, other writers wait, so that no delivery is started twice.
    lock_snapshot()
    known = set(db.session.scalars(select(Delivery.key).where(Delivery.key.in_(keys))))
    new = {key: connection for key, connection in keys.items() if key not in known}
    return [_add(key, connection, who, at).id for key, connection in new.items()]


def request(connection: ConnectionKey, who: str, at: datetime) -> Delivery:
    """Return the connection's open delivery; start one if there is none. Commits."""
    lock_snapshot()
    query = _of(connection).order_by(Delivery.id)
    existing = db.session.scalars(query).all()
    found = next((each for each in existing if each.state in OPEN), None)
    if found is None:
        # Retention deletes the newest one last, so its number is never used again.
        key = _key(connection)
        if existing:
            last = existing[-1].key.removeprefix(key).lstrip("/")
            key += f"/{int(last or 0) + 1}"
        found = _add(key, connection, who, at)
    db.session.commit()
    return found


def _key(connection: ConnectionKey) -> str:
    return f"{connection[0]}/{connection[1]}"


def _of(connection: ConnectionKey) -> Select[Delivery]:
    return select(Delivery).where(
        Delivery.account_id == connection[0], Delivery.connection_id == connection[1]
    )


def _add(key: str, connection: ConnectionKey, who: str, at: datetime) -> Delivery:
    entry = audit.start(
        at,
        who,
        "deliver",
        account_id=connection[0],
        connection_id=connection[1],
        detail="Its tables for the hook, unmasked.",
    )
    delivery = Delivery(
        key=key,
        account_id=connection[0],
        connection_id=connection[1],
        who=who,
        audit_id=entry.id,
        state=WAITING,
        asked_at=at,
        waits_since=at,
        due_at=at,
    )
    db.session.add(delivery)
    db.session.flush()
    return delivery


def make_due(connections: Collection[ConnectionKey], at: datetime) -> list[int]:
    """Make deliveries due that wait for a run of these connections; return their ids.

    Does not commit.
    """
    if not connections:
        return []
    waiting = Delivery.state == WAITING, Delivery.due_at > at
    query = select(Delivery.id).where(
        *waiting, tuple_(Delivery.account_id, Delivery.connection_id).in_(list(connections))
    )
    ids = list(db.session.scalars(query))
    if ids:
        change(update(Delivery).where(Delivery.id.in_(ids), *waiting).values(due_at=at))
    return ids


def delivery_or_none(delivery_id: int) -> Delivery | None:
    """Return a delivery by its id."""
    return db.session.get(Delivery, delivery_id)


def latest_of(connection: ConnectionKey) -> Delivery | None:
    """Return a connection's newest delivery."""
    return db.session.scalar(_of(connection).order_by(Delivery.id.desc()).limit(1))


def due(at: datetime, most: int = 100) -> list[int]:
    """Return the ids of deliveries that are due and not leased, longest due first."""
    return leases.ready_ids(Delivery, at, most)


def lease(delivery_id: int, at: datetime) -> Delivery | None:
    """Lease a delivery that is due; None if it is not due or another worker has it. Commits.

    The row is detached from the session. An expired lease counts as a failed attempt, so that a
    delivery which kills its workers ends.
    """
    tries = Delivery.tries + case((Delivery.leased_until.is_(None), 0), else_=1)
    is_open = Delivery.state.in_(OPEN)
    delivery = leases.lease(Delivery, delivery_id, at, LEASE, [is_open], tries=tries)
    if delivery is not None:
        # Sending takes seconds: no transaction may stay open.
        db.session.expunge(delivery)
    db.session.rollback()
    return delivery


def save_progress(delivery: Delivery, at: datetime, **values: Any) -> bool:
    """Save progress and extend the lease. Commits.

    Returns:
        False if the lease is lost or the delivery was cancelled.
    """
    return _move(delivery, leased_until=at + LEASE, **values)


def reschedule(delivery: Delivery, due_at: datetime, **values: Any) -> bool:
    """Release the lease; any worker may continue at ``due_at``. Commits."""
    return _move(delivery, due_at=due_at, leased_until=None, **values)


def complete(delivery: Delivery, state: str, at: datetime, **values: Any) -> bool:
    """Complete a delivery, also in the audit trail. ``values``: such as ``error``. Commits."""
    completed = _move(
        delivery,
        commit=False,
        state=state,
        settled_at=at,
        due_at=None,
        leased_until=None,
        **values,
    )
    if completed:
        summary = [
            f"{delivery.rows:,} rows of {len(delivery.tables or ())} tables handed over.",
            delivery.error,
            *delivery.remarks,
        ]
        result = audit.DONE if state == DELIVERED else audit.FAILED
        audit.complete(delivery.audit_id, result, " ".join(filter(None, summary)), at)
    db.session.commit()
    return completed


def _move(delivery: Delivery, *, commit: bool = True, **values: Any) -> bool:
    """Write values of a leased delivery, to the database and to the object; False if it is lost."""
    leased = update(Delivery).where(
        Delivery.id == delivery.id,
        Delivery.state.in_(OPEN),
        Delivery.leased_until == delivery.leased_until,
    )
    moved = change(leased.values(with_folds(Delivery, values)))
    if commit:
        db.session.commit()
    if moved:
        for name, value in values.items():
            setattr(delivery, name, value)
    return bool(moved)


def send_again(delivery: Delivery, who: str, at: datetime) -> bool:
    """Resume a dead or cancelled delivery; return False if it is neither. Commits."""
    state = (
        SENDING
        if delivery.tables is not None
        else READING
        if delivery.run_id is not None
        else WAITING
    )
    connection = {"account_id": delivery.account_id, "connection_id": delivery.connection_id}
    detail = f"Delivery {delivery.id} goes on."
    entry = audit.start(at, who, "send_delivery", detail=detail, **connection)
    ended = update(Delivery).where(
        Delivery.id == delivery.id, Delivery.state.in_((DEAD, CANCELLED))
    )
    fresh = {
        "tries": 0,
        "looks": 0,
        "waits_since": at,
        "due_at": at,
        "settled_at": None,
        "error": "",
    }
    resumed = change(
        ended.values(with_folds(Delivery, {"state": state, "audit_id": entry.id, **fresh}))
    )
    if resumed:
        db.session.commit()
        db.session.refresh(delivery)
    else:
        db.session.rollback()
    return bool(resumed)


def cancel(delivery: Delivery, who: str, at: datetime) -> bool:
    """Cancel an open delivery; return False if it has ended. Commits.

    A worker that sends it stops after the current part, since its next write fails.
    """
    is_open = update(Delivery).where(Delivery.id == delivery.id, Delivery.state.in_(OPEN))
    values = {"state": CANCELLED, "settled_at": at, "due_at": None, "leased_until": None}
    cancelled = change(is_open.values(values))
    if cancelled:
        audit.complete(delivery.audit_id, audit.FAILED, f"Cancelled by {who}.", at)
    db.session.commit()
    db.session.refresh(delivery)
    return bool(cancelled)


DELIVERIES = Listing(
    statement=select(Delivery)
    .outerjoin(Delivery.account)
    .outerjoin(Delivery.connection)
    .options(
        contains_eager(Delivery.account).load_only(Account.name, Account.external_id),
        contains_eager(Delivery.account).lazyload(Account.check),
        contains_eager(Delivery.connection).load_only(Connection.name, Connection.connector),
    ),
    search=(*CONNECTIONS.search, Delivery.error_folded, Delivery.who_folded),
    exact=(Delivery.account_id, Delivery.connection_id),
    filters={
        "state": Filter(Delivery.state, "State", STATES),
        "account": Filter(Delivery.account_id, "Account", number=True, counted=False),
        "connection": Filter(Delivery.connection_id, "Connection", number=True, counted=False),
    },
    sorts={
        "asked": (Delivery.asked_at, Delivery.id),
        "settled": (Delivery.settled_at, Delivery.id),
        "rows": (Delivery.rows, Delivery.id),
        "tries": (Delivery.tries, Delivery.id),
    },
    default_sort="-asked",
)


def serialize_delivery(delivery: Delivery) -> dict[str, Any]:
    """Return one delivery as JSON fields."""
    return {
        "id": delivery.id,
        "account_id": delivery.account_id,
        "account_name": delivery.account.name if delivery.account else None,
        "connection_id": delivery.connection_id,
        "connection_name": delivery.connection.name if delivery.connection else None,
        "state": delivery.state,
        "who": delivery.who,
        "run_id": delivery.run_id,
        "tables": len(delivery.tables) if delivery.tables is not None else None,
        "parts": delivery.parts,
        "rows": delivery.rows,
        "tries": delivery.tries,
        "error": delivery.error,
        "remarks": " ".join(delivery.remarks),
        "asked_at": shown_time(delivery.asked_at),
        "due_at": shown_time(delivery.due_at),
        "settled_at": shown_time(delivery.settled_at),
    }
