"""What the rules look at. Times are aware and in UTC; ages are taken as of the last reading, never as of now.

A connection's runs are read only now and then, so "no success for five hours" is known for the moment of that reading alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from dashboard.peliqan.statuses import ASSUMED_INTERVAL, RunOutcome, outcome_of_run


class Facts(NamedTuple):
    """One connection, as last read. ``interval`` in seconds, None where the API names none.

    ``last_records``, ``last_exit_code``: of the latest run that ended, records only where it completed. ``always_loaded``: the
    runs before it, three or more, all loaded some. ``newest_row_at``: of the newest row that was seen in its tables.
    ``previous_status`` and ``previous_at``: while a run is under way, the status and the beginning of the one before it.
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
        """Its name, or the best there is."""
        return self.name or self.connector or f"connection {self.id}"

    @property
    def every(self) -> int:
        """Seconds between two runs, assumed where the API names no interval (as Peliqan's own application does)."""
        return self.interval or ASSUMED_INTERVAL

    @property
    def ended_status(self) -> str | None:
        """The status of the latest run that ended."""
        return self.previous_status if self.running else self.last_run_status

    @property
    def outcome(self) -> RunOutcome:
        """How the latest run that ended did."""
        return outcome_of_run(self.ended_status)

    @property
    def ended_run_at(self) -> datetime | None:
        """When the latest run that ended began."""
        return self.previous_at if self.running else self.last_run_at

    @property
    def success_at(self) -> datetime | None:
        """The latest success: ``last_success_at``, or a partial run that was read before partial runs were counted in it."""
        known = (
            self.last_success_at,
            self.ended_run_at if self.outcome is RunOutcome.PARTIAL else None,
        )
        return max((time for time in known if time is not None), default=None)


@dataclass(frozen=True)
class Thresholds:
    """From when on something counts: ``late`` and ``dark`` in intervals, ``stuck`` in medians.

    ``platform``: so many connections of one connector, dark since the same hour, are one cause on the platform's side.
    """

    late: float = 2.0
    dark: float = 3.0
    stuck: float = 3.0
    stuck_seconds: int = 3600
    consent_days: int = 7
    platform: int = 10


class Drop(NamedTuple):
    """A table that has far fewer rows than it had within the week before; as of the looks at it."""

    table: str
    rows: int
    at: datetime
    before: int
    before_at: datetime


class TableFigures(NamedTuple):
    """A table as the warehouse counted it. ``keys``: how many values its key column has; ``versions``: of its live rows.

    ``key`` is empty, and the others are None, where the table has no such column or no value in it.
    """

    name: str
    rows: int
    key: str = ""
    keys: int | None = None
    versions: int | None = None
    received_at: datetime | None = None


class CheckedData(NamedTuple):
    """A connection's tables as of a check of its data."""

    at: datetime
    tables: Sequence[TableFigures]


@dataclass(frozen=True)
class Around:
    """What a rule may know beside the connection itself.

    ``at``: the moment of the evaluation. ``medians``: seconds that a run of each connector usually takes, None before that is
    known of any. ``siblings``: ids of the
    account's connections, the warehouse included. ``twins``: ids of those that have an elder of the same connector and name.
    ``drops``: tables that lost rows, by connection. ``data``: what a check of its data counted, by connection. ``anew``: another
    connection of the same connector, for those that never succeeded.
    ``unused_targets``: targets that no source of the account loads into, with how many load elsewhere.
    """

    at: datetime
    thresholds: Thresholds
    medians: Mapping[str, float] | None = None
    siblings: Collection[int] = ()
    twins: Mapping[int, int] = field(default_factory=dict)
    drops: Mapping[int, Sequence[Drop]] = field(default_factory=dict)
    unused_targets: Mapping[int, int] = field(default_factory=dict)
    data: Mapping[int, CheckedData] = field(default_factory=dict)
    anew: Mapping[int, int] = field(default_factory=dict)
