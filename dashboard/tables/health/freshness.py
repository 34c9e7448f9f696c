"""Look at the rows themselves: when the newest one of a connection's tables was received. Only when a person asks for it.

A run that completed says what was sent; whether it is there, the tables alone can tell. That costs about a dozen calls: the
databases, their tables, and of each table that is looked at its columns and one row.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from dashboard import peliqan
from dashboard.core import times
from dashboard.core.database import db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.core.text import clean
from dashboard.core.times import CLOCK_SKEW
from dashboard.findings import evaluate
from dashboard.fleet import queries
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.models import Connection
from dashboard.tables.filters import can_sort
from dashboard.tables.health import service as table_checks
from dashboard.tables.of_connection import LONGEST_NAME, RUNS_ASKED, _prefix, loaded_by, tables_of

MOST_DATABASES, MOST_TABLES = 3, 5
# What loaders of Singer's kind write into each row.
RECEIVED_AT = "_sdc_received_at"
# Of one table and not of the whole API: the others can be read all the same.
OF_ONE_TABLE = (
    peliqan.Refused,
    peliqan.Forbidden,
    peliqan.NotFound,
    peliqan.BrokenAnswer,
    peliqan.ServerError,
)


@dataclass(frozen=True)
class FreshnessResult:
    """What a look at a connection's rows gave.

    ``tables``: how many tables it has; ``read``: of how many of them the look succeeded; ``dated``: how many of these say when
    a row was received; ``unread``: names of those that could not be read; ``more_databases``: how many were not looked through.
    """

    prefix: str
    tables: int
    read: int
    dated: int
    unread: tuple[str, ...]
    more_databases: int
    newest_at: datetime | None

    @property
    def is_whole(self) -> bool:
        """Whether no table was left out."""
        return self.read == self.tables and not self.more_databases

    @property
    def sentence(self) -> str:
        """What was looked at, and what was not, for a person."""
        parts = [self._found()]
        if self.unread:
            names = ", ".join(f"“{clean(name)[:LONGEST_NAME]}”" for name in self.unread)
            parts.append(f"{len(self.unread)} could not be read: {names}.")
        if left := self.tables - self.read - len(self.unread):
            parts.append(f"{left} more {'was' if left == 1 else 'were'} not looked at.")
        if self.more_databases:
            parts.append(
                f"Only the account's first {MOST_DATABASES} databases were looked through."
            )
        return " ".join(parts)

    def _found(self) -> str:
        if not self.tables:
            return f"No table of this connection was found: none has a name that begins with “{self.prefix}”."
        if not self.read:
            return "Nothing was learnt of the rows in its tables."
        if self.read == 1:
            one = "Its only table" if self.tables == 1 else "The one table that was read"
            if not self.dated:
                return f"{one} does not say when a row was received."
            return f"{one} says when a row was received" + (
                "." if self.newest_at else ", but has no row with such a time."
            )
        some = (
            f"its {self.read} tables"
            if self.read == self.tables
            else f"the {self.read} tables that were read"
        )
        if not self.dated:
            return f"None of {some} says when a row was received."
        says = "says" if self.dated == 1 else "say"
        said = f"{self.dated} of {some} {says} when a row was received"
        return said + ("." if self.newest_at else ", but no row there has such a time.")


def check_freshness(api: peliqan.Peliqan, connection: Connection, at: datetime) -> FreshnessResult:
    """When the newest row in a connection's tables was received, from the API into the snapshot.
    Those that say when are watched from then on (``tables.health.service``).

    What a look left out may hold newer rows: then a newer time that was seen before stays. Where no table at all could be read,
    nothing is changed.

    Raises:
        peliqan.PeliqanError: the API as a whole does not answer; nothing is changed then.
    """
    account = api.for_account(connection.account_id)
    databases = account.databases()
    tables = tables_of(
        connection,
        (table for each in databases[:MOST_DATABASES] for table in account.tables(each.id)),
    )
    siblings = queries.connections_of(connection.account_id)
    times, dated, unread, seen = [], 0, [], []
    looked_at = _most_loaded(connection, tables)[:MOST_TABLES]
    for table in looked_at:
        try:
            column = received_at(account.columns(table.id))
            if column is None:
                continue
            # The column alone: rows may hold anything.
            page = account.rows(table.id, size=1, order_by=f"-{column}", include=(column,))
        except OF_ONE_TABLE:
            unread.append(table.name)
            continue
        dated += 1
        found = [
            time
            for row in page.rows
            if (time := read_time(row.get(column))) is not None and time <= at + CLOCK_SKEW
        ]
        times += found
        # How many rows there are is said along with them.
        name, loader = clean(table.name), loaded_by(table, siblings)
        seen.append(
            table_checks.TableStats(
                table.id, name, loader, page.count, max(found, default=None), says_received=True
            )
        )
    look = FreshnessResult(
        prefix=_prefix(connection),
        tables=len(tables),
        read=len(looked_at) - len(unread),
        dated=dated,
        unread=tuple(unread),
        more_databases=max(0, len(databases) - MOST_DATABASES),
        newest_at=max(times, default=None),
    )
    if look.read or not look.tables:
        _save(connection, look, at)
    if seen:
        table_checks.write(connection.account_id, seen, at)
    return look


def read_time(value: object) -> datetime | None:
    """A cell as a time in UTC: ISO, with its zone or taken as UTC. None for anything else, and for a day without a time."""
    return times.read_time(value) if isinstance(value, str) and ":" in value else None


def received_at(columns: Iterable[peliqan.Column]) -> str | None:
    """The column that says when a row was received; None where there is none that can be sorted by."""
    return next(
        (
            column.name
            for column in columns
            if column.name.casefold() == RECEIVED_AT and can_sort(column)
        ),
        None,
    )


def _save(connection: Connection, look: FreshnessResult, at: datetime) -> None:
    account_id = connection.account_id
    lock_snapshot()
    row = db.session.get_one(Connection, (account_id, connection.id), populate_existing=True)
    known = (look.newest_at, None if look.is_whole else row.newest_row_at)
    row.newest_row_at, row.rows_read_at = max((time for time in known if time), default=None), at
    evaluate.evaluate([account_id], at)
    db.session.commit()


def _most_loaded(connection: Connection, tables: list[peliqan.Table]) -> list[peliqan.Table]:
    """Those first into which the latest runs say that they loaded most: there a row is missing soonest."""
    loads: Counter[str] = Counter()
    for run in fleet_runs.latest(connection.account_id, connection.id, RUNS_ASKED):
        for load in run.tables:
            loads[str(load["name"]).casefold()] += load["records"] or 0
    prefix = _prefix(connection).casefold()

    def loaded(table: peliqan.Table) -> int:
        name = table.name.casefold()
        # Runs name tables with or without the connector.
        return max(loads[name], loads[name.removeprefix(prefix)])

    return sorted(tables, key=loaded, reverse=True)
