"""An account's warehouse that answers SQL: a schema for each connection, in SQLite databases in this process's memory.

Schemas have the names that ``target_schema.schema_name`` gives; ``information_schema`` lists them. SQLite joins at most nine of
them in one statement. A table has its first ``MOST_ROWS`` rows. Read-only by SQLite's own means.
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
KEPT: Final = 8
STEPS: Final = 10_000
BATCH: Final = 500
# By the type of a field, in PostgreSQL's words; SQLite has the same affinities for them. Everything else is text.
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

    def ask(
        self, account_id: int, tables: Sequence[Table], query: str, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Yield the lines of the answer, in the form of Peliqan's route for SQL (S).

        ``tables``: what the account has now, with the rows that it has now; a schema is filled again when its tables changed.
        ``seconds``: how long the query may take.
        """


@dataclass
class _Schema:
    """A schema in memory: it exists while ``keeper`` or another connection to ``uri`` is open. ``state``: what is in it."""

    uri: str
    keeper: sqlite3.Connection
    state: object


class SqliteWarehouses:
    """The warehouses of the accounts that were asked last, in SQLite."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._kept: OrderedDict[int, dict[str, _Schema]] = OrderedDict()
        self._lock = Lock()
        self._own, self._numbers = uuid4().hex, count()

    def ask(
        self, account_id: int, tables: Sequence[Table], query: str, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Answer as described by the protocol. Each question has a connection of its own."""
        database = sqlite3.connect(":memory:", uri=True, check_same_thread=False)
        try:
            yield from self._answer(database, account_id, tables, query, seconds)
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

    def _answer(
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
        # From here on: no writing, no other files, no settings.
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
        """The account's schemas of these names, filled. Those of accounts that nobody asked for long are closed."""
        kept = self._kept.setdefault(account_id, {})
        self._kept.move_to_end(account_id)
        for name in names:
            state = (
                tuple(tables)
                if name == INFORMATION
                else tuple(each for each in tables if each.schema == name)
            )
            if name not in kept or kept[name].state != state:
                if name in kept:
                    kept[name].keeper.close()
                kept[name] = self._fill(account_id, name, state)
        if len(self._kept) > KEPT:
            _, oldest = self._kept.popitem(last=False)
            for schema in oldest.values():
                schema.keeper.close()
        return {name: kept[name] for name in names}

    def _fill(self, account_id: int, name: str, tables: Sequence[Table]) -> _Schema:
        uri = f"file:/{self._own}-{next(self._numbers)}?vfs=memdb"
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
    """The names of the schemas, in the order in which a table without a schema's name is looked for."""
    return list(dict.fromkeys(table.schema for table in tables))


def columns_of(tables: Tables, table: Table) -> list[tuple[str, str]]:
    """The columns, no two of which differ only in case, with their types: the key in the source, then a column for each field."""
    taken, found = {"id"}, [("id", "bigint")]
    for field in tables.fields(table):
        name = field.name
        while name.lower() in taken:
            name += "_2"
        taken.add(name.lower())
        found.append((name, TYPES.get(field.type, "text")))
    return found


def lines_of(tables: Tables, table: Table) -> Iterator[list[Any]]:
    """Yield its first ``MOST_ROWS`` rows: the key in the source, then a value for each column."""
    fields = tables.fields(table)
    for number in range(1, min(table.count, MOST_ROWS) + 1):
        row = tables.row(table, number)
        yield [table.key(number), *(_plain(row[field.name]) for field in fields)]


def described(
    tables: Tables, account_id: int, of: Sequence[Table]
) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of ``information_schema``, by table; columns as in ``DESCRIBING``."""
    catalog = f"dw_{account_id}"
    columns = []
    for table in of:
        for place, (name, kind) in enumerate(columns_of(tables, table), 1):
            columns.append((catalog, table.schema, table.name, name, place, "YES", kind))
    return {
        "schemata": [(catalog, name, catalog) for name in schemas_of(of)],
        "tables": [(catalog, table.schema, table.name, "BASE TABLE") for table in of],
        "columns": columns,
    }


def _needed(tables: Sequence[Table], query: str) -> list[str]:
    """The schemas that a query names, and the first that has a table which it names: SQLite attaches no more than ten."""
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
    places = ", ".join("?" * len(columns))
    database.executemany(f"INSERT INTO {_quoted(name)} VALUES ({places})", rows)  # noqa: S608 - quoted, and ours


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and "value" in value:
        return value["value"]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
