"""Which tables a connection loads, found by its runs and by the prefix of their names."""

from collections.abc import Iterable

from dashboard import peliqan
from dashboard.fleet.models import Connection

RUNS_ASKED = 5


LONGEST_NAME = 60


def tables_of(connection: Connection, tables: Iterable[peliqan.Table]) -> list[peliqan.Table]:
    """Which of an account's tables a connection loads.

    Assumption, to be confirmed with Peliqan, made here alone: those whose name begins with the connector's and ``_``, in any
    case, in whatever database. Two connections of one connector in one account cannot be told apart by it.
    """
    prefix = _prefix(connection).casefold()
    return [
        table
        for table in tables
        if connection.connector and table.name.casefold().startswith(prefix)
    ]


def loaded_by(table: peliqan.Table, connections: Iterable[Connection]) -> int | None:
    """Which of these connections loads a table, by the same assumption: the longest connector that fits, the eldest of it."""
    mine = [each for each in connections if tables_of(each, [table])]
    return min(mine, key=lambda each: (-len(each.connector), each.id)).id if mine else None


def _prefix(connection: Connection) -> str:
    return f"{connection.connector}_"
