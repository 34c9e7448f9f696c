"""New connections whose tables go to the partner's hook: each begun once, how far it is, its end in the audit trail.

A delivery is ``waiting`` (for the first completed run), ``reading`` (which tables there are), ``sending`` (them, part by part),
then ``delivered``; ``dead`` where that failed too often or no run completed in time, ``cancelled`` where somebody did not want
it. Both of these can be sent on, from the first part that the hook has not taken. Whoever works on one has its lease, and is
told when that is another's by now.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import case, select, tuple_, update
from sqlalchemy.orm import contains_eager

from dashboard.audit import service as audit
from dashboard.core.database import change, db, is_free
from dashboard.core.search_text import with_folds
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.deliveries.models import Delivery
from dashboard.fleet.lists import CONNECTIONS
from dashboard.fleet.models import Account, Connection
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
# Renewed with each part. Longer than one takes to read and to hand over, however slowly either side answers.
LEASE = timedelta(minutes=10)

Place = tuple[int, int]


def start(places: Iterable[Place], who: str, at: datetime) -> list[int]:
    """Write down that these connections (account and its own id) are new, each once however often it is told; the new ones' ids.

    Does not commit: it goes along with what told so.
    """
    keys = {_key(place): place for place in places}
    if not keys:
        return []
    # Others that begin some wait from here on.
    lock_snapshot()
    known = set(db.session.scalars(select(Delivery.key).where(Delivery.key.in_(keys))))
    return [_add(key, place, who, at).id for key, place in keys.items() if key not in known]


def ask(place: Place, who: str, at: datetime) -> Delivery:
    """One that somebody wants; the open one, where there is one. Commits."""
    lock_snapshot()
    mine = select(Delivery).where(
        Delivery.account_id == place[0], Delivery.connection_id == place[1]
    )
    before = db.session.scalars(mine.order_by(Delivery.id)).all()
    found = next((each for each in before if each.state in OPEN), None)
    if found is None:
        # Never the number of one that was forgotten: the newest is the last to go.
        last = before[-1].key.removeprefix(_key(place)).lstrip("/") if before else None
        found = _add(
            _key(place) + ("" if last is None else f"/{int(last or 0) + 1}"), place, who, at
        )
    db.session.commit()
    return found


def _key(place: Place) -> str:
    return f"{place[0]}/{place[1]}"


def _add(key: str, place: Place, who: str, at: datetime) -> Delivery:
    entry = audit.begin(
        at,
        who,
        "deliver",
        account_id=place[0],
        connection_id=place[1],
        detail="Its tables for the hook, unmasked.",
    )
    made = Delivery(
        key=key,
        account_id=place[0],
        connection_id=place[1],
        who=who,
        audit_id=entry.id,
        state=WAITING,
        asked_at=at,
        waits_since=at,
        due_at=at,
    )
    db.session.add(made)
    db.session.flush()
    return made


def make_due(places: Collection[Place], at: datetime) -> list[int]:
    """A run of these connections ended: whoever waits for that looks at once. Their ids. Does not commit."""
    if not places:
        return []
    waiting = Delivery.state == WAITING, Delivery.due_at > at
    mine = select(Delivery.id).where(
        *waiting, tuple_(Delivery.account_id, Delivery.connection_id).in_(list(places))
    )
    ids = list(db.session.scalars(mine))
    if ids:
        change(update(Delivery).where(Delivery.id.in_(ids), *waiting).values(due_at=at))
    return ids


def delivery_or_none(delivery_id: int) -> Delivery | None:
    """One delivery."""
    return db.session.get(Delivery, delivery_id)


def latest_of(place: Place) -> Delivery | None:
    """A connection's newest delivery."""
    mine = select(Delivery).where(
        Delivery.account_id == place[0], Delivery.connection_id == place[1]
    )
    return db.session.scalar(mine.order_by(Delivery.id.desc()).limit(1))


def due(at: datetime, most: int = 100) -> list[int]:
    """Ids of those that somebody should work on now."""
    ready = select(Delivery.id).where(Delivery.due_at <= at, is_free(Delivery, at))
    return list(db.session.scalars(ready.order_by(Delivery.due_at).limit(most)))


def lease(delivery_id: int, at: datetime) -> Delivery | None:
    """The delivery, if it is due and nobody else works on it, apart from the session. Commits.

    One that a killed worker had in hand counts a try more: should it be what kills them, it ends.
    """
    mine = update(Delivery).where(
        Delivery.id == delivery_id,
        Delivery.state.in_(OPEN),
        Delivery.due_at <= at,
        is_free(Delivery, at),
    )
    tries = Delivery.tries + case((Delivery.leased_until.is_(None), 0), else_=1)
    taken = change(mine.values(leased_until=at + LEASE, tries=tries))
    db.session.commit()
    if not taken:
        return None
    found = db.session.scalar(
        select(Delivery).where(Delivery.id == delivery_id).execution_options(populate_existing=True)
    )
    if found is not None:
        # No transaction stays open while a place far away takes its time.
        db.session.expunge(found)
    db.session.rollback()
    return found


def save_progress(delivery: Delivery, at: datetime, **reached: Any) -> bool:
    """How far it is; the lease is longer by that. False where somebody else has it now, or cancelled it. Commits."""
    return _move(delivery, leased_until=at + LEASE, **reached)


def reschedule(delivery: Delivery, due_at: datetime, **reached: Any) -> bool:
    """Leave it for later: to whoever is free then. Commits."""
    return _move(delivery, due_at=due_at, leased_until=None, **reached)


def complete(delivery: Delivery, state: str, at: datetime, **reached: Any) -> bool:
    """Its end, in the audit trail too; ``reached``: ``error`` and ``remarks``. Commits."""
    ended = _move(
        delivery,
        commit=False,
        state=state,
        settled_at=at,
        due_at=None,
        leased_until=None,
        **reached,
    )
    if ended:
        told = [
            f"{delivery.rows:,} rows of {len(delivery.tables or ())} tables handed over.",
            delivery.error,
            *delivery.remarks,
        ]
        result = audit.DONE if state == DELIVERED else audit.FAILED
        audit.settle(delivery.audit_id, result, " ".join(part for part in told if part), at)
    db.session.commit()
    return ended


def _move(delivery: Delivery, *, commit: bool = True, **values: Any) -> bool:
    """Write this of a delivery that the caller has the lease of; both in the store and in hand."""
    mine = update(Delivery).where(
        Delivery.id == delivery.id,
        Delivery.state.in_(OPEN),
        Delivery.leased_until == delivery.leased_until,
    )
    moved = change(mine.values(with_folds(Delivery, values)))
    if commit:
        db.session.commit()
    if moved:
        for name, value in values.items():
            setattr(delivery, name, value)
    return bool(moved)


def send_again(delivery: Delivery, who: str, at: datetime) -> bool:
    """Have one that is dead or was cancelled go on, with what the hook has not taken. False where it is neither. Commits."""
    state = (
        SENDING
        if delivery.tables is not None
        else READING
        if delivery.run_id is not None
        else WAITING
    )
    place = {"account_id": delivery.account_id, "connection_id": delivery.connection_id}
    entry = audit.begin(
        at, who, "send_delivery", detail=f"Delivery {delivery.id} goes on.", **place
    )
    mine = update(Delivery).where(Delivery.id == delivery.id, Delivery.state.in_((DEAD, CANCELLED)))
    fresh = {
        "tries": 0,
        "looks": 0,
        "waits_since": at,
        "due_at": at,
        "settled_at": None,
        "error": "",
    }
    moved = change(
        mine.values(with_folds(Delivery, {"state": state, "audit_id": entry.id, **fresh}))
    )
    if moved:
        db.session.commit()
        db.session.refresh(delivery)
    else:
        db.session.rollback()
    return bool(moved)


def cancel(delivery: Delivery, who: str, at: datetime) -> bool:
    """Stop it; whoever works on it sees that with the next part. False where it was over already. Commits."""
    mine = update(Delivery).where(Delivery.id == delivery.id, Delivery.state.in_(OPEN))
    ended = change(mine.values(state=CANCELLED, settled_at=at, due_at=None, leased_until=None))
    if ended:
        audit.settle(delivery.audit_id, audit.FAILED, f"Cancelled by {who}.", at)
    db.session.commit()
    db.session.refresh(delivery)
    return bool(ended)


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
    """One delivery as scripts see it."""
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
