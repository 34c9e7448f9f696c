"""Scenarios made into fleets: a fleet without faults, some connections of which get one.

All is a pure function of the seed, ids and the start. A scenario consists of ``Change`` objects;
each has one of the functions of this module, which changes a connection.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import groupby

from dashboard.sandbox.connectors import CONSENT, TARGET, TIMEOUT, Failure
from dashboard.sandbox.runs import EPOCH
from dashboard.sandbox.seed import FIRST_ACCOUNT, Connection, Fate, World
from dashboard.sandbox.simulation import STUCK_FOR

LONGEST_INTERVAL = 3600
OUTAGE_AGE = timedelta(hours=5)
# The numbers of computed connections in an account end at 5.
ADDED_POSITIONS = 5
UNUSED_POSITION = 99
EVERY_ONE, EVERY_SECOND = slice(None), slice(None, None, 2)

Become = Callable[[Connection, datetime], tuple[Connection, ...]]


@dataclass(frozen=True)
class Change:
    """A change of some of a connector's connections.

    ``which``: a slice of them, in the order of their ids. ``one_an_account``: only the first of
    each account. ``alone``: only connections whose account has no other of the connector.
    """

    connector: str
    which: slice
    become: Become
    one_an_account: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Scenario:
    """The problems of a fleet. ``unreadable``: the number of accounts without a licence."""

    description: str
    changes: tuple[Change, ...] = ()
    unreadable: int = 0


class Staged(World):
    """The accounts, names and connectors of a seed, with the problems of a scenario only.

    ``born``: the time from which the scenario counts.
    """

    quiet = True

    def __init__(self, accounts: int, seed: int, scenario: Scenario, born: datetime) -> None:
        super().__init__(accounts, seed)
        self.scenario = scenario
        # Runs start at whole seconds.
        self.born = born.replace(microsecond=0)

    def source(self, account_id: int, position: int) -> Connection:
        """Return the seed's connection without faults, its schedule on and at least hourly."""
        made = super().source(account_id, position)
        interval = min(made.interval, LONGEST_INTERVAL)
        well = replace(
            made, failure=None, placed=None, flips=False, stuck=False, scheduler_off=False
        )
        return replace(well, interval=interval, phase=made.phase % interval, fate=Fate())

    def is_readable(self, account_id: int) -> bool:
        """Return whether the account has a licence."""
        return account_id not in self._unreadable

    def _connections(self, account_id: int) -> tuple[Connection, ...]:
        sources = super()._connections(account_id)
        return tuple(
            each
            for source in sources
            for each in self._becoming.get(source.id, _unchanged)(source, self.born)
        )

    @cached_property
    def _becoming(self) -> dict[int, Become]:
        """The changes by connection id; unchanged connections are absent."""
        ids: dict[str, list[int]] = {change.connector: [] for change in self.scenario.changes}
        for account_id in range(FIRST_ACCOUNT, FIRST_ACCOUNT + self.size):
            for position in range(1, self.count(account_id) + 1):
                ids.get(self.connector(account_id, position).name, []).append(
                    account_id * 100 + position
                )
        return {
            each: change.become
            for change in self.scenario.changes
            for each in _chosen(change, ids[change.connector])
        }

    @cached_property
    def _unreadable(self) -> set[int]:
        """The accounts without a licence, spread evenly over the fleet."""
        count = min(self.scenario.unreadable, self.size)
        return {FIRST_ACCOUNT + (2 * n + 1) * self.size // (2 * count) for n in range(count)}


def _chosen(change: Change, ids: list[int]) -> list[int]:
    if change.one_an_account or change.alone:
        by_account = [list(of_one) for _, of_one in groupby(ids, lambda each: each // 100)]
        ids = [of_one[0] for of_one in by_account if not change.alone or len(of_one) == 1]
    return ids[change.which]


def _unchanged(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    return (connection,)


def failing(failure: Failure, **ago: float) -> Become:
    """Return a change: each run since this long before the start has failed."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (
            replace(connection, failure=failure, fate=Fate(fails_from=born - timedelta(**ago))),
        )

    return become


def placed(status: str) -> Become:
    """Return a change: the connection has this status, whatever its runs say."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, placed=status),)

    return become


def loading_nothing(**ago: float) -> Become:
    """Return a change: runs succeed, but since this long before the start load nothing."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, fate=Fate(empty_from=born - timedelta(**ago))),)

    return become


def losing_rows(**ago: float) -> Become:
    """Return a change: runs report loaded rows, but no row has arrived for this long."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, fate=Fate(rows_until=born - timedelta(**ago))),)

    return become


def shrinking(**later: float) -> Become:
    """Return a change: this long after the start the tables lose four rows of ten."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, fate=Fate(shrinks_at=born + timedelta(**later))),)

    return become


def faulty_data(fault: str) -> Become:
    """Return a change: one table has wrong rows; ``fault`` is one of ``tables.DATA_FAULTS``."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, fate=Fate(data_fault=fault)),)

    return become


def resting_since_the_outage(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Stop scheduled runs at the full hour at which the outage began."""
    since = (born - OUTAGE_AGE).replace(minute=0, second=0)
    return (replace(connection, fate=Fate(rests_from=since)),)


def never_run(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Remove all runs, though the schedule is on."""
    return (replace(connection, fate=Fate(rests_from=EPOCH)),)


def unscheduled(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Switch the schedule off."""
    return (replace(connection, scheduler_off=True),)


def hanging(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Let the newest run start five hours before the start and never end."""
    return (
        replace(
            connection,
            stuck=True,
            phase=_phase(born - STUCK_FOR - timedelta(seconds=1), connection.interval),
        ),
    )


def late(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Let the newest run succeed, two and a half intervals before the start."""
    interval = timedelta(seconds=connection.interval)
    phase = _phase(born - interval * 2.5, connection.interval)
    return (replace(connection, phase=phase, fate=Fate(rests_from=born - interval * 2)),)


def noisy(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Let the newest run fail ten minutes ago, between two successful ones.

    The run before was started by hand; the next one succeeds.
    """
    newest = born - timedelta(minutes=10)
    extra = newest - timedelta(minutes=15)
    fate = Fate(fails_from=newest, fails_until=born, extra_run=extra)
    return (
        replace(connection, failure=TIMEOUT, interval=3600, phase=_phase(newest, 3600), fate=fate),
    )


def consent_ending(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Let the consent end within three days; runs fail from then on."""
    ends = born + timedelta(hours=1 + connection.id % 71)
    return (replace(connection, failure=CONSENT, fate=Fate(fails_from=ends)),)


def astray(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Let the connection load into a connection that does not exist."""
    target = connection.account_id * 100 + UNUSED_POSITION
    return (replace(connection, fate=Fate(target=target)),)


def duplicated(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Add a second connection with the same name."""
    interval = connection.interval
    second = replace(
        connection,
        id=connection.id + ADDED_POSITIONS,
        phase=(connection.phase + interval // 2) % interval,
    )
    return (connection, second)


def with_unused_target(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Add a second database to the account that no source loads into."""
    fate = Fate(is_target=True, rests_from=EPOCH)
    target = replace(
        connection,
        id=connection.id + ADDED_POSITIONS,
        name="Reporting database",
        connector=TARGET,
        fate=fate,
    )
    return (connection, target)


def with_other_names(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Let the API describe the connection with the other known field names."""
    return (replace(connection, fate=Fate(other_names=True)),)


def reconnected(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Add a connection to the same source under another name; it has never run."""
    new = replace(
        connection, id=connection.id + ADDED_POSITIONS, name=f"{connection.connector.title} new"
    )
    return (connection, replace(new, fate=Fate(rests_from=EPOCH)))


def _phase(started: datetime, interval: int) -> int:
    """Return the phase of a schedule that starts a run at this time."""
    return int((started - EPOCH).total_seconds()) % interval
