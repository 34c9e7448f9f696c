"""Warehouses on a PostgreSQL server: a database an account, a schema a connection.

The first query of an account creates its database. The database's name begins with that of the
server's address, whose user needs the right to create databases. PostgreSQL's transaction mode and
statement timeout make queries read-only and short.
"""

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dashboard.sandbox.tables import Table, Tables
from dashboard.sandbox.warehouse import BATCH, columns_of, lines_of, schemas_of

LOCK_TIMEOUT: Final = "5s"


class PostgresqlWarehouses:
    """A database for each account on one server.

    ``url``: an address for libpq; its database's name begins the names of the accounts' databases.
    """

    def __init__(self, tables: Tables, url: str) -> None:
        self._tables, self._url = tables, url
        self._filled: dict[int, dict[str, tuple[Table, ...]]] = {}
        self._lock = Lock()

    def database(self, account_id: int) -> str:
        """Return the name of an account's database."""
        return f"{conninfo_to_dict(self._url).get('dbname', 'warehouse')}_dw_{account_id}"

    def execute(
        self, account_id: int, tables: Sequence[Table], query: str, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Answer as the protocol describes."""
        try:
            self._prepare(account_id, tables)
            with (
                self._connect(
                    account_id, f"-c statement_timeout={int(seconds * 1000)}"
                ) as connection,
                connection.cursor() as cursor,
            ):
                path = sql.SQL(", ").join(map(sql.Identifier, schemas_of(tables) or ["public"]))
                connection.execute(sql.SQL("set search_path to {}").format(path))
                connection.commit()
                connection.read_only = True
                rows, batch = cursor.stream(query), list[list[Any]]()
                for index, row in enumerate(rows):
                    if index == 0:
                        yield {"columns": _columns(connection, cursor)}
                    batch.append(list(row))
                    if len(batch) == BATCH:
                        yield {"records": batch}
                        batch = []
                # A stream without rows has no description of the columns.
                yield (
                    {"records": batch}
                    if cursor.description
                    else {"columns": _columns(connection, connection.execute(query))}
                )
                connection.rollback()
        except psycopg.Error as error:
            yield {"status": "failed", "error": error.diag.message_primary or str(error)}
            return
        yield {"status": "success"}

    def _connect(self, account_id: int, options: str = "") -> "psycopg.Connection[Any]":
        return psycopg.connect(
            make_conninfo(self._url, dbname=self.database(account_id)), options=options
        )

    def _prepare(self, account_id: int, tables: Sequence[Table]) -> None:
        """Create the account's database the first time; fill schemas whose tables changed."""
        with self._lock:
            if account_id not in self._filled:
                database = sql.Identifier(self.database(account_id))
                with psycopg.connect(self._url, autocommit=True) as server:
                    server.execute(
                        sql.SQL("drop database if exists {} with (force)").format(database)
                    )
                    server.execute(sql.SQL("create database {}").format(database))
                self._filled[account_id] = {}
            filled = self._filled[account_id]
            wanted = {
                name: tuple(each for each in tables if each.schema == name)
                for name in schemas_of(tables)
            }
            if filled == wanted:
                return
            with self._connect(account_id, f"-c lock_timeout={LOCK_TIMEOUT}") as connection:
                for name in filled.keys() - wanted.keys():
                    connection.execute(
                        sql.SQL("drop schema {} cascade").format(sql.Identifier(name))
                    )
                for name, its_tables in wanted.items():
                    if filled.get(name) != its_tables:
                        self._fill(connection, name, its_tables)
            self._filled[account_id] = wanted

    def _fill(
        self, connection: "psycopg.Connection[Any]", name: str, tables: Sequence[Table]
    ) -> None:
        schema = sql.Identifier(name)
        connection.execute(sql.SQL("drop schema if exists {} cascade").format(schema))
        connection.execute(sql.SQL("create schema {}").format(schema))
        for table in tables:
            qualified_name = sql.SQL("{}.{}").format(schema, sql.Identifier(table.name))
            columns = [
                sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind))
                for column, kind in columns_of(self._tables, table)
            ]
            connection.execute(
                sql.SQL("create table {} ({})").format(qualified_name, sql.SQL(", ").join(columns))
            )
            with (
                connection.cursor() as cursor,
                cursor.copy(sql.SQL("copy {} from stdin").format(qualified_name)) as copy,
            ):
                for line in lines_of(self._tables, table):
                    copy.write_row(
                        [
                            value.replace("\0", "") if isinstance(value, str) else value
                            for value in line
                        ]
                    )


def _columns(
    connection: "psycopg.Connection[Any]", cursor: "psycopg.Cursor[Any]"
) -> list[list[str]]:
    kinds = (connection.adapters.types.get(column.type_code) for column in cursor.description or ())
    return [
        [column.name, kind.name if kind else ""]
        for column, kind in zip(cursor.description or (), kinds, strict=True)
    ]
