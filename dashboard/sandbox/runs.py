"""Runs of connections: start by schedule, outcome, form in the API, log.

A scheduled run is a pure function of the seed, its connection and its time, so history needs no
memory.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from dashboard.sandbox.connectors import Connector
from dashboard.sandbox.seed import Connection, World

EPOCH = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
RUN_IDS = 10**9
FLIP_EVERY = 1800
# The SDK reads the reason of a failure from four fields: the field depends on the connector.
ERROR_FIELD = {"accounting": "message", "e-commerce": "status_message", "bank": "source_error"}


@dataclass
class Run:
    """A run.

    ``ends_at``: a future time means that the run still runs; None that it never ends.
    ``records``: loaded rows by table.
    """

    id: int
    connection_id: int
    started_at: datetime
    ends_at: datetime | None
    outcome: str
    error: str
    exit_code: int | None
    records: dict[str, int]

    def is_running(self, at: datetime) -> bool:
        """Return whether the run has not ended at this time."""
        return self.ends_at is None or at < self.ends_at

    def end_as(self, outcome: str) -> None:
        """Replace the outcome that the connection gives it."""
        self.outcome = outcome
        self.error, self.exit_code = _OTHER_ENDS[outcome]
        if self.error and outcome != "COMPLETED_WITH_ERRORS":
            self.records = {}


# The error and the source's exit code; None where Peliqan's runner did not finish the run.
_OTHER_ENDS: dict[str, tuple[str, int | None]] = {
    "COMPLETED": ("", 0),
    "COMPLETED_WITH_ERRORS": (
        "3 rows were rejected by the target: value too long for type character varying(255).",
        0,
    ),
    "ERROR": ("500 Server Error: Internal Server Error", 1),
    "INTERNAL_ERROR": ("Pipeline runner crashed: the worker that ran the task was lost.", None),
    "KILLED": ("The run was stopped by the platform (out of memory).", 137),
}


@dataclass(frozen=True)
class Schedule:
    """A run every ``interval`` seconds from ``since`` on; none where ``on`` is false."""

    since: datetime
    interval: int
    on: bool = True


def run_id(connection: Connection, started: datetime) -> int:
    """Return a run's id, made of the connection's id and the second of the start."""
    return connection.id * RUN_IDS + int((started - EPOCH).total_seconds())


def scheduled_starts(
    connection: Connection, schedules: Sequence[Schedule], at: datetime
) -> Iterator[datetime]:
    """Yield the start times of scheduled runs, newest first, down to the epoch."""
    for schedule in reversed(schedules):
        if schedule.on:
            phase = connection.phase % schedule.interval
            number = int(((at - EPOCH).total_seconds() - phase) // schedule.interval)
            while number >= 0:
                started = EPOCH + timedelta(seconds=phase + number * schedule.interval)
                if started < schedule.since:
                    break
                yield started
                number -= 1
        at = min(at, schedule.since - timedelta(seconds=1))


def is_scheduled(connection: Connection, schedules: Sequence[Schedule], started: datetime) -> bool:
    """Return whether the schedule starts a run at that second."""
    schedule = next((each for each in reversed(schedules) if each.since <= started), None)
    if schedule is None or not schedule.on:
        return False
    seconds = int((started - EPOCH).total_seconds())
    return seconds % schedule.interval == connection.phase % schedule.interval


def duration(connection: Connection) -> timedelta:
    """Return how long the connection's scheduled runs take."""
    return timedelta(seconds=min(connection.seconds, connection.interval // 3))


def flipped(connection: Connection, started: datetime) -> bool:
    """Return whether an intermittent connection fails then: it fails every third half hour."""
    return connection.flips and (int(started.timestamp()) // FLIP_EVERY + connection.id) % 3 == 0


def make_run(
    world: World,
    connection: Connection,
    started: datetime,
    ends: datetime | None,
    failing_since: datetime | None,
    number: int | None = None,
) -> Run:
    """Return the run that started at ``started``.

    Args:
        world: The world of the connection.
        connection: The connection of the run.
        started: The time of the start.
        ends: The time of the end; None: never.
        failing_since: The time since which the connection's own failure holds; None: it does not.
        number: The run's id; None: derived from ``started``.
    """
    run = Run(
        number or run_id(connection, started), connection.id, started, ends, "COMPLETED", "", 0, {}
    )
    draw = world.number("run", run.id) % 100
    tables = connection.connector.tables
    run.records = {
        table: max(int(world.quiet), world.number("records", run.id, table) % 900)
        for table in tables
    }
    failure = connection.failure
    if failing_since is not None and failure is not None:
        run.outcome, run.exit_code = failure.run, failure.exit_code
        run.error = failure.text.format(
            host=connection.connector.host,
            account=connection.account_id,
            n=draw,
            date=f"{failing_since:%Y-%m-%d}",
        )
        run.records = {tables[0]: 1 + draw} if run.outcome == "COMPLETED_WITH_ERRORS" else {}
    elif flipped(connection, started):
        run.outcome, run.exit_code, run.records = "ERROR", 1, {}
        host = connection.connector.host
        run.error = f"502 Server Error: Bad Gateway for url: https://{host}/api/v1/{tables[0]}"
    elif draw == 0 and not world.quiet:
        run.end_as("KILLED")
    elif connection.fate.empty_from is not None and started >= connection.fate.empty_from:
        run.records = dict.fromkeys(tables, 0)
    return run


def task_id(world: World, run: Run) -> str:
    """Return the task id of a run, shaped like the UUIDs of a task queue."""
    return str(
        UUID(int=world.number("task", run.id) << 64 | world.number("task too", run.id), version=4)
    )


def as_json(connection: Connection, run: Run, at: datetime) -> dict[str, Any]:
    """Return a run as the API shows it (S).

    Its tables are a list for some connectors, an object for others (both seen).
    """
    running, connector = run.is_running(at), connection.connector
    loads: Any = [{"name": table, "records": count} for table, count in run.records.items()]
    if connection.fate.other_names:
        loads = json.dumps(
            [{"name": table, "row_count": str(count)} for table, count in run.records.items()]
        )
    elif connector.kind in {"CRM", "bank"}:
        loads = {table: {"records": count} for table, count in run.records.items()}
    return {
        "id": run.id,
        "connection_id" if connection.fate.other_names else "server_id": run.connection_id,
        "status": reported_status(connector, run, at),
        "timestamp_start": run.started_at.isoformat(),
        "timestamp_end": None if running or run.ends_at is None else run.ends_at.isoformat(),
        "tables": [] if running else loads,
        ERROR_FIELD.get(connector.kind, "error"): None if running else run.error or None,
        "status_code_from_source": None if running else run.exit_code,
    }


def reported_status(connector: Connector, run: Run, at: datetime) -> str:
    """Return the status in a list of runs; connectors for files use another word (S)."""
    if run.is_running(at):
        return "IN_PROGRESS" if connector.kind == "files" else "RUNNING"
    return run.outcome


def log_of(world: World, connection: Connection, run: Run, at: datetime) -> str:
    """Return the run's log so far: lines of ISO time, level and text, a failure last."""
    until = at if run.is_running(at) else run.ends_at or at
    name, lines = (
        connection.connector.name,
        [("INFO", f"tap-{connection.connector.name}: starting, state found")],
    )
    for table in connection.connector.tables:
        lines.append(("INFO", f"{table}: requesting since last bookmark"))
        if table not in run.records:
            break
        lines.append(("INFO", f"{table}: {run.records[table]} records written to target-postgres"))
    if run.is_running(at):
        lines = lines[:2]
    elif run.error and run.exit_code is None:
        lines.append(("ERROR", run.error))
    elif run.error:
        lines += [
            ("WARNING", f"tap-{name}: retrying in {wait} s (attempt {n} of 3)")
            for n, wait in enumerate((1, 2, 4), 1)
        ]
        lines += [("INFO", f"exit code {run.exit_code}"), ("ERROR", run.error)]
    else:
        lines += [("INFO", f"tap-{name}: state written"), ("INFO", "exit code 0")]
    step = (until - run.started_at) / max(1, len(lines) - 1)
    times = (run.started_at + step * n for n in range(len(lines)))
    return "\n".join(
        f"{when:%Y-%m-%dT%H:%M:%S} {level:<7} {text}"
        for when, (level, text) in zip(times, lines, strict=False)
    )
