"""An account's warehouse that answers SQL: its tables in SQLite, in this process, filled when somebody asks for the first time.

Read-only by SQLite's own means. Of a table the first ``MOST_ROWS`` rows are there: a question costs a second and not a minute.
"""

import json
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, Final

from dashboard.sandbox.tables import Table, Tables

MOST_ROWS: Final = 2_000
KEPT: Final = 8
STEPS: Final = 10_000
BATCH: Final = 500
TYPES: Final = {"number": "NUMERIC", "autonumber": "INTEGER", "rating": "INTEGER", "boolean": "INTEGER"}
ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


class Warehouses:
    """The warehouses of the last few accounts that were asked."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._kept: OrderedDict[int, sqlite3.Connection] = OrderedDict()
        self._lock = Lock()

    def ask(self, account_id: int, tables: Sequence[Table], query: str, seconds: float) -> Iterator[dict[str, Any]]:
        """The answer's lines, as Peliqan's route for SQL gives them (S). ``seconds``: how long the query may take."""
        with self._lock:
            database = self._database(account_id, tables)
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

    def _database(self, account_id: int, tables: Sequence[Table]) -> sqlite3.Connection:
        if account_id in self._kept:
            self._kept.move_to_end(account_id)
            return self._kept[account_id]
        database = sqlite3.connect(":memory:", check_same_thread=False)
        for table in tables:
            self._fill(database, table)
        database.commit()
        # From here on: no writing, no other files, no settings.
        database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY)
        self._kept[account_id] = database
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)[1].close()
        return database

    def _fill(self, database: sqlite3.Connection, table: Table) -> None:
        fields = self._tables.fields(table)
        taken: set[str] = {"id"}
        columns = ["id INTEGER"]
        for field in fields:
            name = field.name
            while name.lower() in taken:
                name += "_2"
            taken.add(name.lower())
            columns.append(f"{_quoted(name)} {TYPES.get(field.type, 'TEXT')}")
        database.execute(f"CREATE TABLE {_quoted(table.name)} ({', '.join(columns)})")
        rows = (self._tables.row(table, number) for number in range(1, min(table.count, MOST_ROWS) + 1))
        lines = ([row["id"], *(_plain(row[field.name]) for field in fields)] for row in rows)
        into = f"INSERT INTO {_quoted(table.name)} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - quoted, and ours
        database.executemany(into, lines)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and "value" in value:
        return value["value"]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
