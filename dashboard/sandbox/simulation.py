"""The fleet over time: runs by schedule and by hand, statuses, and changes since the start.

Seeded state is computed (``seed``, ``runs``). Only changes since the start are stored, behind one
lock.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from dashboard.sandbox import runs as made
from dashboard.sandbox.accounts import Fleet
from dashboard.sandbox.connectors import BY_NAME, CONSENT
from dashboard.sandbox.runs import EPOCH, RUN_IDS, Run, Schedule
from dashboard.sandbox.seed import Connection, World

AUTHORIZING_FOR = timedelta(seconds=2)
CHECKING_FOR = timedelta(seconds=2)
BANK_PAUSE = timedelta(hours=1)
CONSENT_LASTS = timedelta(days=90)
# The fewest days that a consent has left at the start; more in a scenario, to raise no finding.
CONSENT_LEFT, QUIET_CONSENT_LEFT = 5, 30
STUCK_FOR = timedelta(hours=5)
MOST_CONNECTIONS = 99
# Statuses that a successful run does not change: a person has to act first.
STAYS = {"DISABLED", "CONFIG_SELECT", "PAUSED_BY_VENDOR"}
STATUS_AFTER = {
    "ERROR": "ERROR",
    "INTERNAL_ERROR": "ERROR",
    "COMPLETED_WITH_ERRORS": "COMPLETED_WITH_ERRORS",
}


@dataclass
class Touched:
    """The changes to one connection since the start."""

    healed_at: datetime | None = None
    asked_at: datetime | None = None
    allowed_at: datetime | None = None
    bank_asked_at: datetime | None = None
    forced_status: str | None = None
    never_finishes: bool = False
    released: bool = False
    next_run: str | None = None
    data_fault: str | None = None
    runs: list[Run] = field(default_factory=list)
    starts: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    schedules: list[Schedule] = field(default_factory=list)


UNTOUCHED = Touched()


class AlreadyRunning(Exception):
    """The connection has an unfinished run."""


class TooMany(Exception):
    """The account has the most connections that its ids allow."""


class Life(Fleet):
    """The simulated fleet over time. Safe to use from many threads."""

    def __init__(
        self,
        world: World,
        clock: Callable[[], datetime],
        run_seconds: tuple[float, float],
        born: datetime | None = None,
    ) -> None:
        super().__init__(world)
        self.clock, self.run_seconds = clock, run_seconds
        self._first_run_seconds = run_seconds
        self.born = born or clock()
        # No schedule starts a run from then on, so that the fleet does not change during a test.
        self.rests_from: datetime | None = None
        self.touched: dict[int, Touched] = {}
        self.invites = 0

    def touch(self, connection_id: int) -> Touched:
        """Return the changes of one connection; create an empty record if there is none."""
        with self.lock:
            return self.touched.setdefault(connection_id, Touched())

    def forget(self) -> None:
        """Reset to the start: no changes."""
        with self.lock:
            for store in (self.touched, self.new_accounts, self.new_connections):
                store.clear()
            self.invites = 0
            self.run_seconds = self._first_run_seconds

    def add_connection(self, account_id: int, connector: str, name: str) -> Connection:
        """Add a connection made in the widget; its first run starts at once.

        Raises:
            TooMany: the account has 99 connections.
        """
        with self.lock:
            position = 1 + max((each.id % 100 for each in self.connections(account_id)), default=0)
            if position > MOST_CONNECTIONS:
                raise TooMany
            added = Connection(
                id=account_id * 100 + position,
                account_id=account_id,
                name=name,
                connector=BY_NAME[connector],
                interval=3600,
                scheduler_off=False,
                phase=0,
                seconds=30,
                failure=None,
                failing_for=0,
                placed=None,
                flips=False,
            )
            self.new_connections[added.id] = (added, self.clock())
            self._begin(added)
            return added

    def change(self, connection: Connection, settings: dict[str, Any]) -> None:
        """Change a connection's settings; a new schedule holds from now on."""
        with self.lock:
            touched, before = self.touch(connection.id), self.schedules(connection)
            touched.settings.update(settings)
            interval = int(touched.settings.get("run_interval", connection.interval))
            on = not touched.settings.get("disable_scheduler", connection.scheduler_off)
            of_schedule = {"run_interval", "disable_scheduler"} & settings.keys()
            if of_schedule and (interval, on) != (before[-1].interval, before[-1].on):
                touched.schedules = [*before, Schedule(self.clock(), interval, on)]

    def schedules(self, connection: Connection) -> list[Schedule]:
        """Return the connection's schedules over time, the present one last."""
        touched = self.touched.get(connection.id, UNTOUCHED)
        if touched.schedules:
            return touched.schedules
        added = self.new_connections.get(connection.id)
        schedule = Schedule(
            added[1] if added else EPOCH, connection.interval, connection.placed != "CONFIG_SELECT"
        )
        if connection.scheduler_off or connection.placed == "DISABLED":
            return [
                schedule,
                Schedule(self.born - timedelta(days=2), connection.interval, on=False),
            ]
        if connection.stuck and not touched.released:
            return [schedule, Schedule(self.born - STUCK_FOR, connection.interval, on=False)]
        return [schedule]

    def status(self, connection: Connection) -> str:
        """Return the health status now: by the newest ended run, unless a change sets it."""
        at, touched = self.clock(), self.touched.get(connection.id, UNTOUCHED)
        if touched.forced_status:
            return touched.forced_status
        if touched.allowed_at and at < touched.allowed_at + AUTHORIZING_FOR:
            return "AUTHORIZING"
        if touched.asked_at and not touched.allowed_at:
            return "RE_AUTHORISING"
        added = self.new_connections.get(connection.id)
        if added and at < added[1] + CHECKING_FOR:
            return "CHECKING"
        if (
            connection.placed
            and not touched.healed_at
            and (connection.placed in STAYS or not any(self._ended(touched.runs)))
        ):
            return connection.placed
        return self._status_by_runs(connection, touched)

    def _status_by_runs(self, connection: Connection, touched: Touched) -> str:
        newest = None
        if touched.runs or touched.healed_at or connection.flips or connection.failure:
            newest = next(self._ended(islice(self._history(connection), 6)), None)
        if touched.healed_at and (newest is None or newest.started_at < touched.healed_at):
            return "OK"
        well = "HEALTHY" if connection.connector.kind in {"CRM", "e-commerce"} else "OK"
        return STATUS_AFTER.get(newest.outcome, well) if newest else well

    def _ended(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Keep ended runs that say something about health: KILLED by the platform does not."""
        at = self.clock()
        return (run for run in runs if not run.is_running(at) and run.outcome != "KILLED")

    def start(self, connection: Connection) -> Run:
        """Start a run by hand and count it.

        Raises:
            AlreadyRunning: the connection has an unfinished run.
        """
        with self.lock:
            at = self.clock()
            if any(run.is_running(at) for run in self.runs(connection, 3)):
                raise AlreadyRunning
            run = self._begin(connection)
            self.touch(connection.id).starts += 1
            return run

    def _begin(self, connection: Connection) -> Run:
        at, touched = self.clock(), self.touch(connection.id)
        shortest, longest = self.run_seconds
        share = self.world.number("took", connection.id, len(touched.runs)) % 1000 / 1000
        ends = (
            None
            if touched.never_finishes
            else at + timedelta(seconds=shortest + share * (longest - shortest))
        )
        newest = self.runs(connection, 1)
        number = max(made.run_id(connection, at), newest[0].id + 1 if newest else 0)
        run = made.make_run(
            self.world, connection, at, ends, self._failing_since(connection, at), number
        )
        if run.outcome == "KILLED":
            run = Run(
                number,
                connection.id,
                at,
                ends,
                "COMPLETED",
                "",
                0,
                dict.fromkeys(connection.connector.tables, 1),
            )
        if touched.next_run:
            run.end_as(touched.next_run)
            touched.next_run = None
        touched.runs.append(run)
        return run

    def stick(self, connection: Connection) -> None:
        """Let current and future runs of the connection never end."""
        with self.lock:
            touched, at = self.touch(connection.id), self.clock()
            touched.never_finishes = True
            for run in touched.runs:
                if run.is_running(at):
                    run.ends_at = None

    def release(self, connection: Connection) -> None:
        """End the runs that never finish, as KILLED."""
        with self.lock:
            touched = self.touch(connection.id)
            touched.never_finishes, touched.released = False, True
            for run in touched.runs:
                if run.ends_at is None:
                    run.ends_at = self.clock()
                    run.end_as("KILLED")

    def runs(self, connection: Connection, count: int, skip: int = 0) -> list[Run]:
        """Return runs, newest first: those by hand and those by the schedule."""
        return list(islice(self._history(connection), skip, skip + count))

    def last_received(self, connection: Connection) -> datetime | None:
        """Return when the newest row arrived: the end of the latest run that loaded rows.

        None where there is no such run.
        """
        until = min(self.clock(), connection.fate.rows_until or self.clock())
        loaded = (run.ends_at for run in self._history(connection) if any(run.records.values()))
        return next((ended for ended in loaded if ended is not None and ended <= until), None)

    def data_fault(self, connection: Connection) -> str:
        """Return the fault in the rows of one table, set by the control route or the seed.

        Empty: none.
        """
        set_to = self.touched.get(connection.id, UNTOUCHED).data_fault
        return connection.fate.data_fault if set_to is None else set_to

    def run(self, run_id: int) -> Run | None:
        """Return a run by its id, which consists of the connection's id and a second."""
        connection = self.connection(run_id // RUN_IDS)
        if connection is None:
            return None
        found = next((run for run in self._by_hand(connection) if run.id == run_id), None)
        started = EPOCH + timedelta(seconds=run_id % RUN_IDS)
        if found is not None or started > self._last_start(connection):
            return found
        is_one = made.is_scheduled(connection, self.schedules(connection), started)
        return self._scheduled(connection, started) if is_one else None

    def _by_hand(self, connection: Connection) -> list[Run]:
        """Return the runs by hand, newest first."""
        by_hand, extra = (
            list(reversed(self.touched.get(connection.id, UNTOUCHED).runs)),
            connection.fate.extra_run,
        )
        return by_hand if extra is None else [*by_hand, self._scheduled(connection, extra)]

    def _last_start(self, connection: Connection) -> datetime:
        """Return the time until which the schedule has started runs."""
        at, rests = self.clock(), connection.fate.rests_from
        until = at if rests is None else min(at, rests - timedelta(seconds=1))
        # Where all schedules rest, no run may be unfinished either.
        return (
            until
            if self.rests_from is None
            else min(until, self.rests_from - made.duration(connection))
        )

    def _history(self, connection: Connection) -> Iterator[Run]:
        by_hand = self._by_hand(connection)
        for started in made.scheduled_starts(
            connection, self.schedules(connection), self._last_start(connection)
        ):
            number = made.run_id(connection, started)
            while by_hand and by_hand[0].id >= number:
                yield by_hand.pop(0)
            yield self._scheduled(connection, started)
        yield from by_hand

    def _scheduled(self, connection: Connection, started: datetime) -> Run:
        ends: datetime | None = started + made.duration(connection)
        run = made.make_run(
            self.world, connection, started, ends, self._failing_since(connection, started)
        )
        if (
            connection.stuck
            and not self.touched.get(connection.id, UNTOUCHED).released
            and self._is_last(connection, started)
        ):
            run = Run(run.id, connection.id, started, None, "COMPLETED", "", 0, {})
        return run

    def _is_last(self, connection: Connection, started: datetime) -> bool:
        return started + timedelta(seconds=connection.interval) >= self.born - STUCK_FOR

    def _failing_since(self, connection: Connection, started: datetime) -> datetime | None:
        """Return since when the failure has held that a run started then shows.

        None where it did not hold.
        """
        healed = self.touched.get(connection.id, UNTOUCHED).healed_at
        since, until = self._failed_first(connection), connection.fate.fails_until
        if started < since or (healed and started >= healed) or (until and started >= until):
            return None
        return since

    def _failed_first(self, connection: Connection) -> datetime:
        """Return when the failure began: early enough that the newest run shows it."""
        if connection.fate.fails_from is not None:
            return connection.fate.fails_from
        longest = max(connection.failing_for, connection.interval + 600) + (
            3 * 86400 if connection.scheduler_off else 0
        )
        return self._midnight - timedelta(seconds=longest)

    @property
    def _midnight(self) -> datetime:
        """The midnight before the start, so that two sandboxes of one day agree."""
        return self.born.replace(hour=0, minute=0, second=0, microsecond=0)

    def consent_ends(self, connection: Connection) -> datetime | None:
        """Return when the customer's consent to the bank ends (A), or ended.

        None where the connection has no bank.
        """
        if connection.connector.auth != "saltedge":
            return None
        touched, added = (
            self.touched.get(connection.id, UNTOUCHED),
            self.new_connections.get(connection.id),
        )
        given = touched.healed_at or (added[1] if added else None)
        if given is not None:
            return given + CONSENT_LASTS
        if connection.failure is CONSENT:
            return self._failed_first(connection)
        least = QUIET_CONSENT_LEFT if self.world.quiet else CONSENT_LEFT
        more = self.world.number("consent", connection.id) % ((CONSENT_LASTS.days - least) * 86400)
        return self._midnight + timedelta(days=least, seconds=more)

    def allow(self, connection_id: int) -> None:
        """Record the customer's consent: AUTHORIZING for 2 s, then well; later runs succeed."""
        with self.lock:
            touched = self.touch(connection_id)
            touched.allowed_at = touched.healed_at = self.clock()
            touched.asked_at = touched.forced_status = None

    def claims_to_run(self, connection: Connection, run: Run) -> bool:
        """Return ``running`` of the status route.

        False for a stuck run, though its status stays RUNNING (S).
        """
        return run.ends_at is not None and run.is_running(self.clock())

    def next_invite(self) -> int:
        """Return the number of a new invite."""
        with self.lock:
            self.invites += 1
            return self.invites
