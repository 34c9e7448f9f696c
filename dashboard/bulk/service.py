"""Bulk jobs: one action on many connections. A job has an item for each connection.

States of a job: ``trying`` (one connection first), ``tried`` (a user decides by its result),
``running`` (all others), ``done``; or ``cancelled``: nothing more starts, and actions in flight are
polled to their end. ``ended_at`` is set when all items are finished. After 5 failures in a row, a
``running`` job becomes ``tried`` again with the last failure as its result.

States of an item: ``waiting``, ``running`` (its action is in flight), then ``done``, ``no_effect``,
``failed``, ``left_out`` (never started, with the reason) or ``cancelled``. An item gets at most one
action: both are committed in one transaction, before the API is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, insert, select, update

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.audit import service as audit
from dashboard.audit.models import AuditEntry
from dashboard.bulk.limits import STOP_AFTER_FAILURES
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.core import leases, row_access
from dashboard.core.database import change, db
from dashboard.core.search_text import with_folds
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Connection, ConnectionKey

TRYING, TRIED, RUNNING, DONE, CANCELLED = "trying", "tried", "running", "done", "cancelled"
STATES = (TRYING, TRIED, RUNNING, DONE, CANCELLED)
WAITING, NO_EFFECT, FAILED, LEFT_OUT = "waiting", "no_effect", "failed", "left_out"
ITEM_STATES = (RUNNING, FAILED, NO_EFFECT, LEFT_OUT, WAITING, DONE, CANCELLED)
# Results of the first item after which a job may continue; ``left_out`` is none.
RESULTS = (DONE, NO_EFFECT, FAILED)
KINDS = (actions.SYNC, actions.REAUTHORISE)
LEASE = timedelta(seconds=60)
WELL = {"ok", "busy"}


class NotNow(Exception):
    """The item may not start: it has started, too many are running, or the job's state changed."""


@dataclass(frozen=True)
class Numbers:
    """Number of items of a job in each state."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    no_effect: int = 0
    failed: int = 0
    left_out: int = 0
    cancelled: int = 0

    @property
    def left(self) -> int:
        """Items that may still change: waiting or running."""
        return self.waiting + self.running

    @property
    def total(self) -> int:
        """All items."""
        return self.left + self.finished

    @property
    def finished(self) -> int:
        """Items in an end state."""
        return self.done + self.no_effect + self.failed + self.left_out + self.cancelled


@dataclass(frozen=True)
class NewJob:
    """A job to create. ``first``: the connection to try first; ``at_once``: most in flight."""

    kind: str
    connections: Sequence[ConnectionKey]
    first: ConnectionKey
    who: str
    why: str
    at_once: int
    cause_id: int | None = None


def job_or_none(job_id: int) -> BulkJob | None:
    """Return one job."""
    return db.session.get(BulkJob, job_id)


def numbers(job: BulkJob) -> Numbers:
    """Count a job's items by state."""
    counting = (
        select(BulkItem.state, func.count())
        .where(BulkItem.job_id == job.id)
        .group_by(BulkItem.state)
    )
    return Numbers(**dict(db.session.execute(counting).all()))


def open_job(new: NewJob, at: datetime) -> BulkJob:
    """Store a job with its items and audit entry; it is due at ``at``. Commits."""
    entry = audit.start(at, new.who, f"bulk_{new.kind}")
    job = BulkJob(
        kind=new.kind,
        state=TRYING,
        who=new.who,
        why=new.why[:500],
        cause_id=new.cause_id,
        at_once=new.at_once,
        audit_id=entry.id,
        started_at=at,
        due_at=at,
    )
    db.session.add(job)
    db.session.flush()
    rows = [
        {
            "job_id": job.id,
            "account_id": account_id,
            "connection_id": connection_id,
            "state": WAITING,
            "detail": "",
        }
        for account_id, connection_id in new.connections
    ]
    db.session.execute(insert(BulkItem), rows)
    job.canary_id = db.session.scalar(
        select(BulkItem.id).where(
            BulkItem.job_id == job.id,
            BulkItem.account_id == new.first[0],
            BulkItem.connection_id == new.first[1],
        )
    )
    accounts = {account_id for account_id, _ in new.connections}
    entry.detail = _audit_detail(job, len(new.connections), len(accounts))
    db.session.commit()
    return job


def canary(job: BulkJob) -> BulkItem:
    """Return the item that is tried first, or was tried last."""
    return db.session.get_one(BulkItem, job.canary_id)


def resume(job: BulkJob, who: str, seen: str, at: datetime) -> bool:
    """Start the other items. Commits.

    Returns False unless the first item ended with the result ``seen``, the one the user saw.
    """
    if canary(job).state not in RESULTS or canary(job).state != seen:
        return False
    return _move(job, (TRIED,), state=RUNNING, went_on_by=who, due_at=at)


def try_another(job: BulkJob, item_id: int, at: datetime) -> bool:
    """Try this item next. Commits. Returns False unless the job is ``tried`` and it waits."""
    waits = select(BulkItem.id).where(
        BulkItem.id == item_id, BulkItem.job_id == job.id, BulkItem.state == WAITING
    )
    if db.session.scalar(waits) is None:
        return False
    return _move(job, (TRIED,), state=TRYING, canary_id=item_id, due_at=at)


def cancel(job: BulkJob, who: str, at: datetime) -> bool:
    """Start no further items; actions in flight continue. Commits.

    Returns False if the job has already ended or was cancelled.
    """
    if not _move(job, (TRYING, TRIED, RUNNING), state=CANCELLED, ended_by=who, due_at=at):
        return False
    waiting = update(BulkItem).where(BulkItem.job_id == job.id, BulkItem.state == WAITING)
    change(waiting.values(state=CANCELLED, settled_at=at))
    db.session.commit()
    db.session.refresh(job)
    if not numbers(job).left:
        _finish(job, at)
    return True


def due(at: datetime, most: int = 100) -> list[int]:
    """Return ids of jobs that need a step now, the longest due first."""
    return leases.ready_ids(BulkJob, at, most)


def lease(job_id: int, at: datetime) -> BulkJob | None:
    """Lease a due job for 60 seconds; return None if it is not due or leased. Commits."""
    return leases.lease(BulkJob, job_id, at, LEASE)


def make_due_after(action_id: int, at: datetime) -> list[int]:
    """Make jobs due that wait for this ended action; return their ids. Commits."""
    waiting = select(BulkItem.job_id).join(BulkJob, BulkJob.id == BulkItem.job_id)
    waiting = waiting.where(
        BulkJob.due_at.is_not(None), BulkItem.state == RUNNING, BulkItem.action_id == action_id
    )
    ids = list(db.session.scalars(waiting))
    if ids:
        change(update(BulkJob).where(BulkJob.id.in_(ids), BulkJob.due_at > at).values(due_at=at))
        db.session.commit()
    return ids


def next_item(job: BulkJob) -> BulkItem | None:
    """Return the item to start now; None if none waits or may start.

    A ``trying`` job starts only its first item, a ``running`` one at most ``at_once`` at a time.
    """
    db.session.refresh(job)
    waiting = select(BulkItem).where(BulkItem.job_id == job.id, BulkItem.state == WAITING)
    if job.state == TRYING:
        waiting = waiting.where(BulkItem.id == job.canary_id)
    elif (
        job.state != RUNNING
        or _count_running(job.id) >= job.at_once
        or _last_of_failures(job) is not None
    ):
        return None
    return db.session.scalar(
        waiting.order_by(BulkItem.id).limit(1).execution_options(populate_existing=True)
    )


def claim(job_id: int, item_id: int, action: Action, at: datetime) -> None:
    """Give an item its action, in the transaction that stores the action. Does not commit.

    Writes the job's row first: concurrent starts and cancels of this job wait for the commit.

    Raises:
        NotNow: The item may not start; the caller rolls back.
    """
    extended = update(BulkJob).where(BulkJob.id == job_id, BulkJob.state.in_((TRYING, RUNNING)))
    if not change(extended.values(leased_until=at + LEASE)):
        raise NotNow
    at_once = db.session.scalar(select(BulkJob.at_once).where(BulkJob.id == job_id)) or 1
    mine = update(BulkItem).where(
        BulkItem.id == item_id, BulkItem.state == WAITING, BulkItem.action_id.is_(None)
    )
    if _count_running(job_id) >= at_once or not change(
        mine.values(state=RUNNING, action_id=action.id)
    ):
        raise NotNow


def skip(item_id: int, why: str, at: datetime) -> None:
    """Leave a waiting item out, with the reason. Commits."""
    mine = update(BulkItem).where(BulkItem.id == item_id, BulkItem.state == WAITING)
    change(
        mine.values(
            with_folds(BulkItem, {"state": LEFT_OUT, "detail": why[:2000], "settled_at": at})
        )
    )
    db.session.commit()


def recovered_since(job: BulkJob, item: BulkItem) -> bool:
    """Return whether the job's cause recovered on this connection since the job started."""
    if job.cause_id is None:
        return False
    mine = select(Finding.recovered_at).where(
        Finding.cause_id == job.cause_id,
        Finding.account_id == item.account_id,
        Finding.connection_id == item.connection_id,
    )
    ends = list(
        db.session.scalars(
            mine.where((Finding.recovered_at.is_(None)) | (Finding.recovered_at >= job.started_at))
        )
    )
    return bool(ends) and None not in ends


def record_outcomes(job: BulkJob, at: datetime) -> None:
    """Finish the running items whose actions have ended. Commits."""
    running = select(BulkItem, Action).join(Action, Action.id == BulkItem.action_id)
    running = running.where(BulkItem.job_id == job.id, BulkItem.state == RUNNING)
    for item, action in db.session.execute(running.execution_options(populate_existing=True)).all():
        if (end := _end(job, action)) is not None:
            item.state, item.detail, item.settled_at = end[0], end[1][:2000], at
    db.session.commit()


def finish_step(job: BulkJob, at: datetime, later: datetime, *, waits: bool = False) -> None:
    """Set the job's state after a step: ended, waiting for a user, or due again. Commits.

    It is due at ``at`` if more items may start, else at ``later``. ``waits``: none may start now.
    """
    db.session.refresh(job)
    now = numbers(job)
    if job.state == TRYING and canary(job).state not in (WAITING, RUNNING) and now.waiting:
        _move(job, (TRYING,), state=TRIED, due_at=None, leased_until=None)
    elif not now.left:
        _finish(job, at)
    elif job.state == RUNNING and not now.running and (last := _last_of_failures(job)) is not None:
        _move(job, (RUNNING,), state=TRIED, canary_id=last, due_at=None, leased_until=None)
    else:
        more = (
            canary(job).state == WAITING
            if job.state == TRYING
            else job.state == RUNNING and now.running < job.at_once
        )
        due_at = at if more and now.waiting and not waits else later
        # A user changed the state during the step and thereby set ``due_at``.
        if not _move(job, (job.state,), due_at=due_at, leased_until=None):
            _move(job, STATES, leased_until=None)


def _move(job: BulkJob, states: Sequence[str], **values: object) -> bool:
    """Change a job that is in one of these states; return whether it was. Commits."""
    return leases.write(job, BulkJob.state.in_(states), **values)


def _last_of_failures(job: BulkJob) -> int | None:
    """Return the last failed item if the last 5 results since the job continued are failures."""
    results = BulkItem.job_id == job.id, BulkItem.state.in_(RESULTS)
    since = BulkItem.id != job.canary_id, BulkItem.settled_at >= canary(job).settled_at
    newest = select(BulkItem.id, BulkItem.state).where(*results, *since)
    newest = newest.order_by(BulkItem.settled_at.desc(), BulkItem.id.desc()).limit(
        STOP_AFTER_FAILURES
    )
    found = db.session.execute(newest).all()
    return (
        found[0].id
        if len(found) == STOP_AFTER_FAILURES and all(state == FAILED for _, state in found)
        else None
    )


def _count_running(job_id: int) -> int:
    running = select(func.count()).where(BulkItem.job_id == job_id, BulkItem.state == RUNNING)
    return db.session.scalar(running) or 0


def _finish(job: BulkJob, at: datetime) -> None:
    """Store the job's end and the audit result. Commits."""
    now = numbers(job)
    with row_access.unrestricted():
        entry = db.session.get_one(AuditEntry, job.audit_id)
    over = update(BulkJob).where(BulkJob.id == job.id, BulkJob.state == job.state)
    state = CANCELLED if job.state == CANCELLED else DONE
    if not change(over.values(state=state, ended_at=at, due_at=None, leased_until=None)):
        # A user cancelled the job meanwhile, which made it due again.
        _move(job, STATES, leased_until=None)
        return
    counts = [
        (now.done, "done"),
        (now.no_effect, "without effect"),
        (now.failed, "failed"),
        (now.left_out, "left out"),
    ]
    result = ", ".join(
        f"{count} {word}" for count, word in [*counts, (now.cancelled, "not begun")] if count
    )
    by = f" Cancelled by {job.ended_by}." if job.ended_by else ""
    entry.result = audit.FAILED if now.failed and not now.done else audit.DONE
    entry.settled_at, entry.detail = at, f"{entry.detail} Result: {result}.{by}"[:2000]
    db.session.commit()
    db.session.refresh(job)


def _audit_detail(job: BulkJob, connections: int, accounts: int) -> str:
    cause = f" of cause {job.cause_id}" if job.cause_id is not None else ""
    return (
        f"Bulk job {job.id}: {connections} connections{cause} in {accounts} accounts, one first."
        f" Why: {job.why}."
    )


def _end(job: BulkJob, action: Action) -> tuple[str, str] | None:
    """Return an item's end state and detail; None while its action is in flight.

    An action for a link ends the item as soon as the link exists.
    """
    if action.kind != actions.SYNC and action.state == actions.WAITING:
        return DONE, ""
    if action.settled_at is None:
        return None
    if action.state == "superseded":
        return DONE, action.detail
    if action.state != DONE:
        return FAILED, action.detail or f"It ended as {action.state}."
    fault = _remaining_fault(job, action) if action.kind == actions.SYNC else None
    return (NO_EFFECT, fault) if fault else (DONE, action.detail)


def _remaining_fault(job: BulkJob, action: Action) -> str | None:
    """Return what is still wrong after a successful sync, or None.

    A partial run after a status without data counts as an effect.
    """
    outcome = "loaded only a part" if action.is_partial else "went well"
    key = (action.account_id, action.connection_id)
    if job.cause_id is not None:
        rule = select(Cause.rule).where(Cause.id == job.cause_id).scalar_subquery()
        mine = select(Finding.evidence).where(Finding.rule == rule, Finding.recovered_at.is_(None))
        of_connection = mine.where(Finding.account_id == key[0], Finding.connection_id == key[1])
        evidence = db.session.scalar(of_connection.limit(1))
        return f"The run {outcome}, but it is as before: {evidence}" if evidence else None
    connection = db.session.get(Connection, key)
    if (
        connection is None
        or connection.severity in WELL
        or (action.is_partial and connection.status != action.status_before)
    ):
        return None
    return (
        f"The run {outcome}, but the connection is still {connection.status or 'without a status'}."
    )
