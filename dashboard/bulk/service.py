"""Work on many connections at once: a job, and an item for each of its connections.

A job is ``trying`` (one connection first), ``tried`` (its result waits for a person), ``running`` (the others) and ``done``;
or ``cancelled``: nothing more is begun, and what is under way is followed to its end. ``ended_at`` is set when nothing is left.
A ``running`` job of which five in a row fail is ``tried`` again, with the last of them: a person decides whether to go on.
An item is ``waiting``, ``running`` (its action is under way) and then ``done``, ``no_effect``, ``failed``, ``left_out`` (not
begun, and why) or ``cancelled``. It gets one action at most: both are written in one transaction, before anything is tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, insert, select, update

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.audit import service as audit
from dashboard.audit.models import AuditEntry
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.core import row_access
from dashboard.core.database import change, db, is_free
from dashboard.core.search_text import with_folds
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Connection

TRYING, TRIED, RUNNING, DONE, CANCELLED = "trying", "tried", "running", "done", "cancelled"
STATES = (TRYING, TRIED, RUNNING, DONE, CANCELLED)
WAITING, NO_EFFECT, FAILED, LEFT_OUT = "waiting", "no_effect", "failed", "left_out"
ITEM_STATES = (RUNNING, FAILED, NO_EFFECT, LEFT_OUT, WAITING, DONE, CANCELLED)
# What trying on one can tell; where it was left out instead, nothing was tried.
RESULTS = (DONE, NO_EFFECT, FAILED)
KINDS = (actions.SYNC, actions.REAUTHORISE)
LEASE = timedelta(seconds=60)
ENOUGH_FAILURES = 5
WELL = {"ok", "busy"}
Place = tuple[int, int]


class NotNow(Exception):
    """The item may not begin: it has begun already, enough are under way, or the job's state is another by now."""


@dataclass(frozen=True)
class Numbers:
    """How many items of a job are in each state; ``left``: those that may still change."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    no_effect: int = 0
    failed: int = 0
    left_out: int = 0
    cancelled: int = 0

    @property
    def left(self) -> int:
        """Waiting or under way."""
        return self.waiting + self.running

    @property
    def total(self) -> int:
        """All of them."""
        return self.left + self.settled

    @property
    def settled(self) -> int:
        """Those that will not change."""
        return self.done + self.no_effect + self.failed + self.left_out + self.cancelled


def job_or_none(job_id: int) -> BulkJob | None:
    """One job."""
    return db.session.get(BulkJob, job_id)


def numbers(job: BulkJob) -> Numbers:
    """How far a job is."""
    counting = (
        select(BulkItem.state, func.count())
        .where(BulkItem.job_id == job.id)
        .group_by(BulkItem.state)
    )
    return Numbers(**dict(db.session.execute(counting).all()))


def open_job(
    kind: str,
    places: Sequence[Place],
    first: Place,
    who: str,
    why: str,
    at_once: int,
    at: datetime,
    cause_id: int | None = None,
) -> BulkJob:
    """Write down a job for these connections (by account and id), with its audit entry; due now, to try ``first``. Commits."""
    entry = audit.begin(at, who, f"bulk_{kind}")
    job = BulkJob(
        kind=kind,
        state=TRYING,
        who=who,
        why=why[:500],
        cause_id=cause_id,
        at_once=at_once,
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
        for account_id, connection_id in places
    ]
    db.session.execute(insert(BulkItem), rows)
    job.canary_id = db.session.scalar(
        select(BulkItem.id).where(
            BulkItem.job_id == job.id,
            BulkItem.account_id == first[0],
            BulkItem.connection_id == first[1],
        )
    )
    entry.detail = _in_words(job, len(places), len({account_id for account_id, _ in places}))
    db.session.commit()
    return job


def canary(job: BulkJob) -> BulkItem:
    """The item that is tried first."""
    return db.session.get_one(BulkItem, job.canary_id)


def resume(job: BulkJob, who: str, seen: str, at: datetime) -> bool:
    """Have the rest begun; False unless trying on one has ended with the result that the person has ``seen``. Commits."""
    if canary(job).state not in RESULTS or canary(job).state != seen:
        return False
    return _move(job, (TRIED,), state=RUNNING, went_on_by=who, due_at=at)


def try_another(job: BulkJob, item_id: int, at: datetime) -> bool:
    """Try on this item next; False unless one was tried and this one waits. Commits."""
    waits = select(BulkItem.id).where(
        BulkItem.id == item_id, BulkItem.job_id == job.id, BulkItem.state == WAITING
    )
    if db.session.scalar(waits) is None:
        return False
    return _move(job, (TRIED,), state=TRYING, canary_id=item_id, due_at=at)


def cancel(job: BulkJob, who: str, at: datetime) -> bool:
    """Begin nothing more; what is under way is followed to its end. False when it is over already. Commits."""
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
    """Ids of the jobs that should be gone on with now."""
    return list(
        db.session.scalars(
            select(BulkJob.id)
            .where(BulkJob.due_at <= at, is_free(BulkJob, at))
            .order_by(BulkJob.due_at)
            .limit(most)
        )
    )


def lease(job_id: int, at: datetime) -> BulkJob | None:
    """The job, if it is due and nobody else goes on with it. Commits."""
    taken = change(
        update(BulkJob)
        .where(BulkJob.id == job_id, BulkJob.due_at <= at, is_free(BulkJob, at))
        .values(leased_until=at + LEASE)
    )
    db.session.commit()
    if not taken:
        return None
    job = db.session.get_one(BulkJob, job_id)
    db.session.refresh(job)
    return job


def wake_waiting(action_id: int, at: datetime) -> list[int]:
    """An action has ended: the jobs that wait for it are due now. Commits."""
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
    """What to begin now, if anything may be: the one that is tried first, or the next while fewer than ``at_once`` are on."""
    db.session.refresh(job)
    waiting = select(BulkItem).where(BulkItem.job_id == job.id, BulkItem.state == WAITING)
    if job.state == TRYING:
        waiting = waiting.where(BulkItem.id == job.canary_id)
    elif (
        job.state != RUNNING or _under_way(job.id) >= job.at_once or _keeps_failing(job) is not None
    ):
        return None
    return db.session.scalar(
        waiting.order_by(BulkItem.id).limit(1).execution_options(populate_existing=True)
    )


def claim(job_id: int, item_id: int, action: Action, at: datetime) -> None:
    """It is this item's turn, with this action: within the transaction that writes the action down. Does not commit.

    The job's row is written first, so that whoever else begins or cancels something of this job waits until this is decided.

    Raises:
        NotNow: the caller takes everything back.
    """
    begins = update(BulkJob).where(BulkJob.id == job_id, BulkJob.state.in_((TRYING, RUNNING)))
    if not change(begins.values(leased_until=at + LEASE)):
        raise NotNow
    at_once = db.session.scalar(select(BulkJob.at_once).where(BulkJob.id == job_id)) or 1
    mine = update(BulkItem).where(
        BulkItem.id == item_id, BulkItem.state == WAITING, BulkItem.action_id.is_(None)
    )
    if _under_way(job_id) >= at_once or not change(mine.values(state=RUNNING, action_id=action.id)):
        raise NotNow


def skip(item_id: int, why: str, at: datetime) -> None:
    """Do not begin this one. Commits."""
    mine = update(BulkItem).where(BulkItem.id == item_id, BulkItem.state == WAITING)
    change(
        mine.values(
            with_folds(BulkItem, {"state": LEFT_OUT, "detail": why[:2000], "settled_at": at})
        )
    )
    db.session.commit()


def recovered_since(job: BulkJob, item: BulkItem) -> bool:
    """Whether what the job is for has left this connection by itself since the job was begun."""
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
    """Give the items whose action has come to its end theirs. Commits."""
    under_way = select(BulkItem, Action).join(Action, Action.id == BulkItem.action_id)
    under_way = under_way.where(BulkItem.job_id == job.id, BulkItem.state == RUNNING)
    for item, action in db.session.execute(
        under_way.execution_options(populate_existing=True)
    ).all():
        if (end := _end(job, action)) is not None:
            item.state, item.detail, item.settled_at = end[0], end[1][:2000], at
    db.session.commit()


def finish_step(job: BulkJob, at: datetime, later: datetime, *, waits: bool = False) -> None:
    """Where the job stands after a step: over, waiting for a person, or due again, at once if more may begin. Commits.

    ``waits``: nothing may begin just now, so it is due ``later``.
    """
    db.session.refresh(job)
    now = numbers(job)
    if job.state == TRYING and canary(job).state not in (WAITING, RUNNING) and now.waiting:
        _move(job, (TRYING,), state=TRIED, due_at=None, leased_until=None)
    elif not now.left:
        _finish(job, at)
    elif job.state == RUNNING and not now.running and (last := _keeps_failing(job)) is not None:
        _move(job, (RUNNING,), state=TRIED, canary_id=last, due_at=None, leased_until=None)
    else:
        more = (
            canary(job).state == WAITING
            if job.state == TRYING
            else job.state == RUNNING and now.running < job.at_once
        )
        again = at if more and now.waiting and not waits else later
        # Who pressed a button meanwhile has said when it is due.
        if not _move(job, (job.state,), due_at=again, leased_until=None):
            _move(job, STATES, leased_until=None)


def _move(job: BulkJob, states: Sequence[str], **values: object) -> bool:
    """Change a job that is in one of these states. Commits."""
    moved = change(
        update(BulkJob).where(BulkJob.id == job.id, BulkJob.state.in_(states)).values(**values)
    )
    db.session.commit()
    db.session.refresh(job)
    return bool(moved)


def _keeps_failing(job: BulkJob) -> int | None:
    """The item that failed last, where it and the four before it did so since the job was gone on with."""
    results = BulkItem.job_id == job.id, BulkItem.state.in_(RESULTS)
    since = BulkItem.id != job.canary_id, BulkItem.settled_at >= canary(job).settled_at
    newest = select(BulkItem.id, BulkItem.state).where(*results, *since)
    newest = newest.order_by(BulkItem.settled_at.desc(), BulkItem.id.desc()).limit(ENOUGH_FAILURES)
    found = db.session.execute(newest).all()
    return (
        found[0].id
        if len(found) == ENOUGH_FAILURES and all(state == FAILED for _, state in found)
        else None
    )


def _under_way(job_id: int) -> int:
    running = select(func.count()).where(BulkItem.job_id == job_id, BulkItem.state == RUNNING)
    return db.session.scalar(running) or 0


def _finish(job: BulkJob, at: datetime) -> None:
    """Nothing is left: the job's end and its audit entry's result, in one commit."""
    now = numbers(job)
    with row_access.unrestricted():
        entry = db.session.get_one(AuditEntry, job.audit_id)
    over = update(BulkJob).where(BulkJob.id == job.id, BulkJob.state == job.state)
    state = CANCELLED if job.state == CANCELLED else DONE
    if not change(over.values(state=state, ended_at=at, due_at=None, leased_until=None)):
        # Cancelled in this very moment, and due again by that.
        _move(job, STATES, leased_until=None)
        return
    counts = [
        (now.done, "done"),
        (now.no_effect, "without effect"),
        (now.failed, "failed"),
        (now.left_out, "left out"),
    ]
    told = ", ".join(
        f"{count} {word}" for count, word in [*counts, (now.cancelled, "not begun")] if count
    )
    by = f" Cancelled by {job.ended_by}." if job.ended_by else ""
    entry.result = audit.FAILED if now.failed and not now.done else audit.DONE
    entry.settled_at, entry.detail = at, f"{entry.detail} Result: {told}.{by}"[:2000]
    db.session.commit()
    db.session.refresh(job)


def _in_words(job: BulkJob, connections: int, accounts: int) -> str:
    cause = f" of cause {job.cause_id}" if job.cause_id is not None else ""
    return f"Bulk job {job.id}: {connections} connections{cause} in {accounts} accounts, one first. Why: {job.why}."


def _end(job: BulkJob, action: Action) -> tuple[str, str] | None:
    """An item's end and what to say of it, once its action has come so far."""
    if action.kind != actions.SYNC and action.state == actions.WAITING:
        return DONE, ""
    if action.settled_at is None:
        return None
    if action.state == "superseded":
        return DONE, action.detail
    if action.state != DONE:
        return FAILED, action.detail or f"It ended as {action.state}."
    still = _still(job, action) if action.kind == actions.SYNC else None
    return (NO_EFFECT, still) if still else (DONE, action.detail)


def _still(job: BulkJob, action: Action) -> str | None:
    """What is still wrong although the sync went well. A part of the data is an effect where there was none before."""
    went = "loaded only a part" if action.is_partial else "went well"
    place = (action.account_id, action.connection_id)
    if job.cause_id is not None:
        rule = select(Cause.rule).where(Cause.id == job.cause_id).scalar_subquery()
        mine = select(Finding.evidence).where(Finding.rule == rule, Finding.recovered_at.is_(None))
        here = mine.where(Finding.account_id == place[0], Finding.connection_id == place[1])
        evidence = db.session.scalar(here.limit(1))
        return f"The run {went}, but it is as before: {evidence}" if evidence else None
    connection = db.session.get(Connection, place)
    if (
        connection is None
        or connection.severity in WELL
        or (action.is_partial and connection.status != action.status_before)
    ):
        return None
    return f"The run {went}, but the connection is still {connection.status or 'without a status'}."
