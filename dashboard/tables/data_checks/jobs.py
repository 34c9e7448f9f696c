"""Checks of the data that a connection loaded, by figures of the customer's warehouse.

The finding rules on data use these figures. One statement lists the tables of the connection's
schema (``target_schema.schema_name``), another counts them: rows, distinct keys, table versions
with live rows, and when the newest row was received. With the warehouse's name that is three API
calls; the daily check of the same tables sends the second statement only. The warehouse reads each
table once, so a check runs when a user requests it, and never for the whole fleet. The statements
are for PostgreSQL, which Peliqan's own warehouse is; another one may refuse them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event
from typing import Any, Final

from dashboard import peliqan
from dashboard.core import times
from dashboard.core.text import clean
from dashboard.findings.models import DataCheck
from dashboard.fleet import queries
from dashboard.fleet.models import Connection
from dashboard.tables.data_checks import service as data_checks
from dashboard.tables.data_checks.service import CheckedSchema, CountedTable
from dashboard.tables.limits import MOST_CHECKED_TABLES

MOST_ROWS: Final = 10_000
KEYS: Final = ("id", "_id", "key", "uuid")
VERSION, DELETED, RECEIVED = "_sdc_table_version", "_sdc_deleted_at", "_sdc_received_at"
# Part of the names of the loader's internal tables.
INTERNAL: Final = "__sdc_"


class CannotCheck(Exception):
    """The data cannot be checked. The message says why and what to do."""


@dataclass(frozen=True)
class DataResult:
    """The result of a check. ``more``: number of tables that were not counted."""

    schema: str
    tables: list[CountedTable]
    more: int

    @property
    def sentence(self) -> str:
        """What was checked and what was not, as sentences for the user."""
        schema = clean(self.schema)[:60]
        if not self.tables:
            return f"The warehouse has no table in the schema “{schema}”: nothing was checked."
        count = len(self.tables)
        sentences = [
            f"The warehouse counted {count} {'table' if count == 1 else 'tables'} in “{schema}”."
        ]
        if keyless := sum(not each.key for each in self.tables):
            has = "has" if keyless == 1 else "have"
            sentences.append(
                f"{keyless} of them {has} no column {', '.join(KEYS[:-1])} or {KEYS[-1]}."
            )
        if self.more:
            was = "was" if self.more == 1 else "were"
            sentences.append(f"{self.more} more {was} not counted.")
        return " ".join(sentences)


def check(
    api: peliqan.Peliqan, connection: Connection, at: datetime, *, by_user: bool = True
) -> DataResult:
    """Count a connection's tables by three API calls, and evaluate its findings. Commits.

    ``by_user``: requested by a user; the connection is then checked daily for a week from ``at``.

    Raises:
        CannotCheck: the connection has no schema, or one with too many tables.
        peliqan.PeliqanError: the warehouse or the API does not answer; nothing is changed then.
    """
    if not connection.schema_name:
        raise CannotCheck(
            "Peliqan does not say which schema of the warehouse this connection loads into."
        )
    account_id, connection_id, schema = connection.account_id, connection.id, connection.schema_name
    account = api.for_account(account_id)
    warehouse = account.warehouse()
    tables = _tables(account, warehouse, schema)
    counted = _counted(account, warehouse, schema, tables[:MOST_CHECKED_TABLES])
    result = DataResult(schema, counted, max(0, len(tables) - MOST_CHECKED_TABLES))
    source = CheckedSchema(warehouse, schema, result.more)
    data_checks.write(account_id, connection_id, counted, at, by_user=by_user, source=source)
    return result


def check_due(api: peliqan.Peliqan, clock: Callable[[], datetime], stop: Event) -> None:
    """Count the tables of the connections that are due, within the rate limit. Commits.

    Returns early if ``stop`` is set or the API is not available.
    """
    for account_id, connection_id in data_checks.due(clock()):
        if stop.is_set():
            return
        stored = data_checks.lease(account_id, connection_id, clock())
        if stored is None:
            continue
        connection = queries.connection_or_none(account_id, connection_id)
        if connection is None or connection.gone_at is not None:
            data_checks.delete_checks_of(account_id, connection_id)
            continue
        try:
            _check_again(api, connection, stored, clock())
        except peliqan.ApiUnavailable:
            # This check is due again when its lease expires; the others stay due.
            return
        except (peliqan.PeliqanError, CannotCheck):
            data_checks.reschedule(stored, clock())


def _check_again(
    api: peliqan.Peliqan, connection: Connection, stored: DataCheck, at: datetime
) -> None:
    """Count the known tables in one call; list the tables again if that fails.

    It fails if one of the tables was removed.
    """
    tables = data_checks.tables_of(stored)
    if tables and stored.schema_name == connection.schema_name:
        try:
            account = api.for_account(connection.account_id)
            counted = _counted(account, stored.warehouse, stored.schema_name, tables)
        except (peliqan.QueryFailed, peliqan.NotAuthorised, peliqan.NotFound):
            pass
        else:
            data_checks.write(connection.account_id, connection.id, counted, at, by_user=False)
            return
    check(api, connection, at, by_user=False)


def _tables(account: peliqan.AccountApi, warehouse: str, schema: str) -> list[CountedTable]:
    """Return the tables of a schema by name, with those of their columns that are counted."""
    names = ", ".join(map(_text, (*KEYS, VERSION, DELETED, RECEIVED)))
    found: dict[str, set[str]] = defaultdict(set)
    wanted = f"CASE WHEN LOWER(column_name) IN ({names}) THEN column_name END"
    source = f"information_schema.columns WHERE table_schema = {_text(schema)}"
    query = f"SELECT DISTINCT table_name, {wanted} FROM {source}"  # noqa: S608 - texts are quoted
    for table, column in _rows(account, warehouse, query, 2):
        if INTERNAL not in str(table).lower():
            found[str(table)].add(str(column or ""))
    return [_with_columns(table, found[table]) for table in sorted(found)]


def _with_columns(name: str, columns: set[str]) -> CountedTable:
    by_name = {column.lower(): column for column in columns}
    key = next((by_name[each] for each in KEYS if each in by_name), "")
    return CountedTable(
        name, key, by_name.get(VERSION, ""), by_name.get(DELETED, ""), by_name.get(RECEIVED, "")
    )


def _counted(
    account: peliqan.AccountApi, warehouse: str, schema: str, tables: list[CountedTable]
) -> list[CountedTable]:
    """Return the tables with their figures, counted by one statement."""
    if not tables:
        return []
    query = " UNION ALL ".join(
        _statement(schema, table, number) for number, table in enumerate(tables)
    )
    rows = list(_rows(account, warehouse, query, 5))
    try:
        figures = {int(number): row for number, *row in rows}
        return [_with_figures(table, *figures[number]) for number, table in enumerate(tables)]
    except (KeyError, TypeError, ValueError):
        raise peliqan.BrokenAnswer(
            "proxy_db", note="its figures are not those that were asked for"
        ) from None


def _with_figures(
    table: CountedTable, rows: Any, keys: Any, versions: Any, received: Any
) -> CountedTable:
    received_at = times.read_time(received)
    return replace(
        table,
        rows=int(rows or 0),
        keys=None if keys is None else int(keys),
        versions=None if versions is None else int(versions),
        received_at=None if received_at is None else received_at.isoformat(),
    )


def _statement(schema: str, table: CountedTable, number: int) -> str:
    """Return the statement that counts one table, with ``number`` as its first column.

    Each column has the same type in all statements, or databases refuse their union.
    """
    nothing = "CAST(NULL AS bigint)"
    keys = f"COUNT(DISTINCT {_name(table.key)})" if table.key else nothing
    versions = nothing
    if table.version:
        live = (
            f"CASE WHEN {_name(table.deleted)} IS NULL THEN {_name(table.version)} END"
            if table.deleted
            else _name(table.version)
        )
        versions = f"COUNT(DISTINCT {live})"
    received = f"MAX({_name(table.received)})" if table.received else "NULL"
    counted = f"COUNT(*), {keys}, {versions}, CAST({received} AS varchar(64))"
    source = f"{_name(schema)}.{_name(table.name)}"
    return f"SELECT {number}, {counted} FROM {source}"  # noqa: S608 - names are quoted


def _rows(
    account: peliqan.AccountApi, warehouse: str, query: str, width: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query result with ``width`` columns.

    Raises:
        CannotCheck: the result has too many rows.
        peliqan.PeliqanError: the query failed, or the result has other columns.
    """
    count = 0
    for part in account.query(query, read_timeout=None, warehouse=warehouse):
        count += len(part.records)
        if part.columns is not None and len(part.columns) != width:
            raise peliqan.BrokenAnswer(
                "proxy_db", note="its columns are not those that were asked for"
            )
        if count > MOST_ROWS:
            raise CannotCheck(
                f"The schema has more than {MOST_ROWS:,} tables and columns."
                " Check single tables with SQL."
            )
        yield from part.records


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
