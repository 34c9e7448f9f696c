"""The same warehouses on a PostgreSQL server: a schema an account, filled when somebody asks for the first time.

Read-only and short by PostgreSQL's own means. Who asks sees other accounts' schemas too where they name them: it is a stand-in.
"""

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, Final

import psycopg
from psycopg import sql

from dashboard.sandbox.tables import Table, Tables
from dashboard.sandbox.warehouse import BATCH, lines_of, names_of

TYPES: Final = {"number": "numeric", "autonumber": "bigint", "rating": "integer", "boolean": "boolean"}


class PostgresqlWarehouses:
    """The accounts' schemas in one database. ``url``: libpq's."""

    def __init__(self, tables: Tables, url: str) -> None:
        self._tables, self._url = tables, url
        self._filled: set[int] = set()
        self._lock = Lock()

    def ask(self, account_id: int, tables: Sequence[Table], query: str, seconds: float) -> Iterator[dict[str, Any]]:
        """The answer's lines, as Peliqan's route for SQL gives them (S). ``seconds``: how long the query may take."""
        try:
            self._fill_once(account_id, tables)
            options = f"-c search_path=dw_{account_id} -c statement_timeout={int(seconds * 1000)}"
            with psycopg.connect(self._url, options=options) as there, there.cursor() as cursor:
                there.read_only = True
                rows, batch = cursor.stream(query), list[list[Any]]()
                for place, row in enumerate(rows):
                    if place == 0:
                        yield {"columns": _columns(there, cursor)}
                    batch.append(list(row))
                    if len(batch) == BATCH:
                        yield {"records": batch}
                        batch = []
                # Of an answer without rows a stream says nothing.
                yield {"records": batch} if cursor.description else {"columns": _columns(there, there.execute(query))}
                there.rollback()
        except psycopg.Error as error:
            yield {"status": "failed", "error": error.diag.message_primary or str(error)}
            return
        yield {"status": "success"}

    def _fill_once(self, account_id: int, tables: Sequence[Table]) -> None:
        with self._lock:
            if account_id in self._filled:
                return
            schema = sql.Identifier(f"dw_{account_id}")
            with psycopg.connect(self._url) as there:
                there.execute(sql.SQL("drop schema if exists {} cascade").format(schema))
                there.execute(sql.SQL("create schema {}").format(schema))
                for table in tables:
                    self._fill(there, sql.SQL("{}.{}").format(schema, sql.Identifier(table.name)), table)
            self._filled.add(account_id)

    def _fill(self, there: "psycopg.Connection[Any]", name: sql.Composable, table: Table) -> None:
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(TYPES.get(kind, "text")))
            for column, kind in names_of(self._tables, table)
        ]
        there.execute(sql.SQL("create table {} ({})").format(name, sql.SQL(", ").join([sql.SQL("id bigint"), *columns])))
        with there.cursor() as cursor, cursor.copy(sql.SQL("copy {} from stdin").format(name)) as copy:
            for line in lines_of(self._tables, table):
                copy.write_row([value.replace("\0", "") if isinstance(value, str) else value for value in line])


def _columns(there: "psycopg.Connection[Any]", cursor: "psycopg.Cursor[Any]") -> list[list[str]]:
    kinds = (there.adapters.types.get(column.type_code) for column in cursor.description or ())
    return [[column.name, kind.name if kind else ""] for column, kind in zip(cursor.description or (), kinds, strict=True)]
