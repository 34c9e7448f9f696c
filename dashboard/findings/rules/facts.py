"""Input of the rules. Times are aware, in UTC; ages count to the last reading, not to now.

A connection's runs are read at intervals, so "no success for 5 hours" is only known for the moment
of that reading.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from dashboard.peliqan.statuses import ASSUMED_INTERVAL, RunOutcome, outcome_of_run


class Facts(NamedTuple):
    """One connection as last read. ``interval``: seconds, or None if the API names none.

    ``last_records`` and ``last_exit_code``: of the latest ended run; records only if it completed.
    ``always_loaded``: at least 3 earlier runs are known and all loaded records. ``newest_row_at``:
    when the newest row in its tables was received. ``previous_status`` and ``previous_at``: status
    and start of the previous run, while one is under way.
    """

    account_id: int
    id: int
    name: str
    connector: str
    status: str
    severity: str
    status_since: datetime
    interval: int | None
    scheduler_off: bool
    running: bool
    last_run_status: str | None
    last_run_at: datetime | None
    last_success_at: datetime | None
    last_error: str | None
    last_records: int | None
    last_exit_code: int | None
    always_loaded: bool
    runs_read_at: datetime | None
    target_id: int | None
    is_target: bool
    first_seen_at: datetime
    consent_expires_at: datetime | None
    newest_row_at: datetime | None
    rows_read_at: datetime | None
    previous_status: str | None = None
    previous_at: datetime | None = None

    @property
    def title(self) -> str:
        """The name, else the connector, else the id."""
        return self.name or self.connector or f"connection {self.id}"

    @property
    def every(self) -> int:
        """Seconds between two runs; if the API names no interval, Peliqan's default."""
        return self.interval or ASSUMED_INTERVAL

    @property
    def ended_status(self) -> str | None:
        """The status of the latest ended run."""
        return self.previous_status if self.running else self.last_run_status

    @property
    def outcome(self) -> RunOutcome:
        """The outcome of the latest ended run."""
        return outcome_of_run(self.ended_status)

    @property
    def ended_run_at(self) -> datetime | None:
        """The start of the latest ended run."""
        return self.previous_at if self.running else self.last_run_at

    @property
    def success_at(self) -> datetime | None:
        """The latest success.

        Rows stored before partial runs counted as successes lack them in ``last_success_at``.
        """
        known = (
            self.last_success_at,
            self.ended_run_at if self.outcome is RunOutcome.PARTIAL else None,
        )
        return max((time for time in known if time is not None), default=None)


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the rules: ``late`` and ``dark`` in intervals, ``stuck`` in medians.

    ``platform``: from so many connections of a connector on, dark since the same hour, they share
    one platform cause.
    """

    late: float = 2.0
    dark: float = 3.0
    stuck: float = 3.0
    stuck_seconds: int = 3600
    consent_days: int = 7
    platform: int = 10


class Drop(NamedTuple):
    """A table that lost many of its rows within a week, with both counts and their times."""

    table: str
    rows: int
    at: datetime
    before: int
    before_at: datetime


class TableFigures(NamedTuple):
    """A table's counts by the warehouse.

    ``keys``: number of different values of the column ``key``; ``versions``: number of snapshots
    among its live rows. ``key`` is empty and the others None if the table has no such column or no
    value in it.
    """

    name: str
    rows: int
    key: str = ""
    keys: int | None = None
    versions: int | None = None
    received_at: datetime | None = None


class CheckedData(NamedTuple):
    """The counts of a connection's tables at one time."""

    at: datetime
    tables: Sequence[TableFigures]


@dataclass(frozen=True)
class RuleContext:
    """What rules know apart from the connection's facts. Mappings are by connection id.

    ``at``: time of the evaluation. ``medians``: usual seconds of a run by connector, None before
    any is known. ``siblings``: ids of the account's connections with its warehouse. ``same_name``:
    the oldest connection of the same connector and name. ``drops``: tables that lost rows.
    ``unused_targets``: targets without sources, with the number of sources that load elsewhere.
    ``data``: the warehouse's counts. ``recreated``: for connections that never succeeded, another
    one of their connector.
    """

    at: datetime
    thresholds: Thresholds
    medians: Mapping[str, float] | None = None
    siblings: Collection[int] = ()
    same_name: Mapping[int, int] = field(default_factory=dict)
    drops: Mapping[int, Sequence[Drop]] = field(default_factory=dict)
    unused_targets: Mapping[int, int] = field(default_factory=dict)
    data: Mapping[int, CheckedData] = field(default_factory=dict)
    recreated: Mapping[int, int] = field(default_factory=dict)
