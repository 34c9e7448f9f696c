"""Pull schedules and their runs: each committed before it starts, and completed at its end.

A pull is ``running``, then ``done``, ``partly`` (some tables failed), ``failed`` or ``stopped``
(the worker was stopped; the pull starts again). It is ``lost`` if its process ended without a
report. One pull of a schedule runs at a time, over all workers: it has the schedule's lease.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import undefer

from dashboard.audit import service as audit
from dashboard.core import leases
from dashboard.core.database import add_if_new, change, db
from dashboard.core.search_text import with_folds
from dashboard.core.text import clean, comparable
from dashboard.listing.listing import Filter, Listing, Outer, shown_time
from dashboard.pulls.limits import MOST_REMARKS_STORED, MOST_SCHEDULES
from dashboard.pulls.models import PullRun, PullSchedule
from dashboard.pulls.schedule import due_after, next_due, when_words

RUNNING, DONE, PARTLY, FAILED, STOPPED, LOST = (
    "running",
    "done",
    "partly",
    "failed",
    "stopped",
    "lost",
)
STATES: Final = (RUNNING, DONE, PARTLY, FAILED, STOPPED, LOST)
# Renewed with every page that is read. Writing a large table to the destination takes minutes.
LEASE = timedelta(minutes=10)
NO_REPORT = (
    "It ended without a report: its process was killed, or its machine stopped."
    " What it had copied is complete."
)


@dataclass(frozen=True)
class PullOutcome:
    """Outcome of a pull. ``failures``, ``remarks``: see ``PullRun``; ``failed``: their count."""

    state: str
    tables: int
    rows: int
    failed: int
    failures: Sequence[dict[str, Any]]
    remarks: Sequence[str]
    error: str


def schedule_or_none(schedule_id: int, *, with_address: bool = False) -> PullSchedule | None:
    """Return a schedule; the encrypted address is loaded only ``with_address``."""
    query = select(PullSchedule).where(PullSchedule.id == schedule_id)
    return db.session.scalar(
        query.options(undefer(PullSchedule.address)) if with_address else query
    )


def name_exists(name: str) -> bool:
    """Return whether a schedule has this name, in any case."""
    return (
        db.session.scalar(
            select(PullSchedule.id).where(PullSchedule.name_folded == comparable(name))
        )
        is not None
    )


def is_full() -> bool:
    """Return whether the maximum number of schedules is reached."""
    return (db.session.scalar(select(func.count(PullSchedule.id))) or 0) >= MOST_SCHEDULES


def create(schedule: PullSchedule, at: datetime) -> PullSchedule:
    """Store a new schedule with its due time; return it as stored. Commits.

    Raises:
        ValueError: a sentence: another schedule has its name.
    """
    schedule.due_at = next_due(schedule, at) if schedule.on else None
    stored = add_if_new(schedule)
    db.session.commit()
    if stored is None:
        raise ValueError(name_exists_message(schedule.name))
    return stored


def name_exists_message(name: str) -> str:
    """Return the sentence that a schedule with this name exists."""
    return f"There is a schedule “{name}” already: choose another name."


def save(schedule: PullSchedule, at: datetime) -> None:
    """Store a changed schedule with its due time. Commits."""
    schedule.due_at = next_due(schedule, at) if schedule.on else None
    db.session.commit()


def run_now(schedule: PullSchedule, who: str, at: datetime) -> None:
    """Make the schedule due now; if it is running, it runs again right after. Commits."""
    schedule.due_at, schedule.asked_by = at, who
    db.session.commit()


def switch(schedule: PullSchedule, on: bool, at: datetime) -> None:
    """Switch a schedule on or off. A running pull continues to its end. Commits."""
    schedule.on, schedule.asked_by = on, ""
    schedule.due_at = next_due(schedule, at) if on else None
    db.session.commit()


def remove(schedule: PullSchedule) -> None:
    """Delete a schedule and its runs; the copies stay. Commits."""
    change(delete(PullRun).where(PullRun.schedule_id == schedule.id, PullRun.ended_at.is_not(None)))
    change(delete(PullSchedule).where(PullSchedule.id == schedule.id))
    db.session.commit()


def due(at: datetime, most: int = MOST_SCHEDULES) -> list[int]:
    """Return the ids of schedules that are due and not leased."""
    return leases.ready_ids(PullSchedule, at, most)


def lease(schedule_id: int, at: datetime) -> PullSchedule | None:
    """Lease a due schedule, with its address; None if it is not due or is leased. Commits."""
    if leases.lease(PullSchedule, schedule_id, at, LEASE) is None:
        return None
    return schedule_or_none(schedule_id, with_address=True)


def start(
    schedule: PullSchedule | None, name: str, place: str, who: str, in_words: str, at: datetime
) -> PullRun:
    """Add a run with its audit entry, and close an open run of the schedule as lost. Commits."""
    if schedule is not None:
        lost = select(PullRun.id).where(
            PullRun.schedule_id == schedule.id, PullRun.ended_at.is_(None)
        )
        _close_as_lost(db.session.scalars(lost).all(), at)
    entry = audit.start(at, who, "pull", detail=clean(f"To {place}, unmasked. {in_words}"))
    run = PullRun(
        schedule_id=schedule.id if schedule is not None else None,
        name=name,
        place=place,
        who=who,
        audit_id=entry.id,
        state=RUNNING,
        began_at=at,
        leased_until=at + LEASE,
    )
    db.session.add(run)
    db.session.commit()
    return run


def extend_lease(run: PullRun, at: datetime, now: str) -> bool:
    """Extend the leases and store progress; return False if the run was closed. Commits."""
    open_run = update(PullRun).where(PullRun.id == run.id, PullRun.ended_at.is_(None))
    alive = change(open_run.values(leased_until=at + LEASE, now=clean(now)[:300]))
    if alive and run.schedule_id is not None:
        change(
            update(PullSchedule)
            .where(PullSchedule.id == run.schedule_id)
            .values(leased_until=at + LEASE)
        )
    db.session.commit()
    return bool(alive)


def finish(run: PullRun, schedule: PullSchedule | None, outcome: PullOutcome, at: datetime) -> None:
    """Store the outcome, complete the audit entry and set the schedule's next run. Commits."""
    open_run = update(PullRun).where(PullRun.id == run.id, PullRun.ended_at.is_(None))
    values = {
        "state": outcome.state,
        "tables": outcome.tables,
        "rows": outcome.rows,
        "failed": outcome.failed,
        "failures": list(outcome.failures)[:MOST_REMARKS_STORED],
        "remarks": list(outcome.remarks)[:MOST_REMARKS_STORED],
        "error": outcome.error,
    }
    closed = {"ended_at": at, "leased_until": None, "now": "", **values}
    if change(open_run.values(with_folds(PullRun, closed))):
        summary = f"{outcome.tables} tables copied, {outcome.failed} failed. {outcome.error}"
        result = audit.DONE if outcome.state == DONE else audit.FAILED
        audit.complete(run.audit_id, result, summary.strip(), at)
        if schedule is not None:
            _reschedule(schedule.id, run.began_at, at, again=outcome.state == STOPPED)
    db.session.commit()
    db.session.refresh(run)


def _reschedule(schedule_id: int, began_at: datetime, at: datetime, *, again: bool) -> None:
    # A user may have changed it, or pressed "run now", since it was read.
    current = db.session.scalar(
        select(PullSchedule)
        .where(PullSchedule.id == schedule_id)
        .execution_options(populate_existing=True)
    )
    if current is None:
        return
    current.leased_until = None
    if again or current.due_at is None or current.due_at > began_at:
        return
    current.due_at = due_after(current, began_at, at) if current.on else None
    current.asked_by = ""


def close_lost(at: datetime) -> int:
    """Close runs whose process died, also of the command line; return how many. Commits."""
    lost = db.session.scalars(
        select(PullRun.id).where(PullRun.ended_at.is_(None), PullRun.leased_until < at)
    ).all()
    _close_as_lost(lost, at)
    db.session.commit()
    return len(lost)


def _close_as_lost(run_ids: Sequence[int], at: datetime) -> None:
    for run_id in run_ids:
        run = db.session.get_one(PullRun, run_id)
        run.state, run.ended_at, run.leased_until, run.error = LOST, at, None, NO_REPORT
        audit.complete(run.audit_id, audit.UNKNOWN, NO_REPORT, at)


_LAST = (
    select(func.max(PullRun.id))
    .where(PullRun.schedule_id == PullSchedule.id)
    .correlate(PullSchedule)
    .scalar_subquery()
)

# Each row is a schedule with its last run.
SCHEDULES = Listing(
    statement=select(PullSchedule, PullRun).outerjoin(PullRun, PullRun.id == _LAST),
    search=(PullSchedule.name_folded, PullSchedule.words),
    exact=(PullSchedule.id,),
    filters={
        "result": Filter(PullRun.state, "Last pull", STATES),
        "on": Filter(case((PullSchedule.on, "on"), else_="off"), "On or off", ("on", "off")),
    },
    sorts={
        "name": (PullSchedule.name_folded, PullSchedule.id),
        "next": (PullSchedule.due_at, PullSchedule.id),
        "last": (Outer(PullRun.began_at), PullSchedule.id),
    },
    default_sort="name",
)


def serialize_schedule(row: Any) -> dict[str, Any]:
    """Return one schedule, with its last run, as JSON fields."""
    schedule, last = row
    return {
        "id": schedule.id,
        "name": schedule.name,
        "place": schedule.place,
        "when": when_words(schedule),
        "full_every": schedule.full_every,
        "on": schedule.on,
        "due_at": shown_time(schedule.due_at),
        "last_state": last.state if last else None,
        "last_began_at": shown_time(last.began_at) if last else None,
        "last_ended_at": shown_time(last.ended_at) if last else None,
        "last_tables": last.tables if last else None,
        "last_rows": last.rows if last else None,
        "last_failures": last.failed if last else None,
    }


def runs_listing(schedule_id: int) -> Listing:
    """Return the list of one schedule's runs."""
    return Listing(
        statement=select(PullRun).where(PullRun.schedule_id == schedule_id),
        search=(PullRun.name_folded, PullRun.words, PullRun.error_folded),
        exact=(PullRun.id,),
        filters={"state": Filter(PullRun.state, "Result", STATES)},
        sorts={
            "began": (PullRun.began_at, PullRun.id),
            "name": (PullRun.name_folded, PullRun.id),
            "rows": (PullRun.rows, PullRun.id),
        },
        default_sort="-began",
    )


def serialize_run(run: PullRun) -> dict[str, Any]:
    """Return one run as JSON fields."""
    return {
        "id": run.id,
        "schedule_id": run.schedule_id,
        "name": run.name,
        "place": run.place,
        "who": run.who,
        "state": run.state,
        "began_at": shown_time(run.began_at),
        "ended_at": shown_time(run.ended_at),
        "tables": run.tables,
        "rows": run.rows,
        "failed": run.failed,
        "failures": "; ".join(
            f"{each['account_id']} {each['table']}: {each['reason']}" for each in run.failures
        ),
        "remarks": " ".join(run.remarks),
        "error": run.error,
    }
