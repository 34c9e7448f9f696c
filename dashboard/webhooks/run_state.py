"""Run state of connections, and its changes by events between two reads.

The order of events does not matter: a completed run never runs again, and the connection shows the
run with the highest id.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, tuple_, update

from dashboard.core.database import change, change_many, db, upsert
from dashboard.fleet.models import Connection, ConnectionKey, Run
from dashboard.peliqan.statuses import outcome_of_run, run_is_over


@dataclass
class ReportedRun:
    """Run of a connection. ``is_new``: not stored yet; ``is_changed``: stored with other values."""

    status: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    is_new: bool = False
    is_changed: bool = False

    @property
    def is_over(self) -> bool:
        """Return whether the run has ended."""
        return run_is_over(self.status)


@dataclass
class RunState:
    """State of a connection. ``newest``: the highest run id; ``runs``: the relevant runs, by id."""

    newest: int = 0
    running: bool = False
    last_run_status: str | None = None
    last_run_at: datetime | None = None
    last_success_at: datetime | None = None
    runs_read_at: datetime | None = None
    runs: dict[int, ReportedRun] = field(default_factory=dict)

    def apply(self, run_id: int, status: str, at: datetime) -> bool:
        """Apply a run's status at a time; return whether it was news."""
        over, run = run_is_over(status), self.runs.get(run_id)
        if run is None:
            if not over and run_id < self.newest:
                # A later run is known, so the end of this one is known or will be reported.
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
            # The first reported end stays; a read decides between two different ones.
            return run.status.upper() != status.upper()
        else:
            run.status, run.ended_at, run.is_changed = status, at, True
        if outcome_of_run(status).is_success:
            self.last_success_at = max(at, self.last_success_at or at)
        self._show(run_id, run)
        return True

    def was_read_since(self, at: datetime) -> bool:
        """Return whether the runs were read at this time or later, so reports of it are known."""
        return self.runs_read_at is not None and self.runs_read_at >= at

    def _show(self, run_id: int, run: ReportedRun) -> None:
        if run_id >= self.newest:
            self.newest, self.running, self.last_run_status = run_id, not run.is_over, run.status
            self.last_run_at = run.started_at or run.ended_at


def load(reported: Collection[tuple[ConnectionKey, int | None]]) -> dict[ConnectionKey, RunState]:
    """Return the states of existing connections, each with its reported and its newest runs.

    ``reported``: connections, each with a run's id or None.
    """
    connections = {connection for connection, _ in reported}
    newest = (
        select(func.max(Run.id))
        .where(Run.account_id == Connection.account_id, Run.connection_id == Connection.id)
        .correlate(Connection)
        .scalar_subquery()
    )
    shown = (
        Connection.running,
        Connection.last_run_status,
        Connection.last_run_at,
        Connection.last_success_at,
    )
    stored = select(
        Connection.account_id, Connection.id, newest, *shown, Connection.runs_read_at
    ).where(
        Connection.account_id.in_({account_id for account_id, _ in connections}),
        Connection.gone_at.is_(None),
    )
    found = {
        (row[0], row[1]): RunState(row[2] or 0, *row[3:])
        for row in db.session.execute(stored)
        if (row[0], row[1]) in connections
    }
    runs = {
        (*connection, run_id)
        for connection, run_id in reported
        if run_id is not None and connection in found
    }
    runs |= {(*connection, state.newest) for connection, state in found.items() if state.newest}
    if runs:
        is_relevant = tuple_(Run.account_id, Run.connection_id, Run.id).in_(runs)
        columns = (
            Run.account_id,
            Run.connection_id,
            Run.id,
            Run.status,
            Run.started_at,
            Run.ended_at,
        )
        for row in db.session.execute(select(*columns).where(is_relevant)):
            found[row.account_id, row.connection_id].runs[row.id] = ReportedRun(
                row.status, row.started_at, row.ended_at
            )
    return found


def save(states: Mapping[ConnectionKey, RunState], at: datetime) -> None:
    """Store run states and the time of the event. Requires ``lock_snapshot``. Does not commit."""
    runs = [
        (connection, id, run)
        for connection, state in states.items()
        for id, run in state.runs.items()
    ]
    upsert(Run, [_row(key, id, run) for key, id, run in runs if run.is_new], keep_existing=True)
    names = ("status", "started_at", "ended_at")
    this_run = (
        Run.account_id == bindparam("account"),
        Run.connection_id == bindparam("connection"),
        Run.id == bindparam("run"),
    )
    changed: list[dict[str, Any]] = [
        {
            "account": connection[0],
            "connection": connection[1],
            "run": id,
            **{f"to_{name}": getattr(run, name) for name in names},
        }
        for connection, id, run in runs
        if run.is_changed and not run.is_new
    ]
    change_many(
        update(Run).where(*this_run).values({name: bindparam(f"to_{name}") for name in names}),
        changed,
    )
    shown = ("running", "last_run_status", "last_run_at", "last_success_at")
    this = (Connection.account_id == bindparam("account"), Connection.id == bindparam("connection"))
    values: list[dict[str, Any]] = [
        {
            "account": connection[0],
            "connection": connection[1],
            "at": at,
            **{f"to_{name}": getattr(state, name) for name in shown},
        }
        for connection, state in states.items()
    ]
    to: dict[str, Any] = {name: bindparam(f"to_{name}") for name in shown}
    change_many(update(Connection).where(*this).values({**to, "event_at": bindparam("at")}), values)


def mark_missing(connections: Collection[ConnectionKey], at: datetime) -> None:
    """Mark connections as missing once. Does not commit.

    Peliqan's event of a removal counts like one listing without the connection.
    """
    for account_id, id in connections:
        is_listed = (
            Connection.account_id == account_id,
            Connection.id == id,
            Connection.missing_at.is_(None),
        )
        change(update(Connection).where(*is_listed).values(missing_at=at))


def _row(connection: ConnectionKey, run_id: int, run: ReportedRun) -> dict[str, Any]:
    return {
        "account_id": connection[0],
        "connection_id": connection[1],
        "id": run_id,
        "status": run.status,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "tables": [],
        "error": "",
    }
