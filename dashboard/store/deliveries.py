"""New connections whose tables go to the partner's hook: begun once each, how far each is, its end in the audit trail.

A delivery is ``waiting`` (for the first completed run), ``reading`` its tables, ``sending`` them, then ``done``; or ``dead``
where the hook did not take it in all its tries, and ``failed`` where there was nothing to hand over. Both wait for somebody to
send again. Whoever works on one has its lease.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, tuple_, update
from sqlalchemy.orm import contains_eager

from dashboard.store import audit
from dashboard.store.counts import begin_change
from dashboard.store.database import change, db
from dashboard.store.listing import Filter, Listing
from dashboard.store.lists import shown_time
from dashboard.store.models import Account, AuditEntry, Delivery

WAITING, READING, SENDING, DONE, DEAD, FAILED = "waiting", "reading", "sending", "done", "dead", "failed"
STATES: Final = (WAITING, READING, SENDING, DONE, DEAD, FAILED)
OPEN: Final = (WAITING, READING, SENDING)
LEASE = timedelta(minutes=5)


def begin(places: Iterable[tuple[int, int]], who: str, at: datetime) -> list[int]:
    """Write down that these connections (account and its own id) are new, each once however often it is told; the new ones' ids.

    Does not commit: it goes along with what told so.
    """
    keys = {f"{account_id}/{connection_id}": (account_id, connection_id) for account_id, connection_id in places}
    if not keys:
        return []
    # Others that begin some wait from here on.
    begin_change()
    known = set(db.session.scalars(select(Delivery.key).where(Delivery.key.in_(keys))))
    return [_add(key, place, who, at).id for key, place in keys.items() if key not in known]


def ask(account_id: int, connection_id: int, who: str, at: datetime) -> Delivery:
    """One that somebody wants; the open one, where there is one. Commits."""
    begin_change()
    mine = select(Delivery).where(Delivery.account_id == account_id, Delivery.connection_id == connection_id)
    before = db.session.scalars(mine.order_by(Delivery.id)).all()
    found = next((each for each in before if each.state in OPEN), None)
    if found is None:
        key = f"{account_id}/{connection_id}" + (f"/{len(before)}" if before else "")
        found = _add(key, (account_id, connection_id), who, at)
    db.session.commit()
    return found


def _add(key: str, place: tuple[int, int], who: str, at: datetime) -> Delivery:
    said = "The tables of a new connection, for the hook."
    entry = AuditEntry(
        at=at, who=who[:254], what="deliver", result=audit.PENDING, account_id=place[0], connection_id=place[1], detail=said
    )
    db.session.add(entry)
    db.session.flush()
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


def make_due(places: Collection[tuple[int, int]], at: datetime) -> list[int]:
    """A run of these connections ended: whoever waits for that looks at once. Their ids. Does not commit."""
    if not places:
        return []
    mine = select(Delivery.id).where(
        Delivery.state == WAITING, tuple_(Delivery.account_id, Delivery.connection_id).in_(list(places))
    )
    ids = list(db.session.scalars(mine))
    if ids:
        change(update(Delivery).where(Delivery.id.in_(ids), Delivery.state == WAITING).values(due_at=at))
    return ids


def delivery_or_none(delivery_id: int) -> Delivery | None:
    """One delivery."""
    return db.session.get(Delivery, delivery_id) if delivery_id < 2**63 else None


def due(at: datetime, most: int = 20) -> list[int]:
    """Ids of those that somebody should work on now."""
    free = (Delivery.leased_until.is_(None)) | (Delivery.leased_until < at)
    return list(db.session.scalars(select(Delivery.id).where(Delivery.due_at <= at, free).order_by(Delivery.due_at).limit(most)))


def lease(delivery_id: int, at: datetime) -> Delivery | None:
    """The delivery, if it is due and nobody else works on it. Commits."""
    free = (Delivery.leased_until.is_(None)) | (Delivery.leased_until < at)
    mine = update(Delivery).where(Delivery.id == delivery_id, Delivery.state.in_(OPEN), Delivery.due_at <= at, free)
    taken = change(mine.values(leased_until=at + LEASE))
    db.session.commit()
    if not taken:
        return None
    found = db.session.get_one(Delivery, delivery_id)
    db.session.refresh(found)
    return found


def note(delivery: Delivery, at: datetime, **reached: Any) -> None:
    """How far it is; the lease is longer by that. Commits."""
    _move(delivery, leased_until=at + LEASE, **reached)


def let_go(delivery: Delivery, due_at: datetime, **reached: Any) -> None:
    """Leave it for later: to whoever is free then. Commits."""
    _move(delivery, due_at=due_at, leased_until=None, **reached)


def settle(delivery: Delivery, state: str, error: str, at: datetime) -> None:
    """Its end, in the audit trail too. Commits."""
    ends = {"state": state, "error": error, "settled_at": at, "due_at": None, "leased_until": None}
    if change(update(Delivery).where(Delivery.id == delivery.id, Delivery.state.in_(OPEN)).values(**ends)):
        entry = db.session.get_one(AuditEntry, delivery.audit_id)
        told = error or f"{delivery.rows:,} rows of {len(delivery.tables)} tables."
        entry.result, entry.settled_at = audit.DONE if state == DONE else audit.FAILED, at
        entry.detail = f"{entry.detail} {told}"[:2000]
    db.session.commit()
    db.session.refresh(delivery)


def send_again(delivery: Delivery, at: datetime) -> bool:
    """Go on with one that ended badly, with what the hook has not taken yet. False where it is under way or done. Commits."""
    state = SENDING if delivery.tables else WAITING
    mine = update(Delivery).where(Delivery.id == delivery.id, Delivery.state.in_((DEAD, FAILED)))
    fresh = {"tries": 0, "looks": 0, "waits_since": at, "due_at": at, "settled_at": None}
    moved = change(mine.values(state=state, **fresh))
    db.session.commit()
    return bool(moved)


def open_ids(ids: Collection[int]) -> set[int]:
    """Those of these that may still be sent: their files are needed."""
    return set(db.session.scalars(select(Delivery.id).where(Delivery.id.in_(ids), Delivery.state != DONE)))


def _move(delivery: Delivery, **values: Any) -> None:
    change(update(Delivery).where(Delivery.id == delivery.id, Delivery.state.in_(OPEN)).values(**values))
    db.session.commit()
    db.session.refresh(delivery)


DELIVERIES = Listing(
    statement=select(Delivery)
    .outerjoin(Delivery.account)
    .options(
        contains_eager(Delivery.account).load_only(Account.name, Account.external_id),
        contains_eager(Delivery.account).lazyload(Account.check),
    ),
    search=(Account.name, Account.external_id, Delivery.error, Delivery.who),
    exact=(Delivery.account_id, Delivery.connection_id),
    filters={
        "state": Filter(Delivery.state, "State", STATES),
        "account": Filter(Delivery.account_id, "Account", number=True, counted=False),
    },
    sorts={
        "asked": (Delivery.asked_at, Delivery.id),
        "settled": (Delivery.settled_at, Delivery.id),
        "rows": (Delivery.rows, Delivery.id),
    },
    default_sort="-asked",
)


def delivery_item(delivery: Delivery) -> dict[str, Any]:
    """One delivery as scripts see it."""
    tables: list[Mapping[str, Any]] = delivery.tables
    return {
        "id": delivery.id,
        "account_id": delivery.account_id,
        "connection_id": delivery.connection_id,
        "state": delivery.state,
        "who": delivery.who,
        "asked_at": shown_time(delivery.asked_at),
        "settled_at": shown_time(delivery.settled_at),
        "due_at": shown_time(delivery.due_at),
        "run_id": delivery.run_id,
        "tables": len(tables),
        "rows": delivery.rows,
        "parts": sum(each["parts"] for each in tables),
        "parts_sent": sum(each["sent"] for each in tables),
        "tries": delivery.tries,
        "error": delivery.error,
    }
