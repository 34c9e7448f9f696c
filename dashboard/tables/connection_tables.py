"""The tables that a connection loads, found by the prefix of their names."""

from collections.abc import Iterable

from dashboard import peliqan
from dashboard.fleet.models import Connection

# The latest runs from which the loaded rows of each table are counted.
RUNS_READ = 5
# Characters of a table's name in a sentence.
LONGEST_NAME = 60


def tables_of(connection: Connection, tables: Iterable[peliqan.Table]) -> list[peliqan.Table]:
    """Return those of an account's tables that a connection loads.

    Assumption, to be confirmed with Peliqan, made here only: a connection loads the tables, in any
    database, whose names start with its connector's name and ``_``, in any case. Two connections of
    one connector in one account cannot be distinguished.
    """
    prefix = table_prefix(connection).casefold()
    return [
        table
        for table in tables
        if connection.connector and table.name.casefold().startswith(prefix)
    ]


def loaded_by(table: peliqan.Table, connections: Iterable[Connection]) -> int | None:
    """Return the id of the connection that loads a table; None if unknown.

    By the same assumption. If several fit: the one with the longest connector, then the oldest.
    """
    fitting = [each for each in connections if tables_of(each, [table])]
    return min(fitting, key=lambda each: (-len(each.connector), each.id)).id if fitting else None


def table_prefix(connection: Connection) -> str:
    """Return the start of the names of a connection's tables."""
    return f"{connection.connector}_"
