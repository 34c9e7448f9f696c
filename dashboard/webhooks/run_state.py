"""How connections stand with their runs, and what is heard of that between two readings. See ``webhooks.jobs``.

Whatever order things are heard in, the outcome is the same: a run that has ended never runs again, and the connection shows the
run with the highest id.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, tuple_, update

from dashboard.core.database import change, change_many, db, upsert
from dashboard.fleet.models import Connection, Run
from dashboard.peliqan.statuses import outcome_of_run, run_is_over

# An account's and a connection's id.
Place = tuple[int, int]


@dataclass
class ReportedRun:
    """A run. ``is_new``: the store does not have it; ``is_changed``: it has it otherwise."""

    status: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    is_new: bool = False
    is_changed: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return run_is_over(self.status)


@dataclass
class RunState:
    """A connection. ``newest``: the highest id of a run; ``runs`` by id, those that matter here."""

    newest: int = 0
    running: bool = False
    last_run_status: str | None = None
    last_run_at: datetime | None = None
    last_success_at: datetime | None = None
    runs_read_at: datetime | None = None
    runs: dict[int, ReportedRun] = field(default_factory=dict)

    def hear(self, run_id: int, status: str, at: datetime) -> bool:
        """A run had this status at a time; whether that was news."""
        over, run = run_is_over(status), self.runs.get(run_id)
        if run is None:
            if not over and run_id < self.newest:
                # It began before one that is known, so it is known how it ended, or soon will be.
                return False
            run = self.runs[run_id] = ReportedRun(
                status, None if over else at, at if over else None, is_new=True
            )
        elif not over:
            if run.started_at is None:
                run.started_at, run.is_changed = at, True
                self._show(run_id, run)
            return False
        elif run.is_over:
            # It stays as it ended first; where that is not what is said now, a reading shows which it is.
            return run.status.upper() != status.upper()
        else:
            run.status, run.ended_at, run.is_changed = status, at, True
        if outcome_of_run(status).is_success:
            self.last_success_at = max(at, self.last_success_at or at)
        self._show(run_id, run)
        return True

    def was_read_since(self, at: datetime) -> bool:
        """Whether its runs were read after this time, so that what was told then is known already."""
        return self.runs_read_at is not None and self.runs_read_at >= at

    def _show(self, run_id: int, run: ReportedRun) -> None:
        if run_id >= self.newest:
            self.newest, self.running, self.last_run_status = run_id, not run.is_over, run.status
            self.last_run_at = run.started_at or run.ended_at


def load(heard: Collection[tuple[Place, int | None]]) -> dict[Place, RunState]:
    """The standings of connections that are not gone, with those runs and the newest of each."""
    places = {place for place, _ in heard}
    newest = (
        select(func.max(Run.id))
        .where(Run.account_id == Connection.account_id, Run.connection_id == Connection.id)
        .correlate(Connection)
        .scalar_subquery()
    )
    facts = (
        Connection.running,
        Connection.last_run_status,
        Connection.last_run_at,
        Connection.last_success_at,
    )
    mine = select(
        Connection.account_id, Connection.id, newest, *facts, Connection.runs_read_at
    ).where(
        Connection.account_id.in_({account_id for account_id, _ in places}),
        Connection.gone_at.is_(None),
    )
    found = {
        (row[0], row[1]): RunState(row[2] or 0, *row[3:])
        for row in db.session.execute(mine)
        if (row[0], row[1]) in places
    }
    wanted = {(*place, run_id) for place, run_id in heard if run_id is not None and place in found}
    wanted |= {(*place, standing.newest) for place, standing in found.items() if standing.newest}
    if wanted:
        these = tuple_(Run.account_id, Run.connection_id, Run.id).in_(wanted)
        columns = (
            Run.account_id,
            Run.connection_id,
            Run.id,
            Run.status,
            Run.started_at,
            Run.ended_at,
        )
        for row in db.session.execute(select(*columns).where(these)):
            found[row.account_id, row.connection_id].runs[row.id] = ReportedRun(
                row.status, row.started_at, row.ended_at
            )
    return found


def save(standings: Mapping[Place, RunState], at: datetime) -> None:
    """Write them down, and that something was heard of them. Within ``begin_change``. Does not commit."""
    runs = [
        (place, id, run)
        for place, standing in standings.items()
        for id, run in standing.runs.items()
    ]
    upsert(Run, [_row(place, id, run) for place, id, run in runs if run.is_new], keep=True)
    names = ("status", "started_at", "ended_at")
    this_run = (
        Run.account_id == bindparam("account"),
        Run.connection_id == bindparam("connection"),
        Run.id == bindparam("run"),
    )
    changed: list[dict[str, Any]] = [
        {
            "account": place[0],
            "connection": place[1],
            "run": id,
            **{f"to_{name}": getattr(run, name) for name in names},
        }
        for place, id, run in runs
        if run.is_changed and not run.is_new
    ]
    change_many(
        update(Run).where(*this_run).values({name: bindparam(f"to_{name}") for name in names}),
        changed,
    )
    shown = ("running", "last_run_status", "last_run_at", "last_success_at")
    this = (Connection.account_id == bindparam("account"), Connection.id == bindparam("connection"))
    facts: list[dict[str, Any]] = [
        {
            "account": place[0],
            "connection": place[1],
            "at": at,
            **{f"to_{name}": getattr(standing, name) for name in shown},
        }
        for place, standing in standings.items()
    ]
    to: dict[str, Any] = {name: bindparam(f"to_{name}") for name in shown}
    change_many(update(Connection).where(*this).values({**to, "event_at": bindparam("at")}), facts)


def note_removed(places: Collection[Place], at: datetime) -> None:
    """Peliqan says that these are no more: that is as good as one listing without them. Does not commit."""
    for account_id, id in places:
        here = (
            Connection.account_id == account_id,
            Connection.id == id,
            Connection.missing_at.is_(None),
        )
        change(update(Connection).where(*here).values(missing_at=at))


def _row(place: Place, run_id: int, run: ReportedRun) -> dict[str, Any]:
    return {
        "account_id": place[0],
        "connection_id": place[1],
        "id": run_id,
        "status": run.status,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "tables": [],
        "error": "",
    }
