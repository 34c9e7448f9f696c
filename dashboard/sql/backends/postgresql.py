"""Runs a query by a direct connection to a customer's warehouse.

The database ensures that it is read-only, limited in time and a single statement.
"""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, cast

import psycopg
from psycopg import generators, sql
from psycopg.pq.abc import PGresult

from dashboard.core.database_urls import BadAddress, PostgresAddress, read_postgresql
from dashboard.core.error_values import without_values
from dashboard.core.sql_text import names_in_statement
from dashboard.sql.backends.bounded_proxy import LOOPBACK, Relay
from dashboard.sql.limits import CONNECT_SECONDS, LOCK_SECONDS, MOST_BYTES, QUERY_SECONDS
from dashboard.sql.result import Failed, Result, ResultColumn

__all__ = ["BadAddress", "check", "run_query", "shown"]
NO_RESULT: Final = (
    "That gives no rows, and has changed nothing. A question begins with select, as a rule."
)
# Bytes of the responses on a connection: more than ``MOST_BYTES``, since rows after the limit
# arrive until the database receives the cancellation.
MOST_RECEIVED: Final = 4 * MOST_BYTES
_WORD_START: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
# The class of errors that a customer's function raises; their text can contain any value.
_RAISED: Final = "P0"


def shown(address: PostgresAddress | str) -> str:
    """Return host, port and database of an address, for display.

    Raises:
        BadAddress: it is not an address of PostgreSQL, is incomplete, or has other parameters.
    """
    return _parsed(address).shown


def check(address: PostgresAddress | str, own_database: str = "") -> None:
    """Connect once to an address that an administrator enters.

    ``own_database``: the address of the console's database, if that is PostgreSQL.

    Raises:
        BadAddress: it cannot be reached, or leads to the console's own database.
    """
    parsed = _parsed(address)
    try:
        with _relay_to(parsed) as relay, closing(_connect(parsed, relay)) as connection:
            identity = _identity(connection)
        if own_database:
            with closing(psycopg.connect(own_database, connect_timeout=CONNECT_SECONDS)) as own:
                if _identity(own) == identity:
                    raise BadAddress("That is the console's own store: enter another database.")
    except Failed as error:
        raise BadAddress(str(error)) from None
    except psycopg.Error as error:
        raise BadAddress(f"It cannot be reached: {_message(error, parsed)}") from None


def run_query(
    address: PostgresAddress | str,
    statement: str,
    result: Result,
    on_start: Callable[[Callable[[], None]], None],
    seconds: float = QUERY_SECONDS,
) -> None:
    """Fill ``result`` with the columns and rows of a statement.

    ``on_start`` receives a function that cancels the statement in the database; another thread may
    call it.

    Raises:
        BadAddress: as ``shown``.
        Failed: the query failed; the rows that came before are in ``result``.
    """
    parsed = _parsed(address)
    with _relay_to(parsed) as relay:
        try:
            connection = _connect(parsed, relay)
        except psycopg.Error as error:
            raise Failed(_message(error, parsed)) from None
        try:
            with closing(connection):
                on_start(connection.cancel_safe)
                _read(connection, statement, result, seconds)
        except psycopg.Error as error:
            if relay.exceeded:
                result.cut_by_size()
                return
            raise Failed(refusal(error, statement), incomplete=bool(result.rows)) from None


def refusal(error: psycopg.Error, statement: str) -> str:
    """Return why the database refused a statement: the error's class, and its message.

    Values are removed from the message. DETAIL, HINT and CONTEXT are left out, since they contain
    values without quotes.
    """
    if error.sqlstate is None and "produce a result" in str(error):
        return NO_RESULT
    message = without_values(
        error.diag.message_primary or str(error), names_in_statement(statement)
    )
    if error.sqlstate is None:
        if not message:
            return "The database did not answer."
        return f"{message[:1].upper()}{message[1:]}."
    try:
        name = psycopg.errors.lookup(error.sqlstate).__name__
    except KeyError:
        name = "Error"
    title = f"{_WORD_START.sub(' ', name).capitalize()} ({error.sqlstate})"
    if not message or error.sqlstate.startswith(_RAISED):
        return f"{title}."
    return f"{title}: {message}."


def _read(
    connection: "psycopg.Connection[tuple[Any, ...]]",
    statement: str,
    result: Result,
    seconds: float,
) -> None:
    # The columns first: there may be no row, or one too large for the connection to survive.
    _begin(connection, seconds)
    result.columns = columns = _described(connection, statement)
    connection.rollback()
    _begin(connection, seconds)
    # By the protocol that accepts a single statement; row by row, so that rows beyond a limit are
    # not read.
    with (
        connection.cursor() as cursor,
        closing(cast("Generator[tuple[Any, ...], None, None]", cursor.stream(statement))) as rows,
    ):
        for row in rows:
            if (
                not result.rows
                and cursor.pgresult is not None
                and _columns(connection, cursor.pgresult) != columns
            ):
                raise Failed("A table was changed while it was asked. Ask again.")
            if not result.add([row]):
                break


@contextmanager
def _relay_to(address: PostgresAddress) -> Iterator[Relay]:
    """Open a proxy to the database, for one query.

    Raises:
        Failed: the database cannot be reached.
    """
    try:
        relay = Relay(address.host, address.port, MOST_RECEIVED, CONNECT_SECONDS)
    except OSError as error:
        raise Failed(f"It cannot be reached: {error.strerror or 'it does not answer'}.") from None
    with relay:
        yield relay


def _connect(address: PostgresAddress, relay: Relay) -> "psycopg.Connection[tuple[Any, ...]]":
    """Connect without session options and prepared statements, which poolers do not support.

    The caller closes the connection with its transaction open. The server then rolls it back, and a
    pooler such as PgBouncer closes its server connection instead of reusing it with locks or
    prepared statements that the query left.
    """
    # With the host's name, since the certificate is checked against it.
    parameters = {
        **address.keywords(),
        "hostaddr": LOOPBACK,
        "port": relay.port,
        "prepare_threshold": None,
    }
    connection = psycopg.connect(
        **parameters, connect_timeout=CONNECT_SECONDS, application_name="partner-console"
    )
    connection.read_only = True
    return connection


def _begin(connection: "psycopg.Connection[tuple[Any, ...]]", seconds: float) -> None:
    """Begin a read-only transaction with its limits.

    After the first query in a transaction, it cannot be made writable.
    """
    limits = {
        "statement_timeout": f"{int(seconds * 1000)}",
        "lock_timeout": f"{LOCK_SECONDS * 1000}",
        "idle_in_transaction_session_timeout": f"{int(seconds * 1000)}",
    }
    calls = sql.SQL(", ").join(
        sql.SQL("set_config({}, {}, true)").format(*each) for each in limits.items()
    )
    connection.execute(sql.SQL("SELECT {}").format(calls))


def _columns(
    connection: "psycopg.Connection[tuple[Any, ...]]", found: PGresult
) -> Sequence[ResultColumn]:
    kinds = [connection.adapters.types.get(found.ftype(at)) for at in range(found.nfields)]
    names = [(found.fname(at) or b"").decode("utf-8", "replace") for at in range(found.nfields)]
    return [
        ResultColumn(name, kind.name if kind else "")
        for name, kind in zip(names, kinds, strict=True)
    ]


def _described(
    connection: "psycopg.Connection[tuple[Any, ...]]", statement: str
) -> Sequence[ResultColumn]:
    """Return the columns of the result; none if the statement is refused, as its run reports."""
    # Not by libpq's blocking calls, which block all other threads, also those of the proxy.
    connection.pgconn.send_prepare(b"", statement.encode())
    connection.wait(generators.execute(connection.pgconn))
    connection.pgconn.send_describe_prepared(b"")
    return _columns(connection, connection.wait(generators.execute(connection.pgconn))[-1])


def _parsed(address: PostgresAddress | str) -> PostgresAddress:
    return read_postgresql(address) if isinstance(address, str) else address


def _identity(connection: "psycopg.Connection[Any]") -> Any:
    return connection.execute("select current_database(), pg_postmaster_start_time()").fetchone()


def _message(error: psycopg.Error, address: PostgresAddress) -> str:
    """Return why there is no connection, without the password, which libpq should not mention."""
    message = (
        error.diag.message_primary
        or next(iter(str(error).strip().splitlines()), "")
        or type(error).__name__
    )
    message = message.replace(address.password, "…") if address.password else message
    return f"{message[:1].upper()}{message[1:500]}."
