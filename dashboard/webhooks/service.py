"""Events that Peliqan sent: stored once each, waiting until the snapshot holds what they report.

``EventBatcher`` stores them: one request writes what has arrived meanwhile, in one transaction, and all are answered after it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
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
from dashboard.webhooks.models import WebhookEvent

WAITING, DONE, IGNORED, FAILED = "waiting", "done", "ignored", "failed"
STATES = (WAITING, DONE, IGNORED, FAILED)
AT_ONCE = 200
# An account that was asked for is asked for again after so long, then after twice that, and so on: in all some twenty minutes.
AGAIN = timedelta(seconds=5)
MOST_TRIES = 8
GATHERED = 0.01
READ = "What it says is in the snapshot, and the account was read after it."
NOT_READ = "Its account was not read in time; the next pass over the fleet reads it."

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
    """One event as scripts see it."""
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
    """A row on its way in. ``woken`` when it is written, or could not be, or when it is the next to lead."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row
        self.leads = False
        self.error: BaseException | None = None
        self.woken = Event()


class EventBatcher:
    """One process's way in: one of those that came leads, writes all that have come, and everybody is answered after the commit.

    One that comes alone is written at once. Of many, as many as come within ``GATHERED`` seconds share a transaction: that is
    what a transaction costs most of.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._arrived: list[PendingEvent] = []
        self._is_led = False
        self._written_at = 0.0

    def keep(self, engine: Engine, row: Mapping[str, Any]) -> None:
        """Write an event down, or count it once more where it is known; returns when that is committed.

        Raises:
            SQLAlchemyError: what the database said; the event is not kept then.
        """
        arrival = PendingEvent({**row, "state": WAITING, "tries": 0, "detail": "", "times": 1})
        with self._lock:
            self._arrived.append(arrival)
            arrival.leads = not self._is_led
            self._is_led = True
        if not arrival.leads:
            arrival.woken.wait()
        if arrival.leads:
            self._lead(engine)
        if arrival.error is not None:
            raise arrival.error

    def _lead(self, engine: Engine) -> None:
        taken: list[PendingEvent] = []
        try:
            sleep(max(0.0, self._written_at + GATHERED - monotonic()))
            with self._lock:
                taken, self._arrived = self._arrived, []
            _insert(engine, [each.row for each in taken])
        except BaseException as error:  # whatever it is, each of them is to be told
            for each in taken:
                each.error = error
            raise
        finally:
            self._written_at = monotonic()
            with self._lock:
                following = next(iter(self._arrived), None)
                self._is_led = following is not None
            for each in taken:
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
        # In one order, so that two processes that were sent the same do not wait for each other.
        connection.execute(_statement(engine.dialect.name), sorted(rows, key=itemgetter("key")))


def event_or_none(event_id: int) -> WebhookEvent | None:
    """One event."""
    return db.session.get(WebhookEvent, event_id)


def latest_at() -> datetime | None:
    """When the last event came."""
    return db.session.scalar(select(func.max(WebhookEvent.received_at)))


def replay(event: WebhookEvent) -> None:
    """Have it worked through once more. Commits."""
    event.state, event.tries, event.detail = WAITING, 0, ""
    event.applied_at = event.due_at = event.settled_at = None
    db.session.commit()


_TOLD = (
    WebhookEvent.id, WebhookEvent.event, WebhookEvent.status, WebhookEvent.account_id, WebhookEvent.connection_id,
    WebhookEvent.run_id, WebhookEvent.sent_at, WebhookEvent.received_at, WebhookEvent.tries, WebhookEvent.detail,
)  # fmt: skip

_NEW = (WebhookEvent.state == WAITING, WebhookEvent.applied_at.is_(None))


def new(most: int = AT_ONCE) -> Sequence[Any]:
    """Events that nobody has worked through yet, in the order in which they came; the caller's until the commit.

    Those that are just counted once more are left for the next time: whoever waited for them could be waited for in turn.
    """
    fresh = select(*_TOLD).where(*_NEW).order_by(WebhookEvent.id).limit(most)
    return db.session.execute(fresh.with_for_update(skip_locked=True)).all()


def has_new_events() -> bool:
    """Whether anything is to be worked through."""
    return db.session.scalar(select(WebhookEvent.id).where(*_NEW).limit(1)) is not None


def overdue(at: datetime, most: int = 20 * AT_ONCE) -> Sequence[Any]:
    """Events whose account has not been read although it was asked for; the caller's until the commit, as above."""
    late = select(*_TOLD).where(WebhookEvent.due_at <= at).order_by(WebhookEvent.due_at).limit(most)
    return db.session.execute(late.with_for_update(skip_locked=True)).all()


def next_due() -> datetime | None:
    """When the first of those that wait for a reading is to be asked for again."""
    return db.session.scalar(select(func.min(WebhookEvent.due_at)))


def many_wait(most: int) -> bool:
    """Whether more than ``most`` events wait for their accounts to be read."""
    waiting = (
        select(WebhookEvent.id).where(WebhookEvent.due_at.is_not(None)).limit(most + 1).subquery()
    )
    return (db.session.scalar(select(func.count()).select_from(waiting)) or 0) > most


def settle(outcomes: Iterable[tuple[int, str, str]], at: datetime) -> None:
    """Events with the state and the sentence that they end with. Does not commit."""
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for id, state, detail in outcomes:
        alike[state, detail].append(id)
    for (state, detail), ids in alike.items():
        over = {
            "state": state,
            "detail": detail,
            "applied_at": at,
            "settled_at": at,
            "due_at": None,
        }
        change(
            update(WebhookEvent)
            .where(WebhookEvent.id.in_(ids))
            .values(with_folds(WebhookEvent, over))
        )


def await_reading(ids: Collection[int], at: datetime, until: datetime) -> None:
    """What these say is in the snapshot; their accounts are to be read, or asked for at ``until``. Does not commit."""
    if ids:
        waiting = {"applied_at": at, "due_at": until, "detail": ""}
        change(
            update(WebhookEvent)
            .where(WebhookEvent.id.in_(ids))
            .values(with_folds(WebhookEvent, waiting))
        )


def await_again(late: Sequence[Any], at: datetime) -> set[int]:
    """The accounts to ask for once more; what was asked for too often fails. Does not commit."""
    settle(
        [(row.id, FAILED, row.detail or NOT_READ) for row in late if row.tries + 1 >= MOST_TRIES],
        at,
    )
    still = [row for row in late if row.tries + 1 < MOST_TRIES]
    rows = [
        {"which": row.id, "now": row.tries + 1, "due": at + AGAIN * 2 ** (row.tries + 1)}
        for row in still
    ]
    again: dict[str, Any] = {"tries": bindparam("now"), "due_at": bindparam("due")}
    change_many(
        update(WebhookEvent).where(WebhookEvent.id == bindparam("which")).values(again), rows
    )
    return {row.account_id for row in still}


def on_accounts_read(_sender: object, *, fetches: Sequence[AccountFetch]) -> None:
    """Complete events that waited for these accounts to be read, or record why they could not be. Does not commit.

    One statement where all went well, as almost always.
    """
    if well := [fetch for fetch in fetches if fetch.error is None]:
        note_reading({fetch.account_id: fetch.at for fetch in well})
    for fetch in fetches:
        if fetch.error is not None:
            note_failure([fetch.account_id], fetch.error.explained)


def note_reading(began_at: Mapping[int, datetime]) -> None:
    """These accounts were read, beginning at these times: what waited for that is done. Does not commit."""
    waiting = select(WebhookEvent.account_id).where(*_waits_for(began_at)).distinct()
    for account_id in db.session.scalars(waiting).all():
        if account_id is not None:
            at = began_at[account_id]
            over = with_folds(
                WebhookEvent, {"state": DONE, "settled_at": at, "due_at": None, "detail": READ}
            )
            change(
                update(WebhookEvent)
                .where(*_waits_for([account_id]), WebhookEvent.applied_at <= at)
                .values(over)
            )


def note_failure(account_ids: Collection[int], reason: str) -> None:
    """These accounts could not be read, or there are none such: what waits for them says why. Does not commit."""
    change(
        update(WebhookEvent)
        .where(*_waits_for(account_ids))
        .values(with_folds(WebhookEvent, {"detail": reason}))
    )


def _waits_for(account_ids: Collection[int]) -> tuple[ColumnElement[bool], ...]:
    applied = WebhookEvent.applied_at.is_not(None)
    return WebhookEvent.state == WAITING, applied, WebhookEvent.account_id.in_(account_ids)


def accounts_of(connection_ids: Collection[int]) -> dict[int, int]:
    """The accounts of connections, by their ids, where there is no doubt."""
    if not connection_ids:
        return {}
    known = select(Connection.id, func.min(Connection.account_id)).where(
        Connection.id.in_(connection_ids)
    )
    only = known.group_by(Connection.id).having(func.count() == 1)
    return dict(db.session.execute(only).all())


def name_accounts(found: Mapping[int, int]) -> None:
    """The accounts, by the events' ids, of events that did not name them. Does not commit."""
    rows = [{"which": id, "account": account_id} for id, account_id in found.items()]
    change_many(
        update(WebhookEvent)
        .where(WebhookEvent.id == bindparam("which"))
        .values(account_id=bindparam("account")),
        rows,
    )
