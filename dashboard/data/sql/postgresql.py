"""A question by a direct connection to a customer's warehouse. The database itself keeps it read-only, short and a single one."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, Final, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGresult

from dashboard.data.sql.result import SECONDS, Failed, Result, ResultColumn

GIVES_NOTHING: Final = "That gives no rows, and has changed nothing. A question begins with select, as a rule."
CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 5
NEEDED: Final = ("host", "dbname", "user")
# What an address may say. Anything else could have libpq read files of this machine.
KNOWN: Final = frozenset({*NEEDED, "port", "password", "sslmode"})
ORIGINS: Final = """
    select attrelid, attnum, relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid
    where (attrelid, attnum) in (select * from unnest(%s::oid[], %s::int2[]))
"""


class BadAddress(ValueError):
    """A sentence, with nothing of the address in it that is secret."""


def shown(address: str) -> str:
    """What may be seen of an address: host, port and database.

    Raises:
        BadAddress: it is none of PostgreSQL's, lacks a part, or says more than where and who.
    """
    try:
        parts = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        raise BadAddress("That is no address of PostgreSQL's: postgresql://user:password@host:5432/database.") from None
    if missing := [name for name in NEEDED if not parts.get(name)]:
        raise BadAddress(f"The address lacks: {', '.join(missing)}.")
    if unknown := sorted(set(parts) - KNOWN):
        raise BadAddress(f"An address may say where and who, not {unknown[0]}.")
    if str(parts["host"]).startswith("/"):
        raise BadAddress("A socket of this machine is no customer's warehouse: enter its host's name.")
    return f"{parts['host']}:{parts.get('port', 5432)}/{parts['dbname']}"


def check(address: str, not_this: str = "") -> None:
    """Connect once, for an administrator who enters it. ``not_this``: the console's own store, where that is PostgreSQL.

    Raises:
        BadAddress: it cannot be reached, or leads to the console's own store.
    """
    try:
        with closing(_connect(address)) as there:
            where = _identity(there)
        if not_this:
            with closing(psycopg.connect(not_this, connect_timeout=CONNECT_SECONDS)) as own:
                if _identity(own) == where:
                    raise BadAddress("That is the console's own store: enter another database.")
    except psycopg.Error as error:
        raise BadAddress(f"It cannot be reached: {_words(error, address)}") from None


def ask(
    address: str, question: str, result: Result, begun: Callable[[Callable[[], None]], None], seconds: float = SECONDS
) -> None:
    """Fill ``result``. ``begun`` is given what cancels the question in the database, for another thread to call.

    Raises:
        Failed: with what was read so far in ``result``.
    """
    try:
        with closing(_connect(address, seconds)) as there, there.cursor() as cursor:
            begun(there.cancel_safe)
            # With the protocol that takes one statement alone; a row at a time, so that a gigabyte is left where it is.
            rows = cast("Generator[tuple[Any, ...], None, None]", cursor.stream(question))
            with closing(rows):
                for row in rows:
                    if not result.columns and cursor.pgresult is not None:
                        result.columns = _columns(there, cursor.pgresult)
                    if not result.take([row]):
                        break
            result.columns = result.columns or _described(there, question)
            there.rollback()
            result.columns = _with_origins(there, result.columns)
    except psycopg.Error as error:
        told = GIVES_NOTHING if error.sqlstate is None and "produce a result" in str(error) else _words(error, address)
        raise Failed(told, incomplete=bool(result.rows)) from None


def _connect(address: str, seconds: float = SECONDS) -> "psycopg.Connection[tuple[Any, ...]]":
    limits = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{int(seconds * 1000)}",
        "lock_timeout": f"{LOCK_SECONDS * 1000}",
        "idle_in_transaction_session_timeout": f"{int(seconds * 1000)}",
    }
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    made = psycopg.connect(
        make_conninfo(address, connect_timeout=CONNECT_SECONDS, options=options, application_name="partner-console")
    )
    made.read_only = True
    return made


def _columns(there: "psycopg.Connection[tuple[Any, ...]]", found: PGresult) -> Sequence[ResultColumn]:
    """Each with the place that it comes from as yet: ``oid.number`` of a table's column."""
    columns = []
    for at in range(found.nfields):
        kind = there.adapters.types.get(found.ftype(at))
        origin = f"{found.ftable(at)}.{found.ftablecol(at)}" if found.ftable(at) else ""
        columns.append(ResultColumn((found.fname(at) or b"").decode("utf-8", "replace"), kind.name if kind else "", origin))
    return columns


def _described(there: "psycopg.Connection[tuple[Any, ...]]", question: str) -> Sequence[ResultColumn]:
    """The columns of an answer without rows, of which a stream says nothing."""
    there.pgconn.prepare(b"described", question.encode())
    return _columns(there, there.pgconn.describe_prepared(b"described"))


def _with_origins(there: "psycopg.Connection[tuple[Any, ...]]", columns: Sequence[ResultColumn]) -> Sequence[ResultColumn]:
    """The places by their names."""
    places = [tuple(map(int, column.origin.split("."))) for column in columns if column.origin]
    if not places:
        return columns
    oids, numbers = zip(*places, strict=True)
    rows = there.execute(ORIGINS, [list(oids), list(numbers)])
    names = {f"{oid}.{number}": f"{table}.{column}" for oid, number, table, column in rows}
    return [
        # What cannot be told counts as computed.
        ResultColumn(column.name, column.type, names.get(column.origin, "") if column.origin else "")
        for column in columns
    ]


def _identity(there: "psycopg.Connection[Any]") -> Any:
    return there.execute("select current_database(), pg_postmaster_start_time()").fetchone()


def _words(error: psycopg.Error, address: str) -> str:
    """The database's sentence. A password that stands in it is a fault of libpq's, and cut out all the same."""
    said = error.diag.message_primary or next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    secret = str(conninfo_to_dict(address).get("password") or "")
    said = said.replace(secret, "…") if secret else said
    return f"{said[:1].upper()}{said[1:500]}."
