"""Events that Peliqan sent: each stored once, waiting until the snapshot contains it.

``EventBatcher`` stores them: one request writes all that have arrived, in one transaction, and all
are answered after it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from threading import Event, Lock
from time import monotonic, sleep
from typing import Any

from sqlalchemy import ColumnElement, Engine, UpdateBase, bindparam, func, select, update

from dashboard.core.database import change, change_many, db, insert_for
from dashboard.core.search_text import with_folds
from dashboard.fleet.models import Connection
from dashboard.listing.listing import Filter, Listing, shown_time
from dashboard.refresh.writer import AccountFetch
from dashboard.webhooks.limits import MOST_TRIES, RETRY_WAIT
from dashboard.webhooks.models import WebhookEvent

WAITING, DONE, IGNORED, FAILED = "waiting", "done", "ignored", "failed"
STATES = (WAITING, DONE, IGNORED, FAILED)
AT_ONCE = 200
# Seconds.
GATHERED = 0.01
READ = "Its content is in the snapshot, and the account was read after it."
NOT_READ = "Its account was not read in time; the next fleet refresh reads it."

EVENTS = Listing(
    statement=select(WebhookEvent),
    search=(WebhookEvent.words, WebhookEvent.detail_folded),
    exact=(WebhookEvent.account_id, WebhookEvent.connection_id, WebhookEvent.run_id),
    filters={
        "event": Filter(WebhookEvent.event, "Event"),
        "state": Filter(WebhookEvent.state, "State", STATES),
        "account": Filter(WebhookEvent.account_id, "Account", number=True, counted=False),
        "connection": Filter(WebhookEvent.connection_id, "Connection", number=True, counted=False),
    },
    sorts={
        "received": (WebhookEvent.received_at, WebhookEvent.id),
        "event": (WebhookEvent.event, WebhookEvent.id),
        "times": (WebhookEvent.times, WebhookEvent.id),
    },
    default_sort="-received",
)


def serialize_event(event: WebhookEvent) -> dict[str, Any]:
    """Return one event as JSON fields."""
    return {
        "id": event.id,
        "key": event.key,
        "event": event.event,
        "state": event.state,
        "detail": event.detail,
        "account_id": event.account_id,
        "connection_id": event.connection_id,
        "run_id": event.run_id,
        "status": event.status,
        "times": event.times,
        "sent_at": shown_time(event.sent_at),
        "received_at": shown_time(event.received_at),
        "settled_at": shown_time(event.settled_at),
    }


class PendingEvent:
    """Row to be written. ``woken``: set when it is written, has failed, or is to lead next."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row
        self.leads = False
        self.error: BaseException | None = None
        self.woken = Event()


class EventBatcher:
    """Batch writer of one process: one request writes all events that arrived meanwhile.

    A single event is written at once. Events that arrive within ``GATHERED`` seconds of a write
    share the next transaction, since the commit is the expensive part.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._pending: list[PendingEvent] = []
        self._is_led = False
        self._written_at = 0.0

    def store(self, engine: Engine, row: Mapping[str, Any]) -> None:
        """Store an event, or count it if its key is known; return when that is committed.

        Raises:
            SQLAlchemyError: the write failed; the event is not stored.
        """
        pending = PendingEvent({**row, "state": WAITING, "tries": 0, "detail": "", "times": 1})
        with self._lock:
            self._pending.append(pending)
            pending.leads = not self._is_led
            self._is_led = True
        if not pending.leads:
            pending.woken.wait()
        if pending.leads:
            self._lead(engine)
        if pending.error is not None:
            raise pending.error

    def _lead(self, engine: Engine) -> None:
        batch: list[PendingEvent] = []
        try:
            sleep(max(0.0, self._written_at + GATHERED - monotonic()))
            with self._lock:
                batch, self._pending = self._pending, []
            _insert(engine, [each.row for each in batch])
        except BaseException as error:  # every request of the batch must learn of any failure
            for each in batch:
                each.error = error
            raise
        finally:
            self._written_at = monotonic()
            with self._lock:
                following = next(iter(self._pending), None)
                self._is_led = following is not None
            for each in batch:
                each.woken.set()
            if following is not None:
                following.leads = True
                following.woken.set()


@cache
def _statement(dialect: str) -> UpdateBase:
    again = {"times": WebhookEvent.times + 1}
    statement: UpdateBase = insert_for(dialect)(WebhookEvent).on_conflict_do_update(
        index_elements=[WebhookEvent.key], set_=again
    )
    return statement


def _insert(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> None:
    with engine.begin() as connection:
        # Sorted, so that two processes with the same events do not deadlock.
        connection.execute(_statement(engine.dialect.name), sorted(rows, key=itemgetter("key")))


def event_or_none(event_id: int) -> WebhookEvent | None:
    """Return an event by its id."""
    return db.session.get(WebhookEvent, event_id)


def latest_at() -> datetime | None:
    """Return when the last event was received."""
    return db.session.scalar(select(func.max(WebhookEvent.received_at)))


def replay(event: WebhookEvent) -> None:
    """Make an event new, so that it is processed again. Commits."""
    event.state, event.tries, event.detail = WAITING, 0, ""
    event.applied_at = event.due_at = event.settled_at = None
    db.session.commit()


_COLUMNS = (
    WebhookEvent.id, WebhookEvent.event, WebhookEvent.status, WebhookEvent.account_id,
    WebhookEvent.connection_id, WebhookEvent.run_id, WebhookEvent.sent_at,
    WebhookEvent.received_at, WebhookEvent.tries, WebhookEvent.detail,
)  # fmt: skip

_NEW = (WebhookEvent.state == WAITING, WebhookEvent.applied_at.is_(None))


def new(most: int = AT_ONCE) -> Sequence[Any]:
    """Return the oldest unprocessed events, locked until the commit.

    Rows that are locked, since a repetition is being counted, are left for the next batch: waiting
    for them could deadlock.
    """
    fresh = select(*_COLUMNS).where(*_NEW).order_by(WebhookEvent.id).limit(most)
    return db.session.execute(fresh.with_for_update(skip_locked=True)).all()


def has_new_events() -> bool:
    """Return whether any event is unprocessed."""
    return db.session.scalar(select(WebhookEvent.id).where(*_NEW).limit(1)) is not None


def overdue(at: datetime, most: int = 20 * AT_ONCE) -> Sequence[Any]:
    """Return events whose account was not read in time, locked until the commit as in ``new``."""
    late = select(*_COLUMNS).where(WebhookEvent.due_at <= at)
    late = late.order_by(WebhookEvent.due_at).limit(most)
    return db.session.execute(late.with_for_update(skip_locked=True)).all()


def next_due() -> datetime | None:
    """Return when the next read of an account is to be requested again."""
    return db.session.scalar(select(func.min(WebhookEvent.due_at)))


def many_wait(most: int) -> bool:
    """Return whether more than ``most`` events wait for their accounts to be read."""
    waiting = (
        select(WebhookEvent.id).where(WebhookEvent.due_at.is_not(None)).limit(most + 1).subquery()
    )
    return (db.session.scalar(select(func.count()).select_from(waiting)) or 0) > most


def finish(outcomes: Iterable[tuple[int, str, str]], at: datetime) -> None:
    """Set the final state and sentence of events, given with their ids. Does not commit."""
    ids_of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for id, state, detail in outcomes:
        ids_of[state, detail].append(id)
    for (state, detail), ids in ids_of.items():
        values = {
            "state": state,
            "detail": detail,
            "applied_at": at,
            "settled_at": at,
            "due_at": None,
        }
        change(
            update(WebhookEvent)
            .where(WebhookEvent.id.in_(ids))
            .values(with_folds(WebhookEvent, values))
        )


def await_reading(ids: Collection[int], at: datetime, until: datetime) -> None:
    """Mark events as applied; their accounts must be read until ``until``. Does not commit."""
    if ids:
        waiting = {"applied_at": at, "due_at": until, "detail": ""}
        change(
            update(WebhookEvent)
            .where(WebhookEvent.id.in_(ids))
            .values(with_folds(WebhookEvent, waiting))
        )


def retry_overdue(late: Sequence[Any], at: datetime) -> set[int]:
    """Return the accounts whose read is to be requested again. Does not commit.

    Events that were retried too often become failed.
    """
    finish(
        [(row.id, FAILED, row.detail or NOT_READ) for row in late if row.tries + 1 >= MOST_TRIES],
        at,
    )
    retried = [row for row in late if row.tries + 1 < MOST_TRIES]
    rows = [
        {"which": row.id, "now": row.tries + 1, "due": at + RETRY_WAIT * 2 ** (row.tries + 1)}
        for row in retried
    ]
    values: dict[str, Any] = {"tries": bindparam("now"), "due_at": bindparam("due")}
    change_many(
        update(WebhookEvent).where(WebhookEvent.id == bindparam("which")).values(values), rows
    )
    return {row.account_id for row in retried}


def on_accounts_read(_sender: object, *, fetches: Sequence[AccountFetch]) -> None:
    """Complete events that waited for these accounts, or record why the read failed.

    Does not commit. Needs one statement if all reads succeeded, which is the common case.
    """
    if succeeded := [fetch for fetch in fetches if fetch.error is None]:
        record_reading({fetch.account_id: fetch.at for fetch in succeeded})
    for fetch in fetches:
        if fetch.error is not None:
            record_failure([fetch.account_id], fetch.error.explained)


def record_reading(started_at: Mapping[int, datetime]) -> None:
    """Complete events applied before the reads of their accounts started. Does not commit."""
    waiting = select(WebhookEvent.account_id).where(*_waits_for(started_at)).distinct()
    for account_id in db.session.scalars(waiting).all():
        if account_id is not None:
            at = started_at[account_id]
            values = {"state": DONE, "settled_at": at, "due_at": None, "detail": READ}
            change(
                update(WebhookEvent)
                .where(*_waits_for([account_id]), WebhookEvent.applied_at <= at)
                .values(with_folds(WebhookEvent, values))
            )


def record_failure(account_ids: Collection[int], reason: str) -> None:
    """Set the reason why accounts could not be read, on events that wait. Does not commit."""
    change(
        update(WebhookEvent)
        .where(*_waits_for(account_ids))
        .values(with_folds(WebhookEvent, {"detail": reason}))
    )


def _waits_for(account_ids: Collection[int]) -> tuple[ColumnElement[bool], ...]:
    applied = WebhookEvent.applied_at.is_not(None)
    return WebhookEvent.state == WAITING, applied, WebhookEvent.account_id.in_(account_ids)


def accounts_of(connection_ids: Collection[int]) -> dict[int, int]:
    """Return the account of each connection id that exists in exactly one account."""
    if not connection_ids:
        return {}
    unique = (
        select(Connection.id, func.min(Connection.account_id))
        .where(Connection.id.in_(connection_ids))
        .group_by(Connection.id)
        .having(func.count() == 1)
    )
    return dict(db.session.execute(unique).all())


def name_accounts(found: Mapping[int, int]) -> None:
    """Set the account of events that did not name it. ``found``: by event id. Does not commit."""
    rows = [{"which": id, "account": account_id} for id, account_id in found.items()]
    change_many(
        update(WebhookEvent)
        .where(WebhookEvent.id == bindparam("which"))
        .values(account_id=bindparam("account")),
        rows,
    )
