"""A question by a direct connection to a customer's warehouse. The database itself keeps it read-only, short and a single one."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, cast

import psycopg
from psycopg import generators
from psycopg.pq.abc import PGresult

from dashboard.data.addresses import BadAddress, PostgresAddress, read_postgresql
from dashboard.data.sql.relay import LOOPBACK, Relay
from dashboard.data.sql.result import MOST_BYTES, SECONDS, Failed, Result, ResultColumn

__all__ = ["BadAddress", "ask", "check", "shown"]
GIVES_NOTHING: Final = "That gives no rows, and has changed nothing. A question begins with select, as a rule."
CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 5
# What comes beside an answer of the most bytes that are kept: the rows after it, until the database has heard of it.
MOST_RECEIVED: Final = 4 * MOST_BYTES
ORIGINS: Final = """
    select attrelid, attnum, relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid
    where (attrelid, attnum) in (select * from unnest(%s::oid[], %s::int2[]))
"""


def shown(address: PostgresAddress | str) -> str:
    """What may be seen of an address: host, port and database.

    Raises:
        BadAddress: it is none of PostgreSQL's, lacks a part, or says more than where and who.
    """
    return _parts(address).shown


def check(address: PostgresAddress | str, not_this: str = "") -> None:
    """Connect once, for an administrator who enters it. ``not_this``: the console's own store, where that is PostgreSQL.

    Raises:
        BadAddress: it cannot be reached, or leads to the console's own store.
    """
    found = _parts(address)
    try:
        with _reached(found) as relay, closing(_connect(found, relay)) as there:
            where = _identity(there)
        if not_this:
            with closing(psycopg.connect(not_this, connect_timeout=CONNECT_SECONDS)) as own:
                if _identity(own) == where:
                    raise BadAddress("That is the console's own store: enter another database.")
    except Failed as error:
        raise BadAddress(str(error)) from None
    except psycopg.Error as error:
        raise BadAddress(f"It cannot be reached: {_words(error, found)}") from None


def ask(
    address: PostgresAddress | str,
    question: str,
    result: Result,
    begun: Callable[[Callable[[], None]], None],
    seconds: float = SECONDS,
) -> None:
    """Fill ``result``. ``begun`` is given what cancels the question in the database, for another thread to call.

    Raises:
        BadAddress: as ``shown``.
        Failed: with what was read so far in ``result``.
    """
    found = _parts(address)
    with _reached(found) as relay:
        try:
            with closing(_connect(found, relay, seconds)) as there:
                begun(there.cancel_safe)
                _read(there, question, result)
        except psycopg.Error as error:
            if relay.exceeded:
                result.cut_by_size()
                return
            told = GIVES_NOTHING if error.sqlstate is None and "produce a result" in str(error) else _words(error, found)
            raise Failed(told, incomplete=bool(result.rows)) from None


def _read(there: "psycopg.Connection[tuple[Any, ...]]", question: str, result: Result) -> None:
    # Before the rows, which may be none, or too large for the connection to live on.
    columns = _described(there, question)
    result.columns = _with_origins(there, columns)
    there.rollback()
    # With the protocol that takes one statement alone; a row at a time, so that what is too much is left where it is.
    with there.cursor() as cursor, closing(cast("Generator[tuple[Any, ...], None, None]", cursor.stream(question))) as rows:
        for row in rows:
            if not result.rows and cursor.pgresult is not None and _columns(there, cursor.pgresult) != columns:
                raise Failed("A table was changed while it was asked. Ask again.")
            if not result.take([row]):
                break


@contextmanager
def _reached(address: PostgresAddress) -> Iterator[Relay]:
    """The way to the database, for as long as it is asked.

    Raises:
        Failed: nobody answers there.
    """
    try:
        relay = Relay(address.host, address.port, MOST_RECEIVED, CONNECT_SECONDS)
    except OSError as error:
        raise Failed(f"It cannot be reached: {error.strerror or 'it does not answer'}.") from None
    with relay:
        yield relay


def _connect(address: PostgresAddress, relay: Relay, seconds: float = SECONDS) -> "psycopg.Connection[tuple[Any, ...]]":
    limits = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{int(seconds * 1000)}",
        "lock_timeout": f"{LOCK_SECONDS * 1000}",
        "idle_in_transaction_session_timeout": f"{int(seconds * 1000)}",
    }
    # The host's name stays, since its certificate is for that.
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    there = {**address.keywords(), "hostaddr": LOOPBACK, "port": relay.port, "options": options}
    made = psycopg.connect(**there, connect_timeout=CONNECT_SECONDS, application_name="partner-console")
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
    """The columns that the answer will have; none where the question is refused, which asking it tells in words."""
    # libpq's own calls that wait would keep all other threads waiting, the relay's among them.
    there.pgconn.send_prepare(b"described", question.encode())
    there.wait(generators.execute(there.pgconn))
    there.pgconn.send_describe_prepared(b"described")
    return _columns(there, there.wait(generators.execute(there.pgconn))[-1])


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


def _parts(address: PostgresAddress | str) -> PostgresAddress:
    return read_postgresql(address) if isinstance(address, str) else address


def _identity(there: "psycopg.Connection[Any]") -> Any:
    return there.execute("select current_database(), pg_postmaster_start_time()").fetchone()


def _words(error: psycopg.Error, address: PostgresAddress) -> str:
    """The database's sentence. A password that stands in it is a fault of libpq's, and cut out all the same."""
    said = error.diag.message_primary or next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    said = said.replace(address.password, "…") if address.password else said
    return f"{said[:1].upper()}{said[1:500]}."
