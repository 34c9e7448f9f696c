"""Checks what a connection loaded, by figures that the customer's warehouse counts: the rules of the data rest on them.

One statement lists the tables of the connection's schema (``target_schema.schema_name``), another counts them: rows, different
keys, snapshots with live rows, and when the newest row was received. That is three API calls with the warehouse's name; the
daily check of the same tables sends the second statement alone. The warehouse reads each table once, so it is done when somebody
asks, and never for the whole fleet. The statements are PostgreSQL's, as Peliqan's own warehouse is; another one may refuse them.
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
from dashboard.tables.data_checks.service import CountedTable

MOST_TABLES: Final = 50
MOST_ROWS: Final = 10_000
KEYS: Final = ("id", "_id", "key", "uuid")
VERSION, DELETED, RECEIVED = "_sdc_table_version", "_sdc_deleted_at", "_sdc_received_at"
# The loader's own tables.
INTERNAL: Final = "__sdc_"


class CannotCheck(Exception):
    """A sentence: why the data cannot be checked, and what to do."""


@dataclass(frozen=True)
class DataResult:
    """What was counted. ``more``: how many tables were left out."""

    schema: str
    tables: list[CountedTable]
    more: int

    @property
    def sentence(self) -> str:
        """What was checked and what was not, for a person."""
        if not self.tables:
            return f"The warehouse has no table in the schema “{clean(self.schema)[:60]}”: nothing was checked."
        count = len(self.tables)
        parts = [
            f"The warehouse counted {count} {'table' if count == 1 else 'tables'} in “{clean(self.schema)[:60]}”."
        ]
        if keyless := sum(not each.key for each in self.tables):
            parts.append(
                f"{keyless} of them {'has' if keyless == 1 else 'have'} no column {', '.join(KEYS[:-1])} or {KEYS[-1]}."
            )
        if self.more:
            parts.append(f"{self.more} more {'was' if self.more == 1 else 'were'} not counted.")
        return " ".join(parts)


def check(
    api: peliqan.Peliqan, connection: Connection, at: datetime, *, asked: bool = True
) -> DataResult:
    """Count a connection's tables, store the figures and evaluate its findings: three API calls. Commits.

    ``asked``: by a person, so that it is checked daily for a week from now.

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
    counted = _counted(account, warehouse, schema, tables[:MOST_TABLES])
    result = DataResult(schema, counted, max(0, len(tables) - MOST_TABLES))
    place = {"warehouse": warehouse, "schema_name": schema, "more_tables": result.more}
    data_checks.write(account_id, connection_id, counted, at, asked=asked, **place)
    return result


def check_due(api: peliqan.Peliqan, clock: Callable[[], datetime], stop: Event) -> None:
    """Count the tables of the connections that are due again, as fast as the pace of all calls allows."""
    for account_id, connection_id in data_checks.due(clock()):
        if stop.is_set():
            return
        kept = data_checks.lease(account_id, connection_id, clock())
        if kept is None:
            continue
        connection = queries.connection_or_none(account_id, connection_id)
        if connection is None or connection.gone_at is not None:
            data_checks.delete_checks_of(account_id, connection_id)
            continue
        try:
            _check_again(api, connection, kept, clock())
        except peliqan.ApiUnavailable:
            # Due again when the lease is over; the others with it.
            return
        except (peliqan.PeliqanError, CannotCheck):
            data_checks.reschedule(kept, clock())


def _check_again(
    api: peliqan.Peliqan, connection: Connection, kept: DataCheck, at: datetime
) -> None:
    """Count the tables that are known, in one call; look for tables anew where that is refused: one may be gone."""
    tables = data_checks.tables_of(kept)
    if tables and kept.schema_name == connection.schema_name:
        try:
            counted = _counted(
                api.for_account(connection.account_id), kept.warehouse, kept.schema_name, tables
            )
        except (peliqan.QueryFailed, peliqan.NotAuthorised, peliqan.NotFound):
            pass
        else:
            data_checks.write(connection.account_id, connection.id, counted, at, asked=False)
            return
    check(api, connection, at, asked=False)


def _tables(account: peliqan.AccountApi, warehouse: str, schema: str) -> list[CountedTable]:
    """The tables of a schema by name, with those of their columns that are counted."""
    names = ", ".join(map(_text, (*KEYS, VERSION, DELETED, RECEIVED)))
    found: dict[str, set[str]] = defaultdict(set)
    wanted = f"CASE WHEN LOWER(column_name) IN ({names}) THEN column_name END"
    source = f"information_schema.columns WHERE table_schema = {_text(schema)}"
    for table, column in _rows(
        account, warehouse, f"SELECT DISTINCT table_name, {wanted} FROM {source}", 2
    ):
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
    """The tables with their figures, counted by one statement."""
    if not tables:
        return []
    query = " UNION ALL ".join(
        _statement(schema, table, place) for place, table in enumerate(tables)
    )
    rows = list(_rows(account, warehouse, query, 5))
    try:
        figures = {int(place): row for place, *row in rows}
        return [_with_figures(table, *figures[place]) for place, table in enumerate(tables)]
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


def _statement(schema: str, table: CountedTable, place: int) -> str:
    """Count one table. Every column of the answer has the same type in all of them, or databases refuse the union."""
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
    return f"SELECT {place}, {counted} FROM {_name(schema)}.{_name(table.name)}"  # noqa: S608 - names are quoted


def _rows(
    account: peliqan.AccountApi, warehouse: str, query: str, width: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of an answer that has ``width`` columns.

    Raises:
        CannotCheck: it has too many rows.
        peliqan.PeliqanError: there is none, or it has other columns.
    """
    count = 0
    for part in account.ask(query, quiet=None, warehouse=warehouse):
        count += len(part.records)
        if part.columns is not None and len(part.columns) != width:
            raise peliqan.BrokenAnswer(
                "proxy_db", note="its columns are not those that were asked for"
            )
        if count > MOST_ROWS:
            raise CannotCheck(
                f"The schema has more than {MOST_ROWS:,} tables and columns. Check single tables with SQL."
            )
        yield from part.records


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
