"""Accounts' warehouses that answer SQL: a schema for each connection, in SQLite in memory.

Schemas have the names of ``target_schema.schema_name``; ``information_schema`` lists them. SQLite
joins at most nine of them in one statement. A table has its first ``MOST_ROWS`` rows. SQLite's
authorizer makes queries read-only.
"""

import json
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any, Final, Protocol
from uuid import uuid4

from dashboard.sandbox.tables import Table, Tables

MOST_ROWS: Final = 2_000
MOST_ACCOUNTS: Final = 8
STEPS: Final = 10_000
BATCH: Final = 500
# PostgreSQL types by field type; SQLite has the same affinities for them. The others are text.
TYPES: Final = {
    "number": "numeric",
    "autonumber": "bigint",
    "rating": "integer",
    "boolean": "boolean",
}
ALLOWED: Final = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
INFORMATION: Final = "information_schema"
DESCRIBING: Final = {
    "schemata": ("catalog_name", "schema_name", "schema_owner"),
    "tables": ("table_catalog", "table_schema", "table_name", "table_type"),
    "columns": (
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "is_nullable",
        "data_type",
    ),
}


class Warehouses(Protocol):
    """The warehouses of all accounts, on one database engine."""

    def execute(
        self, account_id: int, tables: Sequence[Table], query: str, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Yield the lines of the response, in the form of Peliqan's route for SQL (S).

        Args:
            account_id: The account.
            tables: Its current tables; a schema is filled again when its tables changed.
            query: The SQL.
            seconds: The time limit of the query.
        """


@dataclass
class _Schema:
    """A schema in memory.

    It exists while ``keeper`` or another connection to ``uri`` is open.
    ``state``: the tables that it contains.
    """

    uri: str
    keeper: sqlite3.Connection
    state: object


class SqliteWarehouses:
    """The warehouses of the most recently queried accounts, in SQLite."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._cache: OrderedDict[int, dict[str, _Schema]] = OrderedDict()
        self._lock = Lock()
        self._prefix, self._numbers = uuid4().hex, count()

    def execute(
        self, account_id: int, tables: Sequence[Table], query: str, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Answer as the protocol describes. Each query has a connection of its own."""
        database = sqlite3.connect(":memory:", uri=True, check_same_thread=False)
        try:
            yield from self._run(database, account_id, tables, query, seconds)
        except (sqlite3.Error, sqlite3.Warning) as error:
            interrupted = "interrupted" in str(error)
            yield {
                "status": "failed",
                "error": "canceling statement due to statement timeout"
                if interrupted
                else str(error),
            }
        finally:
            database.close()

    def _run(
        self,
        database: sqlite3.Connection,
        account_id: int,
        tables: Sequence[Table],
        query: str,
        seconds: float,
    ) -> Iterator[dict[str, Any]]:
        with self._lock:
            for name, schema in self._schemas(account_id, tables, _needed(tables, query)).items():
                database.execute(f"ATTACH ? AS {_quoted(name)}", (schema.uri,))
        # From here on: no writes, no other files, no settings.
        database.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY
        )
        ends_at = time.monotonic() + seconds
        database.set_progress_handler(lambda: int(time.monotonic() > ends_at), STEPS)
        cursor = database.execute(query)
        yield {"columns": [[name, "text"] for name, *_ in cursor.description or ()]}
        while rows := cursor.fetchmany(BATCH):
            yield {"records": [list(row) for row in rows]}
        yield {"status": "success"}

    def _schemas(
        self, account_id: int, tables: Sequence[Table], names: Sequence[str]
    ) -> dict[str, _Schema]:
        """Return the account's schemas of these names, filled; close the oldest account's."""
        cached = self._cache.setdefault(account_id, {})
        self._cache.move_to_end(account_id)
        for name in names:
            state = (
                tuple(tables)
                if name == INFORMATION
                else tuple(each for each in tables if each.schema == name)
            )
            if name not in cached or cached[name].state != state:
                if name in cached:
                    cached[name].keeper.close()
                cached[name] = self._fill(account_id, name, state)
        if len(self._cache) > MOST_ACCOUNTS:
            _, oldest = self._cache.popitem(last=False)
            for schema in oldest.values():
                schema.keeper.close()
        return {name: cached[name] for name in names}

    def _fill(self, account_id: int, name: str, tables: Sequence[Table]) -> _Schema:
        uri = f"file:/{self._prefix}-{next(self._numbers)}?vfs=memdb"
        keeper = sqlite3.connect(uri, uri=True, check_same_thread=False)
        if name == INFORMATION:
            for view, rows in described(self._tables, account_id, tables).items():
                _create(keeper, view, [(column, "text") for column in DESCRIBING[view]], rows)
        else:
            for table in tables:
                _create(
                    keeper,
                    table.name,
                    columns_of(self._tables, table),
                    lines_of(self._tables, table),
                )
        keeper.commit()
        return _Schema(uri, keeper, tables)


def schemas_of(tables: Iterable[Table]) -> list[str]:
    """Return the names of the schemas, in the order of the search path."""
    return list(dict.fromkeys(table.schema for table in tables))


def columns_of(tables: Tables, table: Table) -> list[tuple[str, str]]:
    """Return the columns with their types: the source's key, then one for each field.

    No two names differ only in case.
    """
    names, found = {"id"}, [("id", "bigint")]
    for field in tables.fields(table):
        name = field.name
        while name.lower() in names:
            name += "_2"
        names.add(name.lower())
        found.append((name, TYPES.get(field.type, "text")))
    return found


def lines_of(tables: Tables, table: Table) -> Iterator[list[Any]]:
    """Yield the first ``MOST_ROWS`` rows: the source's key, then a value for each column."""
    fields = tables.fields(table)
    for number in range(1, min(table.count, MOST_ROWS) + 1):
        row = tables.row(table, number)
        yield [table.key(number), *(_plain(row[field.name]) for field in fields)]


def described(
    tables: Tables, account_id: int, of: Sequence[Table]
) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of ``information_schema`` by table; ``DESCRIBING`` has the columns."""
    catalog = f"dw_{account_id}"
    columns = []
    for table in of:
        for position, (name, kind) in enumerate(columns_of(tables, table), 1):
            columns.append((catalog, table.schema, table.name, name, position, "YES", kind))
    return {
        "schemata": [(catalog, name, catalog) for name in schemas_of(of)],
        "tables": [(catalog, table.schema, table.name, "BASE TABLE") for table in of],
        "columns": columns,
    }


def _needed(tables: Sequence[Table], query: str) -> list[str]:
    """Return the schemas that a query names, and the first schema of each table that it names.

    SQLite attaches no more than ten databases.
    """
    text = query.casefold()
    needed = {name for name in schemas_of(tables) if name in text}
    firsts: dict[str, str] = {}
    for table in tables:
        if table.name.casefold() in text:
            firsts.setdefault(table.name, table.schema)
    needed.update(firsts.values())
    found = [name for name in schemas_of(tables) if name in needed]
    return [*found, INFORMATION] if INFORMATION in text else found


def _create(
    database: sqlite3.Connection,
    name: str,
    columns: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[Any]],
) -> None:
    named = ", ".join(f"{_quoted(column)} {kind}" for column, kind in columns)
    database.execute(f"CREATE TABLE {_quoted(name)} ({named})")
    values = ", ".join("?" * len(columns))
    insert = f"INSERT INTO {_quoted(name)} VALUES ({values})"  # noqa: S608 - the name is quoted
    database.executemany(insert, rows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and "value" in value:
        return value["value"]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
