"""Schedules by which tables are copied out, and the pulls that were made: each written down before it begins, and its end.

A pull is ``running``, then ``done``, ``partly`` (some tables failed), ``failed`` or ``stopped`` (the worker was; it begins
anew); ``lost`` where whoever made it ended without a word. One pull of a schedule runs at a time, over all workers: it has the
schedule's lease.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import undefer

from dashboard.audit import service as audit
from dashboard.core.database import add_if_new, change, db, is_free
from dashboard.core.search_text import with_folds
from dashboard.core.text import clean, comparable
from dashboard.listing.listing import Filter, Listing, Outer, shown_time
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
# Renewed with every page that is read; a table that is written to the destination takes its time.
LEASE = timedelta(minutes=10)
MOST_SCHEDULES, MOST_KEPT = 50, 100
NO_WORD = "It ended without a word: its process was killed, or its machine was. What it had copied is whole."


@dataclass(frozen=True)
class Ended:
    """How a pull ended. ``failures`` and ``remarks``: as in ``PullRun``; ``failed``: how many failures there were."""

    state: str
    tables: int
    rows: int
    failed: int
    failures: Sequence[dict[str, Any]]
    remarks: Sequence[str]
    error: str


def schedule_or_none(schedule_id: int, *, with_address: bool = False) -> PullSchedule | None:
    """One schedule; the encrypted address only for whoever is about to use it."""
    wanted = select(PullSchedule).where(PullSchedule.id == schedule_id)
    return db.session.scalar(
        wanted.options(undefer(PullSchedule.address)) if with_address else wanted
    )


def is_taken(name: str) -> bool:
    """Whether a schedule has this name already."""
    return (
        db.session.scalar(
            select(PullSchedule.id).where(PullSchedule.name_folded == comparable(name))
        )
        is not None
    )


def is_full() -> bool:
    """Whether there are as many schedules as there may be."""
    return (db.session.scalar(select(func.count(PullSchedule.id))) or 0) >= MOST_SCHEDULES


def create(schedule: PullSchedule, at: datetime) -> PullSchedule:
    """Write a new schedule down, and when it is due; return it as it is stored. Commits.

    Raises:
        ValueError: a sentence: another one has its name.
    """
    schedule.due_at = next_due(schedule, at) if schedule.on else None
    made = add_if_new(schedule)
    db.session.commit()
    if made is None:
        raise ValueError(name_is_taken(schedule.name))
    return made


def name_is_taken(name: str) -> str:
    """Return the sentence that says so."""
    return f"There is a schedule “{name}” already: choose another name."


def save(schedule: PullSchedule, at: datetime) -> None:
    """Write a changed schedule down, and when it is due. Commits."""
    schedule.due_at = next_due(schedule, at) if schedule.on else None
    db.session.commit()


def run_now(schedule: PullSchedule, who: str, at: datetime) -> None:
    """Have it run at once; where it runs already, right after. Commits."""
    schedule.due_at, schedule.asked_by = at, who
    db.session.commit()


def switch(schedule: PullSchedule, on: bool, at: datetime) -> None:
    """Have a schedule go on or rest. A pull that runs comes to its end. Commits."""
    schedule.on, schedule.asked_by = on, ""
    schedule.due_at = next_due(schedule, at) if on else None
    db.session.commit()


def remove(schedule: PullSchedule) -> None:
    """Forget a schedule with its runs; what was copied stays where it is. Commits."""
    change(delete(PullRun).where(PullRun.schedule_id == schedule.id, PullRun.ended_at.is_not(None)))
    change(delete(PullSchedule).where(PullSchedule.id == schedule.id))
    db.session.commit()


def due(at: datetime) -> list[int]:
    """Ids of schedules that somebody should run now."""
    return list(
        db.session.scalars(
            select(PullSchedule.id)
            .where(PullSchedule.due_at <= at, is_free(PullSchedule, at))
            .order_by(PullSchedule.due_at)
        )
    )


def lease(schedule_id: int, at: datetime) -> PullSchedule | None:
    """The schedule with its address, if it is due and nobody else runs it. Commits."""
    taken = change(
        update(PullSchedule)
        .where(PullSchedule.id == schedule_id, PullSchedule.due_at <= at, is_free(PullSchedule, at))
        .values(leased_until=at + LEASE)
    )
    db.session.commit()
    if not taken:
        return None
    found = schedule_or_none(schedule_id, with_address=True)
    if found is not None:
        db.session.refresh(found)
    return found


def start(
    schedule: PullSchedule | None, name: str, place: str, who: str, in_words: str, at: datetime
) -> PullRun:
    """Write down that a pull begins, with its audit entry; an open one of the schedule's was killed, and is closed. Commits."""
    if schedule is not None:
        lost = select(PullRun.id).where(
            PullRun.schedule_id == schedule.id, PullRun.ended_at.is_(None)
        )
        _lose(db.session.scalars(lost).all(), at)
    entry = audit.begin(at, who, "pull", detail=clean(f"To {place}, unmasked. {in_words}"))
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
    """Say that it still runs, and at what; False where somebody closed it meanwhile. Commits."""
    mine = update(PullRun).where(PullRun.id == run.id, PullRun.ended_at.is_(None))
    alive = change(mine.values(leased_until=at + LEASE, now=clean(now)[:300]))
    if alive and run.schedule_id is not None:
        change(
            update(PullSchedule)
            .where(PullSchedule.id == run.schedule_id)
            .values(leased_until=at + LEASE)
        )
    db.session.commit()
    return bool(alive)


def finish(run: PullRun, schedule: PullSchedule | None, ended: Ended, at: datetime) -> None:
    """Write down how it ended, in the audit trail too, and when the schedule runs next. Commits."""
    mine = update(PullRun).where(PullRun.id == run.id, PullRun.ended_at.is_(None))
    values = {
        "state": ended.state,
        "tables": ended.tables,
        "rows": ended.rows,
        "failed": ended.failed,
        "failures": list(ended.failures)[:MOST_KEPT],
        "remarks": list(ended.remarks)[:MOST_KEPT],
        "error": ended.error,
    }
    if change(
        mine.values(
            with_folds(PullRun, {"ended_at": at, "leased_until": None, "now": "", **values})
        )
    ):
        told = f"{ended.tables} tables copied, {ended.failed} failed. {ended.error}".strip()
        audit.settle(run.audit_id, audit.DONE if ended.state == DONE else audit.FAILED, told, at)
        if schedule is not None:
            _put_off(schedule.id, run.began_at, at, again=ended.state == STOPPED)
    db.session.commit()
    db.session.refresh(run)


def _put_off(schedule_id: int, began_at: datetime, at: datetime, *, again: bool) -> None:
    # Somebody may have changed it, or pressed "run now", since it was read.
    fresh = db.session.scalar(
        select(PullSchedule)
        .where(PullSchedule.id == schedule_id)
        .execution_options(populate_existing=True)
    )
    if fresh is None:
        return
    fresh.leased_until = None
    if again or fresh.due_at is None or fresh.due_at > began_at:
        return
    fresh.due_at = due_after(fresh, began_at, at) if fresh.on else None
    fresh.asked_by = ""


def close_lost(at: datetime) -> int:
    """Close runs whose process is gone, those of the command line too; how many. Commits."""
    lost = db.session.scalars(
        select(PullRun.id).where(PullRun.ended_at.is_(None), PullRun.leased_until < at)
    ).all()
    _lose(lost, at)
    db.session.commit()
    return len(lost)


def _lose(run_ids: Sequence[int], at: datetime) -> None:
    for run_id in run_ids:
        run = db.session.get_one(PullRun, run_id)
        run.state, run.ended_at, run.leased_until, run.error = LOST, at, None, NO_WORD
        audit.settle(run.audit_id, audit.UNKNOWN, NO_WORD, at)


_LAST = (
    select(func.max(PullRun.id))
    .where(PullRun.schedule_id == PullSchedule.id)
    .correlate(PullSchedule)
    .scalar_subquery()
)

# Beside each schedule its last pull.
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
    """One schedule as scripts see it."""
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
    """The pulls of one schedule."""
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
    """One pull as scripts see it."""
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
