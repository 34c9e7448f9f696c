"""What changes: scheduled runs by the clock, runs started by hand, statuses, and what was done to a connection.

Scheduled history is computed; only what somebody did since the start is kept, in ``Touched``, behind one lock.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

from dashboard.sandbox.connectors import BY_NAME
from dashboard.sandbox.world import FIRST_ACCOUNT, Account, Connection, World

EPOCH = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
AUTHORIZING_FOR = timedelta(seconds=2)
CHECKING_FOR = timedelta(seconds=2)
BANK_PAUSE = timedelta(hours=1)
RUN_IDS = 10**9


@dataclass
class Run:
    """A run. ``ends_at`` may lie ahead: then it still runs."""

    id: int
    connection_id: int
    started_at: datetime
    ends_at: datetime | None
    outcome: str
    error: str
    exit_code: int
    records: dict[str, int]

    def is_running(self, at: datetime) -> bool:
        """Whether it has not ended."""
        return self.ends_at is None or at < self.ends_at


@dataclass
class Touched:
    """What was done to one connection since the start."""

    healed_at: datetime | None = None
    asked_at: datetime | None = None
    allowed_at: datetime | None = None
    bank_asked_at: datetime | None = None
    forced_status: str | None = None
    never_finishes: bool = False
    next_run: str | None = None
    runs: list[Run] = field(default_factory=list)
    starts: int = 0


class AlreadyRunning(Exception):
    """A run of the connection is under way."""


class Life:
    """The world in time. Safe to use from many threads."""

    def __init__(self, world: World, clock: Callable[[], datetime], run_seconds: tuple[float, float]) -> None:
        self.world, self.clock, self.run_seconds = world, clock, run_seconds
        self.lock = RLock()
        self.born = clock()
        self.touched: dict[int, Touched] = {}
        self.new_accounts: dict[int, Account] = {}
        self.new_connections: dict[int, tuple[Connection, datetime]] = {}

    def touch(self, connection_id: int) -> Touched:
        """What is kept of one connection, made when first needed."""
        with self.lock:
            return self.touched.setdefault(connection_id, Touched())

    def account(self, account_id: int) -> Account | None:
        """An account, computed or provisioned."""
        return self.world.account(account_id) or self.new_accounts.get(account_id)

    def by_external_id(self, external_id: str) -> Account | None:
        """The same by the partner's id."""
        found = self.world.by_external_id(external_id)
        return found or next((each for each in self.new_accounts.values() if each.external_id == external_id), None)

    def accounts(self, start: int, count: int) -> list[Account]:
        """``count`` accounts from position ``start``, provisioned ones last."""
        page = list(self.world.accounts(start, count))
        beyond = max(0, start - self.world.size)
        return page + list(self.new_accounts.values())[beyond : beyond + count - len(page)]

    def provision(self, external_id: str, name: str) -> Account:
        """The account with this external id, made if there is none."""
        with self.lock:
            found = self.by_external_id(external_id)
            if found is None:
                position = self.world.size + len(self.new_accounts)
                found = Account(FIRST_ACCOUNT + position, name or external_id, external_id, position)
                self.new_accounts[found.id] = found
            return found

    def connections(self, account_id: int) -> list[Connection]:
        """An account's connections, computed and added."""
        computed = list(self.world.connections(account_id)) if self.world.account(account_id) else []
        return computed + [each for each, _ in self.new_connections.values() if each.account_id == account_id]

    def connection(self, connection_id: int) -> Connection | None:
        """One connection."""
        if connection_id in self.new_connections:
            return self.new_connections[connection_id][0]
        return self.world.connection(connection_id)

    def add_connection(self, account_id: int, connector: str, name: str) -> Connection:
        """A connection that somebody made in the widget; its first run starts at once."""
        with self.lock:
            place = 1 + max((each.id % 100 for each in self.connections(account_id)), default=0)
            made = Connection(
                id=account_id * 100 + place, account_id=account_id, name=name, connector=BY_NAME[connector], interval=3600,
                scheduler_off=False, phase=0, seconds=30, failure=None, failing_for=0, placed=None, flips=False,
            )  # fmt: skip
            self.new_connections[made.id] = (made, self.clock())
            self.start(made)
            return made

    def status(self, connection: Connection) -> str:
        """The connection's health status now."""
        at, touched = self.clock(), self.touched.get(connection.id)
        if touched is not None:
            if touched.forced_status:
                return touched.forced_status
            if touched.allowed_at and at < touched.allowed_at + AUTHORIZING_FOR:
                return "AUTHORIZING"
            if touched.asked_at and not touched.allowed_at:
                return "RE_AUTHORISING"
            if touched.healed_at:
                return "OK"
        if connection.id in self.new_connections:
            return "CHECKING" if at < self.new_connections[connection.id][1] + CHECKING_FOR else "OK"
        if connection.placed:
            return connection.placed
        if connection.failure:
            return connection.failure.status
        if connection.flips and int(at.timestamp() // 1200 + connection.id) % 3 == 0:
            return "ERROR"
        return "HEALTHY" if connection.connector.kind in {"CRM", "e-commerce"} else "OK"

    def start(self, connection: Connection) -> Run:
        """Start a run by hand.

        Raises:
            AlreadyRunning: one is under way.
        """
        with self.lock:
            at, touched = self.clock(), self.touch(connection.id)
            if any(run.is_running(at) for run in self.runs(connection, 1)):
                raise AlreadyRunning
            shortest, longest = self.run_seconds
            share = self.world.number("took", connection.id, touched.starts) % 1000 / 1000
            ends = None if touched.never_finishes else at + timedelta(seconds=shortest + share * (longest - shortest))
            newest = self.runs(connection, 1)
            run_id = max(self._run_id(connection, at), newest[0].id + 1 if newest else 0)
            run = self._run(connection, run_id, at, ends)
            if touched.next_run:
                run.outcome, touched.next_run = touched.next_run, None
            touched.starts += 1
            touched.runs.append(run)
            return run

    def runs(self, connection: Connection, count: int, skip: int = 0) -> list[Run]:
        """Runs, newest first: those by hand and those by the schedule."""
        touched = self.touched.get(connection.id)
        by_hand = touched.runs if touched else []
        scheduled = self._scheduled(connection, count + skip)
        both = sorted([*by_hand, *scheduled], key=lambda run: run.id, reverse=True)
        return both[skip : skip + count]

    def run(self, run_id: int) -> Run | None:
        """A run by its id, which begins with its connection's."""
        connection = self.connection(run_id // RUN_IDS)
        if connection is None:
            return None
        return next((run for run in self.runs(connection, 300) if run.id == run_id), None)

    def allow(self, connection_id: int) -> None:
        """The customer consented: AUTHORIZING for a moment, then well, and later runs go well."""
        touched = self.touch(connection_id)
        touched.allowed_at = touched.healed_at = self.clock()
        touched.asked_at = touched.forced_status = None

    def run_status(self, run: Run) -> str:
        """Its status word now."""
        return "RUNNING" if run.is_running(self.clock()) else run.outcome

    def claims_to_run(self, connection: Connection, run: Run) -> bool:
        """What the status route says: no for a run that nothing runs any more, though its status stays RUNNING."""
        return run.is_running(self.clock()) and not self.touch(connection.id).never_finishes

    def _scheduled(self, connection: Connection, count: int) -> list[Run]:
        if connection.id in self.new_connections or connection.placed == "CONFIG_SELECT":
            return []
        at = self.clock()
        if connection.scheduler_off or connection.placed == "DISABLED":
            at = min(at, self.born - timedelta(days=2))
        last = int(((at - EPOCH).total_seconds() - connection.phase) // connection.interval)
        runs = []
        for number in range(last, max(-1, last - count), -1):
            started = EPOCH + timedelta(seconds=connection.phase + number * connection.interval)
            takes = min(connection.seconds, connection.interval // 3)
            runs.append(self._run(connection, self._run_id(connection, started), started, started + timedelta(seconds=takes)))
        return runs

    def _run_id(self, connection: Connection, started: datetime) -> int:
        return connection.id * RUN_IDS + int((started - EPOCH).total_seconds())

    def _run(self, connection: Connection, run_id: int, started: datetime, ends: datetime | None) -> Run:
        touched = self.touched.get(connection.id)
        healed = touched.healed_at if touched else None
        draw = self.world.number("run", run_id) % 100
        failure = connection.failure
        since = self.born - timedelta(seconds=connection.failing_for)
        fails = failure is not None and started >= since and not (healed and started >= healed)
        tables = connection.connector.tables
        records = {table: self.world.number("records", run_id, table) % 900 for table in tables}
        outcome, error, exit_code = "COMPLETED", "", 0
        if fails and failure is not None:
            outcome, exit_code = failure.run, failure.exit_code
            error = failure.text.format(
                host=connection.connector.host, account=connection.account_id, n=draw, date=f"{started:%Y-%m-%d}"
            )
            records = {tables[0]: draw} if outcome == "COMPLETED_WITH_ERRORS" else {}
        elif connection.flips and self.status(connection) == "ERROR" and draw < 60:
            outcome, error, exit_code = "ERROR", "502 Server Error: Bad Gateway", 1
            records = {}
        elif draw == 0:
            outcome, error, exit_code, records = "KILLED", "The run was stopped by the platform (out of memory).", 137, {}
        return Run(run_id, connection.id, started, ends, outcome, error, exit_code, records)

    def as_json(self, connection: Connection, run: Run) -> dict[str, Any]:
        """A run as the API shows it; tables as a list for some connectors, as an object for others (both seen)."""
        running = run.is_running(self.clock())
        loads: Any = [{"name": table, "records": count} for table, count in run.records.items()]
        if connection.connector.kind in {"CRM", "bank"}:
            loads = {table: {"records": count} for table, count in run.records.items()}
        return {
            "id": run.id,
            "server_id": connection.id,
            "status": self.run_status(run),
            "timestamp_start": run.started_at.isoformat(),
            "timestamp_end": None if running or run.ends_at is None else run.ends_at.isoformat(),
            "tables": [] if running else loads,
            "error": None if running else run.error or None,
            "status_code_from_source": None if running else run.exit_code,
        }
