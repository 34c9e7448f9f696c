"""What Peliqan's webhooks say, into the snapshot: at once as far as an event tells it, the rest when the account is read.

An event tells that a run began or how it ended, and no more: neither why nor what it loaded. So there are two steps. What it
tells is written at once, many events in one transaction. Then the account becomes due, ahead of the pass under way, and the
fleet's own reader reads it, with the rate and the number in flight that all readings keep to; in a storm a little later, once
for all that was told meanwhile. Findings are evaluated with the reading, since half of the facts would make wrong ones. Until
it has been read the event waits, and asks for it again, ever more rarely.

What came late or twice does no harm: a run that has ended never runs again, and of two runs the one with the higher id counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from dashboard.actions import service as actions
from dashboard.core.database import db
from dashboard.core.snapshot_version import lock_snapshot, version
from dashboard.deliveries import service as deliveries
from dashboard.peliqan.statuses import run_is_over
from dashboard.peliqan.webhooks import ADDED, REMOVED, is_known, run_status
from dashboard.refresh import queue as refresh_queue
from dashboard.webhooks import run_state
from dashboard.webhooks import service as webhook_events
from dashboard.webhooks.retention import EVENTS_KEPT
from dashboard.webhooks.run_state import Place, RunState

# While so many events wait for their accounts it is a storm: what is told is written at once as always, but the accounts are
# asked for so much later, and then once for all that was told meanwhile.
MOST_WAITING, STORM = 100, timedelta(seconds=10)
NO_ACCOUNT = "It names no account that is known."
UNKNOWN_ACCOUNT = "Account {} is not known yet; the next pass over the fleet lists what is new."
UNKNOWN = "The console does not know this event; it is kept, and nothing was done."
LATE = "The run was known to have ended; nothing was changed."
TOO_LATE = "It was sent more than two weeks before it came, so long ago that its like has been forgotten; nothing was done."
IN_SNAPSHOT = "What it says is in the snapshot."


@dataclass
class ProcessedEvents:
    """What follows from events: accounts to be read, actions and deliveries that are due. ``count``: how many events."""

    count: int = 0
    accounts: set[int] = field(default_factory=set)
    actions: list[int] = field(default_factory=list)
    deliveries: list[int] = field(default_factory=list)


def process_all(
    clock: Callable[[], datetime], interval: float, *, delivers: bool = False
) -> ProcessedEvents:
    """Work through everything that waits, a batch at a time; a worker that is killed meanwhile loses none.

    ``interval``: seconds between two passes; ``delivers``: tables of new connections go to a hook. Commits after each batch.
    """
    taken = ProcessedEvents()
    while webhook_events.has_new_events():
        batch = process_batch(clock(), interval, delivers=delivers)
        taken.count += batch.count
        taken.accounts |= batch.accounts
        taken.actions += batch.actions
        taken.deliveries += batch.deliveries
        if batch.count < webhook_events.AT_ONCE:
            # What came meanwhile has a hint of its own.
            break
    taken.accounts |= _ask_again(clock(), interval)
    return taken


def process_batch(at: datetime, interval: float, *, delivers: bool = False) -> ProcessedEvents:
    """One batch, in one transaction; another worker that takes at the same time takes others."""
    seen = version()
    told, named, known = _read_new()
    # From here on others wait. Who came before may have changed what was just read, or taken it: then it is read anew.
    lock_snapshot()
    if version() != seen + 1:
        told, named, known = _read_new()
    webhook_events.name_accounts(named)
    settled: list[tuple[int, str, str]] = []
    waiting: dict[int, int] = {}
    ended: dict[Place, int] = {}
    for each in sorted(told, key=_Told.order):
        state, detail = _apply(each, known)
        if state != webhook_events.WAITING:
            settled.append((each.id, state, detail))
            continue
        assert each.account_id is not None
        waiting[each.id] = each.account_id
        if each.place is not None and each.status is not None and run_is_over(each.status):
            ended[each.place] = max(each.run_id or 0, ended.get(each.place, 0))
    run_state.save(known, at)
    run_state.note_removed(
        {
            each.place
            for each in told
            if each.event == REMOVED and each.place is not None and not each.too_late
        },
        at,
    )
    webhook_events.settle(settled, at)
    is_storm = webhook_events.many_wait(MOST_WAITING)
    webhook_events.await_reading(waiting, at, at + (STORM if is_storm else webhook_events.AGAIN))
    asked = set() if is_storm else _ask(set(waiting.values()), at, interval)
    looked_for = actions.make_due(ended, at)
    added = [each.place for each in told if each.event == ADDED and each.place is not None]
    handed_over = (
        [*deliveries.start(added, deliveries.BY_EVENT, at), *deliveries.make_due(ended, at)]
        if delivers
        else []
    )
    db.session.commit()
    return ProcessedEvents(len(told), asked, looked_for, handed_over)


def _read_new() -> tuple[list["_Told"], dict[int, int], dict[Place, RunState]]:
    told, named = _with_accounts([_Told.of(row) for row in webhook_events.new()])
    known = run_state.load(
        {(each.place, each.run_id) for each in told if each.place is not None and each.is_known}
    )
    return told, named, known


def _with_accounts(told: Sequence["_Told"]) -> tuple[list["_Told"], dict[int, int]]:
    """The same with the accounts of connections whose events did not name them, where there is no doubt; and which those were."""
    nameless = {
        each.id: each.connection_id
        for each in told
        if each.account_id is None and each.connection_id is not None
    }
    account_of = webhook_events.accounts_of(set(nameless.values()))
    named = {
        id: account_of[connection_id]
        for id, connection_id in nameless.items()
        if connection_id in account_of
    }
    return [
        replace(each, account_id=named[each.id]) if each.id in named else each for each in told
    ], named


def _ask(account_ids: set[int], at: datetime, interval: float) -> set[int]:
    """Have these accounts read before the rest of the pass under way; those that there are."""
    asked = refresh_queue.prioritise(account_ids, at - timedelta(seconds=interval))
    for account_id in account_ids - asked:
        webhook_events.note_failure([account_id], UNKNOWN_ACCOUNT.format(account_id))
    return asked


def _ask_again(at: datetime, interval: float) -> set[int]:
    """Ask once more for accounts that were asked for and have not been read. Commits where there are any."""
    late = webhook_events.overdue(at)
    if not late:
        db.session.rollback()
        return set()
    asked = _ask(webhook_events.await_again(late, at), at, interval)
    db.session.commit()
    return asked


@dataclass(frozen=True)
class _Told:
    """An event as far as it matters here. ``status``: what it tells of a run, if it is of one.

    ``too_late``: it is older than anything that is kept, so whether it came before cannot be told any more.
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
    def of(cls, row: Any) -> "_Told":
        """From the store's row."""
        return cls(
            id=row.id,
            event=row.event,
            is_known=is_known(row.event, row.status),
            account_id=row.account_id,
            connection_id=row.connection_id,
            run_id=row.run_id,
            status=run_status(row.event, row.status),
            # Nothing was sent after it came: what says so has another clock.
            at=min(row.sent_at or row.received_at, row.received_at),
            too_late=row.sent_at is not None and row.received_at - row.sent_at > EVENTS_KEPT,
        )

    @property
    def place(self) -> Place | None:
        """The connection it is of."""
        if self.account_id is None or self.connection_id is None:
            return None
        return self.account_id, self.connection_id

    def order(self) -> tuple[int, datetime, bool, int]:
        """Runs in their order, and the end of each after its beginning."""
        return (
            self.run_id or 0,
            self.at,
            self.status is not None and run_is_over(self.status),
            self.id,
        )


def _apply(told: _Told, known: Mapping[Place, RunState]) -> tuple[str, str]:
    """Take over what an event tells; the state that it is in then, with a sentence."""
    if told.too_late:
        return webhook_events.IGNORED, TOO_LATE
    if not told.is_known:
        return webhook_events.IGNORED, UNKNOWN
    if told.account_id is None:
        return webhook_events.IGNORED, NO_ACCOUNT
    standing = known.get(told.place) if told.place is not None else None
    if told.status is None or told.run_id is None or standing is None:
        # A connection came or went, or there is more to it than the event tells: reading the account shows it.
        return webhook_events.WAITING, ""
    changed = standing.hear(told.run_id, told.status, told.at)
    if run_is_over(told.status):
        return (
            (webhook_events.DONE, LATE)
            if not changed and standing.was_read_since(told.at)
            else (webhook_events.WAITING, "")
        )
    return webhook_events.DONE, IN_SNAPSHOT if changed else LATE
