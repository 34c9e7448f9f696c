"""An account's warehouse that answers SQL: its tables in SQLite, in this process, filled when somebody asks for the first time.

Read-only by SQLite's own means. Of a table the first ``MOST_ROWS`` rows are there: a question costs a second and not a minute.
"""

import json
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, Final, Protocol

from dashboard.sandbox.tables import Table, Tables

MOST_ROWS: Final = 2_000
KEPT: Final = 8
STEPS: Final = 10_000
BATCH: Final = 500
TYPES: Final = {"number": "NUMERIC", "autonumber": "INTEGER", "rating": "INTEGER", "boolean": "INTEGER"}
ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


class Warehouses(Protocol):
    """Every account's warehouse, on whatever it stands."""

    def ask(self, account_id: int, tables: Sequence[Table], query: str, seconds: float) -> Iterator[dict[str, Any]]:
        """The answer's lines, as Peliqan's route for SQL gives them (S). ``seconds``: how long the query may take."""


class SqliteWarehouses:
    """The warehouses of the last few accounts that were asked."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._kept: OrderedDict[int, tuple[sqlite3.Connection, Lock]] = OrderedDict()
        self._lock = Lock()

    def ask(self, account_id: int, tables: Sequence[Table], query: str, seconds: float) -> Iterator[dict[str, Any]]:
        """As the others. One question to an account at a time."""
        with self._lock:
            database, asking = self._database(account_id, tables)
        with asking:
            ends_at = time.monotonic() + seconds
            database.set_progress_handler(lambda: int(time.monotonic() > ends_at), STEPS)
            try:
                cursor = database.execute(query)
                described = cursor.description or ()
                yield {"columns": [[name, "text"] for name, *_ in described]}
                while rows := cursor.fetchmany(BATCH):
                    yield {"records": [list(row) for row in rows]}
            except (sqlite3.Error, sqlite3.Warning) as error:
                interrupted = "interrupted" in str(error)
                said = "canceling statement due to statement timeout" if interrupted else str(error)
                yield {"status": "failed", "error": said}
                return
            yield {"status": "success"}

    def _database(self, account_id: int, tables: Sequence[Table]) -> tuple[sqlite3.Connection, Lock]:
        if account_id in self._kept:
            self._kept.move_to_end(account_id)
            return self._kept[account_id]
        database = sqlite3.connect(":memory:", check_same_thread=False)
        for table in tables:
            self._fill(database, table)
        database.commit()
        # From here on: no writing, no other files, no settings.
        database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY)
        self._kept[account_id] = database, Lock()
        if len(self._kept) > KEPT:
            # Who still asks it holds it; it goes with the last of them.
            self._kept.popitem(last=False)
        return self._kept[account_id]

    def _fill(self, database: sqlite3.Connection, table: Table) -> None:
        columns = [f"{_quoted(name)} {TYPES.get(kind, 'TEXT')}" for name, kind in names_of(self._tables, table)]
        database.execute(f"CREATE TABLE {_quoted(table.name)} (id INTEGER, {', '.join(columns)})")
        into = f"INSERT INTO {_quoted(table.name)} VALUES (?{', ?' * len(columns)})"  # noqa: S608 - quoted, and ours
        database.executemany(into, lines_of(self._tables, table))


def names_of(tables: Tables, table: Table) -> list[tuple[str, str]]:
    """The columns beside ``id``, no two of which differ only in case, with their fields' types."""
    taken, found = {"id"}, []
    for field in tables.fields(table):
        name = field.name
        while name.lower() in taken:
            name += "_2"
        taken.add(name.lower())
        found.append((name, field.type))
    return found


def lines_of(tables: Tables, table: Table) -> Iterator[list[Any]]:
    """Its first ``MOST_ROWS`` rows: the id, then a value a column."""
    fields = tables.fields(table)
    for number in range(1, min(table.count, MOST_ROWS) + 1):
        row = tables.row(table, number)
        yield [row["id"], *(_plain(row[field.name]) for field in fields)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and "value" in value:
        return value["value"]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
