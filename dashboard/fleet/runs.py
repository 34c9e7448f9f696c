"""Runs of connections. The newest few are stored; the connection's row summarises them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import dropwhile
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import aliased

from dashboard import peliqan
from dashboard.core.database import change, db, upsert
from dashboard.core.text import clean
from dashboard.fleet.limits import ENOUGH_RUNS, MOST_RUNS_STORED
from dashboard.fleet.models import Connection, Run


def save(read: Sequence[tuple[Connection, Sequence[peliqan.Run], datetime]]) -> None:
    """Save the latest runs of some connections as read, newest first, and the time of the read.

    Deletes all but the newest few. Does not commit.
    """
    # A read that started before the last event is older than the event, and will be repeated.
    read = [each for each in read if each[0].event_at is None or each[0].event_at <= each[2]]
    for row, runs, at in read:
        row.runs_read_at = at
        if not runs:
            continue
        latest = runs[0]
        row.running = latest.is_running
        row.last_run_status, row.last_run_at = clean(latest.status), latest.started_at
        # While a run is under way, the one before it tells the last error.
        row.last_error = next(
            (clean(run.error) or None for run in runs if not run.is_running), None
        )
        successes = [
            run.ended_at or run.started_at
            for run in runs
            if run.succeeded and (run.ended_at or run.started_at)
        ]
        row.last_success_at = max(
            [time for time in (*successes, row.last_success_at) if time], default=None
        )
        _save_loads(row, [run for run in runs if not run.is_running])
    db.session.flush()
    upsert(Run, [_run_row(row, run) for row, runs, _ in read for run in runs])
    _drop_old_runs({row.account_id for row, _, _ in read})


def _save_loads(row: Connection, ended: Sequence[peliqan.Run]) -> None:
    """Summarise the completed runs: the latest, and whether those before it always loaded."""
    if not ended:
        return
    latest, successful = ended[0], [run for run in ended if run.succeeded]
    row.last_records = latest.records if latest.succeeded else None
    row.last_exit_code = latest.source_exit_code
    took = (run.ended_at - run.started_at for run in successful if run.ended_at and run.started_at)
    seconds = next(took, None)
    row.last_run_seconds = (
        round(seconds.total_seconds()) if seconds is not None else row.last_run_seconds
    )
    # Many recent runs may have loaded nothing. What was usual before the first of them counts.
    earlier = list(dropwhile(lambda run: run.records == 0, successful))
    if len(earlier) >= ENOUGH_RUNS:
        row.always_loaded = all(run.records for run in earlier)


def _run_row(row: Connection, run: peliqan.Run) -> dict[str, Any]:
    return {
        "account_id": row.account_id,
        "connection_id": row.id,
        "id": run.id,
        "status": clean(run.status),
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "records": run.records,
        "tables": [{"name": clean(table.name), "records": table.records} for table in run.tables],
        "error": clean(run.error),
        "source_exit_code": run.source_exit_code,
    }


def latest(account_id: int, connection_id: int, most: int = 10) -> list[Run]:
    """Return the connection's latest stored runs, newest first."""
    mine = select(Run).where(Run.account_id == account_id, Run.connection_id == connection_id)
    return list(db.session.scalars(mine.order_by(Run.id.desc()).limit(most)))


def newest_id(account_id: int, connection_id: int) -> int | None:
    """Return the id of a connection's newest stored run; None if there is none."""
    mine = select(func.max(Run.id)).where(
        Run.account_id == account_id, Run.connection_id == connection_id
    )
    return db.session.scalar(mine)


def _drop_old_runs(account_ids: Collection[int]) -> None:
    newer = aliased(Run)
    oldest_stored = (
        select(newer.id)
        .where(newer.account_id == Run.account_id, newer.connection_id == Run.connection_id)
        .order_by(newer.id.desc())
        .offset(MOST_RUNS_STORED - 1)
        .limit(1)
        .correlate(Run)
        .scalar_subquery()
    )
    change(delete(Run).where(Run.account_id.in_(account_ids), Run.id < oldest_stored))
