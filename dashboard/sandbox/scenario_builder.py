"""How a scenario becomes a fleet: a quiet one, in which chosen connections meet a fate. Pure functions of seed, ids and start.

What a scenario is made of: ``Change``, with one of the functions below it that says what becomes of a connection.
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
OUTAGE_BEGAN = timedelta(hours=5)
# Places of computed connections end at 5.
TWIN_PLACES = 5
NOBODYS_PLACE = 99
EVERY_ONE, EVERY_SECOND = slice(None), slice(None, None, 2)

Become = Callable[[Connection, datetime], tuple[Connection, ...]]


@dataclass(frozen=True)
class Change:
    """What becomes of some of a connector's connections: ``which`` of them, in the order of their ids.

    ``one_an_account``: only the first of each account. ``alone``: only those whose account has no other of the connector.
    """

    connector: str
    which: slice
    become: Become
    one_an_account: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Scenario:
    """What goes wrong in a fleet. ``unreadable``: of how many accounts nothing can be read."""

    description: str
    changes: tuple[Change, ...] = ()
    unreadable: int = 0


class Staged(World):
    """The accounts, names and connectors of a seed, with nothing wrong but what the scenario says, seen from ``born``."""

    quiet = True

    def __init__(self, accounts: int, seed: int, scenario: Scenario, born: datetime) -> None:
        super().__init__(accounts, seed)
        self.scenario = scenario
        # Runs begin at whole seconds.
        self.born = born.replace(microsecond=0)

    def source(self, account_id: int, place: int) -> Connection:
        """The seed's, but well: its schedule on, and at least hourly."""
        made = super().source(account_id, place)
        interval = min(made.interval, LONGEST_INTERVAL)
        well = replace(
            made, failure=None, placed=None, flips=False, stuck=False, scheduler_off=False
        )
        return replace(well, interval=interval, phase=made.phase % interval, fate=Fate())

    def is_readable(self, account_id: int) -> bool:
        """Not where the licence has expired."""
        return account_id not in self._unreadable

    def _connections(self, account_id: int) -> tuple[Connection, ...]:
        sources = super()._connections(account_id)
        return tuple(
            each
            for source in sources
            for each in self._becoming.get(source.id, _as_it_is)(source, self.born)
        )

    @cached_property
    def _becoming(self) -> dict[int, Become]:
        """By connection id; those that nothing happens to are not in it."""
        ids: dict[str, list[int]] = {change.connector: [] for change in self.scenario.changes}
        for account_id in range(FIRST_ACCOUNT, FIRST_ACCOUNT + self.size):
            for place in range(1, self.count(account_id) + 1):
                ids.get(self.connector(account_id, place).name, []).append(account_id * 100 + place)
        return {
            each: change.become
            for change in self.scenario.changes
            for each in _chosen(change, ids[change.connector])
        }

    @cached_property
    def _unreadable(self) -> set[int]:
        """Spread evenly over the fleet."""
        count = min(self.scenario.unreadable, self.size)
        return {FIRST_ACCOUNT + (2 * n + 1) * self.size // (2 * count) for n in range(count)}


def _chosen(change: Change, ids: list[int]) -> list[int]:
    if change.one_an_account or change.alone:
        by_account = [list(of_one) for _, of_one in groupby(ids, lambda each: each // 100)]
        ids = [of_one[0] for of_one in by_account if not change.alone or len(of_one) == 1]
    return ids[change.which]


def _as_it_is(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    return (connection,)


def failing(failure: Failure, **ago: float) -> Become:
    """Each run has failed for so long."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (
            replace(connection, failure=failure, fate=Fate(fails_from=born - timedelta(**ago))),
        )

    return become


def placed(status: str) -> Become:
    """It has this status, whatever its runs say."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, placed=status),)

    return become


def loading_nothing(**ago: float) -> Become:
    """Its runs go well, and for so long have loaded nothing."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, fate=Fate(empty_from=born - timedelta(**ago))),)

    return become


def losing_rows(**ago: float) -> Become:
    """Its runs go well and load as ever, but for so long no row has come into its tables."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, fate=Fate(rows_until=born - timedelta(**ago))),)

    return become


def shrinking(**later: float) -> Become:
    """It goes well; so long after the start its tables lose four rows of ten."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, fate=Fate(shrinks_at=born + timedelta(**later))),)

    return become


def faulty_data(fault: str) -> Become:
    """It goes well; the rows of one of its tables are not right: ``fault`` is one of ``tables.DATA_FAULTS``."""

    def become(connection: Connection, born: datetime) -> tuple[Connection, ...]:
        return (replace(connection, fate=Fate(data_fault=fault)),)

    return become


def resting_since_the_outage(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """The platform has started no run of it since a full hour."""
    since = (born - OUTAGE_BEGAN).replace(minute=0, second=0)
    return (replace(connection, fate=Fate(rests_from=since)),)


def never_run(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Nothing was ever started, though its schedule is on."""
    return (replace(connection, fate=Fate(rests_from=EPOCH)),)


def unscheduled(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Somebody switched its schedule off."""
    return (replace(connection, scheduler_off=True),)


def hanging(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Its newest run began five hours ago and never ends."""
    return (
        replace(
            connection,
            stuck=True,
            phase=_phase(born - STUCK_FOR - timedelta(seconds=1), connection.interval),
        ),
    )


def late(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Its newest run went well and began two and a half intervals ago."""
    interval = timedelta(seconds=connection.interval)
    phase = _phase(born - interval * 2.5, connection.interval)
    return (replace(connection, phase=phase, fate=Fate(rests_from=born - interval * 2)),)


def noisy(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Its newest run failed ten minutes ago; one that somebody started shortly before went well, and so will the next."""
    newest = born - timedelta(minutes=10)
    extra = newest - timedelta(minutes=15)
    fate = Fate(fails_from=newest, fails_until=born, extra_run=extra)
    return (
        replace(connection, failure=TIMEOUT, interval=3600, phase=_phase(newest, 3600), fate=fate),
    )


def consent_ending(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """It is well, but its consent ends within three days, and then its runs fail."""
    ends = born + timedelta(hours=1 + connection.id % 71)
    return (replace(connection, failure=CONSENT, fate=Fate(fails_from=ends)),)


def astray(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """It loads into a connection that is not there."""
    return (replace(connection, fate=Fate(target=connection.account_id * 100 + NOBODYS_PLACE)),)


def twin(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """There is a second one like it, by the same name."""
    interval = connection.interval
    second = replace(
        connection,
        id=connection.id + TWIN_PLACES,
        phase=(connection.phase + interval // 2) % interval,
    )
    return (connection, second)


def with_unused_target(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Its account has a second database to load into, which no source does."""
    fate = Fate(is_target=True, rests_from=EPOCH)
    target = replace(
        connection,
        id=connection.id + TWIN_PLACES,
        name="Reporting database",
        connector=TARGET,
        fate=fate,
    )
    return (connection, target)


def told_otherwise(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """It is well, and told under the API's other names."""
    return (replace(connection, fate=Fate(other_names=True)),)


def remade(connection: Connection, born: datetime) -> tuple[Connection, ...]:
    """Somebody connected it again under another name; the new one never ran."""
    new = replace(
        connection, id=connection.id + TWIN_PLACES, name=f"{connection.connector.title} new"
    )
    return (connection, replace(new, fate=Fate(rests_from=EPOCH)))


def _phase(started: datetime, interval: int) -> int:
    """The phase of a schedule that starts a run then."""
    return int((started - EPOCH).total_seconds()) % interval
