"""Processing of webhook events: reported facts are stored at once, the rest is read.

An event reports that a run started or how it ended, but neither why nor what it loaded. So there
are two steps. First, many events are applied to the snapshot in one transaction. Then their
accounts become due before the rest of the refresh, and the refresh reads them under its usual rate
limit. If very many events wait, each account is read a little later, once for all its events.
Findings are evaluated after that read, since incomplete facts would give wrong findings. Until
then the event waits; the read is requested again at growing intervals.

Late and repeated events do no harm: a completed run never runs again, and the run with the highest
id is the latest one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from dashboard.actions import service as actions
from dashboard.core.database import db
from dashboard.core.snapshot_version import lock_snapshot, version
from dashboard.deliveries import service as deliveries
from dashboard.fleet.models import ConnectionKey
from dashboard.peliqan.statuses import run_is_over
from dashboard.peliqan.webhooks import ADDED, REMOVED, is_known, run_status
from dashboard.refresh import queue as refresh_queue
from dashboard.webhooks import run_state
from dashboard.webhooks import service as webhook_events
from dashboard.webhooks.limits import EVENTS_KEPT_FOR, RETRY_WAIT
from dashboard.webhooks.run_state import RunState

# With more waiting events than this, events are still applied at once, but their accounts are read
# this much later, once for all events of the account.
MOST_WAITING, STORM = 100, timedelta(seconds=10)
NO_ACCOUNT = "It names no known account."
UNKNOWN_ACCOUNT = "Account {} is not known yet; the next fleet refresh lists new accounts."
UNKNOWN = "The console does not know this event; it is stored, and nothing was done."
LATE = "The run was known to have ended; nothing was changed."
TOO_LATE = (
    "It was sent more than two weeks before it was received, and events that old are deleted:"
    " whether it is a repetition is not known, so nothing was done."
)
IN_SNAPSHOT = "Its content is in the snapshot."


@dataclass
class ProcessedEvents:
    """Consequences of events: accounts to read, due actions and deliveries; ``count`` of events."""

    count: int = 0
    accounts: set[int] = field(default_factory=set)
    actions: list[int] = field(default_factory=list)
    deliveries: list[int] = field(default_factory=list)


def process_all(
    clock: Callable[[], datetime], interval: float, *, delivers: bool = False
) -> ProcessedEvents:
    """Process all new events in batches. Commits after each, so a killed worker loses none.

    ``interval``: seconds between two refreshes. ``delivers``: a data hook is set, so new
    connections are delivered.
    """
    total = ProcessedEvents()
    while webhook_events.has_new_events():
        batch = process_batch(clock(), interval, delivers=delivers)
        total.count += batch.count
        total.accounts |= batch.accounts
        total.actions += batch.actions
        total.deliveries += batch.deliveries
        if batch.count < webhook_events.AT_ONCE:
            # Later events have enqueued another task.
            break
    total.accounts |= _prioritise_overdue(clock(), interval)
    return total


def process_batch(at: datetime, interval: float, *, delivers: bool = False) -> ProcessedEvents:
    """Process one batch in one transaction. Commits. Concurrent workers get other events."""
    version_before = version()
    events, named, known = _read_new()
    # From here on, other writers wait. One that came first may have changed or processed what was
    # just read: then it is read again.
    lock_snapshot()
    if version() != version_before + 1:
        events, named, known = _read_new()
    webhook_events.name_accounts(named)
    finished: list[tuple[int, str, str]] = []
    waiting: dict[int, int] = {}
    ended: dict[ConnectionKey, int] = {}
    for each in sorted(events, key=_Event.order):
        state, detail = _apply(each, known)
        if state != webhook_events.WAITING:
            finished.append((each.id, state, detail))
            continue
        assert each.account_id is not None
        waiting[each.id] = each.account_id
        if each.connection is not None and each.status is not None and run_is_over(each.status):
            ended[each.connection] = max(each.run_id or 0, ended.get(each.connection, 0))
    run_state.save(known, at)
    run_state.mark_missing(_connections_of(events, REMOVED, skip_too_late=True), at)
    webhook_events.finish(finished, at)
    is_storm = webhook_events.many_wait(MOST_WAITING)
    webhook_events.await_reading(waiting, at, at + (STORM if is_storm else RETRY_WAIT))
    accounts = set() if is_storm else _prioritise(set(waiting.values()), at, interval)
    due_actions = actions.make_due(ended, at)
    due_deliveries: list[int] = []
    if delivers:
        added = _connections_of(events, ADDED)
        due_deliveries += deliveries.start(added, deliveries.BY_EVENT, at)
        due_deliveries += deliveries.make_due(ended, at)
    db.session.commit()
    return ProcessedEvents(len(events), accounts, due_actions, due_deliveries)


def _connections_of(
    events: Sequence["_Event"], name: str, *, skip_too_late: bool = False
) -> list[ConnectionKey]:
    return [
        each.connection
        for each in events
        if each.event == name
        and each.connection is not None
        and not (skip_too_late and each.too_late)
    ]


def _read_new() -> tuple[list["_Event"], dict[int, int], dict[ConnectionKey, RunState]]:
    events, named = _with_accounts([_Event.of(row) for row in webhook_events.new()])
    known = run_state.load(
        {(e.connection, e.run_id) for e in events if e.connection is not None and e.is_known}
    )
    return events, named, known


def _with_accounts(events: Sequence["_Event"]) -> tuple[list["_Event"], dict[int, int]]:
    """Return the events with accounts that could be inferred, and these accounts by event id.

    An account is inferred if the event names a connection whose id exists in one account only.
    """
    nameless = {
        each.id: each.connection_id
        for each in events
        if each.account_id is None and each.connection_id is not None
    }
    account_of = webhook_events.accounts_of(set(nameless.values()))
    named = {
        id: account_of[connection_id]
        for id, connection_id in nameless.items()
        if connection_id in account_of
    }
    completed = [
        replace(each, account_id=named[each.id]) if each.id in named else each for each in events
    ]
    return completed, named


def _prioritise(account_ids: set[int], at: datetime, interval: float) -> set[int]:
    """Make accounts due before the rest of the refresh; return those that exist."""
    prioritised = refresh_queue.prioritise(account_ids, at - timedelta(seconds=interval))
    for account_id in account_ids - prioritised:
        webhook_events.record_failure([account_id], UNKNOWN_ACCOUNT.format(account_id))
    return prioritised


def _prioritise_overdue(at: datetime, interval: float) -> set[int]:
    """Prioritise once more the accounts that were not read in time. Commits if there are any."""
    late = webhook_events.overdue(at)
    if not late:
        db.session.rollback()
        return set()
    accounts = _prioritise(webhook_events.retry_overdue(late, at), at, interval)
    db.session.commit()
    return accounts


@dataclass(frozen=True)
class _Event:
    """The fields of an event that matter here. ``status``: the run's, None if it is of no run.

    ``too_late``: it is older than all stored events, so a repetition could not be recognised.
    """

    id: int
    event: str
    is_known: bool
    account_id: int | None
    connection_id: int | None
    run_id: int | None
    status: str | None
    at: datetime
    too_late: bool

    @classmethod
    def of(cls, row: Any) -> "_Event":
        """Read an event from its row."""
        return cls(
            id=row.id,
            event=row.event,
            is_known=is_known(row.event, row.status),
            account_id=row.account_id,
            connection_id=row.connection_id,
            run_id=row.run_id,
            status=run_status(row.event, row.status),
            # Senders' clocks differ: no event is later than its receipt.
            at=min(row.sent_at or row.received_at, row.received_at),
            too_late=row.sent_at is not None and row.received_at - row.sent_at > EVENTS_KEPT_FOR,
        )

    @property
    def connection(self) -> ConnectionKey | None:
        """Return the key of the event's connection; None if it names none."""
        if self.account_id is None or self.connection_id is None:
            return None
        return self.account_id, self.connection_id

    def order(self) -> tuple[int, datetime, bool, int]:
        """Return the sort key: runs by id, and the end of each after its start."""
        return (
            self.run_id or 0,
            self.at,
            self.status is not None and run_is_over(self.status),
            self.id,
        )


def _apply(event: _Event, known: Mapping[ConnectionKey, RunState]) -> tuple[str, str]:
    """Apply an event to the run states; return its new state, with a sentence."""
    if event.too_late:
        return webhook_events.IGNORED, TOO_LATE
    if not event.is_known:
        return webhook_events.IGNORED, UNKNOWN
    if event.account_id is None:
        return webhook_events.IGNORED, NO_ACCOUNT
    current = known.get(event.connection) if event.connection is not None else None
    if event.status is None or event.run_id is None or current is None:
        # A connection was added or removed, or is unknown: only reading the account shows it.
        return webhook_events.WAITING, ""
    changed = current.apply(event.run_id, event.status, event.at)
    if not run_is_over(event.status):
        return webhook_events.DONE, IN_SNAPSHOT if changed else LATE
    if changed or not current.was_read_since(event.at):
        return webhook_events.WAITING, ""
    return webhook_events.DONE, LATE
