"""Freshness of a connection's tables: when their newest row was received.

Checked only when a user requests it. A completed run reports what was sent; whether it arrived can
only be seen in the tables. A check costs about a dozen API calls: the databases, their tables, and
for each checked table its columns and one row.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
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
from dashboard.tables.connection_tables import (
    LONGEST_NAME,
    RUNS_READ,
    loaded_by,
    table_prefix,
    tables_of,
)
from dashboard.tables.filters import can_sort
from dashboard.tables.health import service as table_checks

MOST_DATABASES, MOST_TABLES = 3, 5
# The column that Singer-based loaders add to each row.
RECEIVED_AT = "_sdc_received_at"
# Errors of a single table, after which the other tables can still be read.
OF_ONE_TABLE = (
    peliqan.Refused,
    peliqan.Forbidden,
    peliqan.NotFound,
    peliqan.BrokenAnswer,
    peliqan.ServerError,
)


@dataclass(frozen=True)
class FreshnessResult:
    """The result of a freshness check of a connection.

    ``tables``: number of its tables; ``read``: number of those that were read; ``dated``: number of
    those with a column that says when a row was received; ``unread``: names of the tables that
    could not be read; ``more_databases``: number of databases that were not searched.
    ``newest_at``: when the newest row was received; None if no row with such a time was found.
    """

    prefix: str
    tables: int
    read: int
    dated: int
    unread: tuple[str, ...]
    more_databases: int
    newest_at: datetime | None

    @property
    def is_complete(self) -> bool:
        """Whether all tables were read."""
        return self.read == self.tables and not self.more_databases

    @property
    def sentence(self) -> str:
        """What was read and what was not, as sentences for the user."""
        sentences = [self._summary()]
        if self.unread:
            names = ", ".join(f"“{clean(name)[:LONGEST_NAME]}”" for name in self.unread)
            sentences.append(f"{len(self.unread)} could not be read: {names}.")
        if left := self.tables - self.read - len(self.unread):
            sentences.append(f"{left} more {'was' if left == 1 else 'were'} not looked at.")
        if self.more_databases:
            sentences.append(
                f"Only the account's first {MOST_DATABASES} databases were looked through."
            )
        return " ".join(sentences)

    def _summary(self) -> str:
        if not self.tables:
            return (
                "No table of this connection was found:"
                f" none has a name that begins with “{self.prefix}”."
            )
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
        return f"{self.dated} of {some} {says} when a row was received" + (
            "." if self.newest_at else ", but no row there has such a time."
        )


def check_freshness(api: peliqan.Peliqan, connection: Connection, at: datetime) -> FreshnessResult:
    """Find and store when a connection's tables received their newest row. Commits.

    The read tables with such a time are monitored from then on (``tables.health.service``). If
    some tables were not read, a newer time from an earlier check stays, since they may hold newer
    rows. If none could be read, nothing is changed.

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
    stats: list[table_checks.TableStats] = []
    unread: list[str] = []
    checked = _most_loaded(connection, tables)[:MOST_TABLES]
    for table in checked:
        try:
            found = _read_table(account, table, siblings, at)
        except OF_ONE_TABLE:
            unread.append(table.name)
            continue
        if found is not None:
            stats.append(found)
    received = (each.newest_received_at for each in stats)
    result = FreshnessResult(
        prefix=table_prefix(connection),
        tables=len(tables),
        read=len(checked) - len(unread),
        dated=len(stats),
        unread=tuple(unread),
        more_databases=max(0, len(databases) - MOST_DATABASES),
        newest_at=max((time for time in received if time is not None), default=None),
    )
    if result.read or not result.tables:
        _save(connection, result, at)
    if stats:
        table_checks.write(connection.account_id, stats, at)
    return result


def read_time(value: object) -> datetime | None:
    """Return a cell's ISO time in UTC; a time without a zone is read as UTC.

    None for anything else, and for a date without a time.
    """
    return times.read_time(value) if isinstance(value, str) and ":" in value else None


def received_at(columns: Iterable[peliqan.Column]) -> str | None:
    """Return the column that says when a row was received; None if no sortable one exists."""
    return next(
        (
            column.name
            for column in columns
            if column.name.casefold() == RECEIVED_AT and can_sort(column)
        ),
        None,
    )


def _read_table(
    account: peliqan.AccountApi,
    table: peliqan.Table,
    siblings: Sequence[Connection],
    at: datetime,
) -> table_checks.TableStats | None:
    """Read when a table's newest row was received; None if it has no column for that."""
    column = received_at(account.columns(table.id))
    if column is None:
        return None
    # This column only: the others may hold personal data.
    last = peliqan.RowQuery(size=1, order_by=f"-{column}", include=(column,))
    page = account.rows(table.id, last)
    received = (read_time(row.get(column)) for row in page.rows)
    newest = max(
        (time for time in received if time is not None and time <= at + CLOCK_SKEW), default=None
    )
    # The same call returns the number of rows.
    return table_checks.TableStats(
        table.id,
        clean(table.name),
        loaded_by(table, siblings),
        page.count,
        newest,
        says_received=True,
    )


def _save(connection: Connection, result: FreshnessResult, at: datetime) -> None:
    account_id = connection.account_id
    lock_snapshot()
    row = db.session.get_one(Connection, (account_id, connection.id), populate_existing=True)
    received = (result.newest_at, None if result.is_complete else row.newest_row_at)
    row.newest_row_at = max((time for time in received if time), default=None)
    row.rows_read_at = at
    evaluate.evaluate([account_id], at)
    db.session.commit()


def _most_loaded(connection: Connection, tables: list[peliqan.Table]) -> list[peliqan.Table]:
    """Return the tables, those with the most rows loaded by the latest runs first.

    These come first because a missing row is noticed there soonest.
    """
    loads: Counter[str] = Counter()
    for run in fleet_runs.latest(connection.account_id, connection.id, RUNS_READ):
        for load in run.tables:
            loads[str(load["name"]).casefold()] += load["records"] or 0
    prefix = table_prefix(connection).casefold()

    def loaded(table: peliqan.Table) -> int:
        name = table.name.casefold()
        # Runs name a table with or without the connector's prefix.
        return max(loads[name], loads[name.removeprefix(prefix)])

    return sorted(tables, key=loaded, reverse=True)
