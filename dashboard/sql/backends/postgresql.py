"""A question by a direct connection to a customer's warehouse. The database itself keeps it read-only, short and a single one."""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, cast

import psycopg
from psycopg import generators, sql
from psycopg.pq.abc import PGresult

from dashboard.core.addresses import BadAddress, PostgresAddress, read_postgresql
from dashboard.core.error_values import without_values
from dashboard.core.sql_text import names_in_statement
from dashboard.sql.backends.bounded_proxy import LOOPBACK, Relay
from dashboard.sql.result import MOST_BYTES, SECONDS, Failed, Result, ResultColumn

__all__ = ["BadAddress", "ask", "check", "shown"]
GIVES_NOTHING: Final = (
    "That gives no rows, and has changed nothing. A question begins with select, as a rule."
)
CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 5
# What comes beside an answer of the most bytes that are kept: the rows after it, until the database has heard of it.
MOST_RECEIVED: Final = 4 * MOST_BYTES
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
# A function of the customer's own raised these, with a text that may hold anything.
_RAISED: Final = "P0"


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
            there = _connect(found, relay)
        except psycopg.Error as error:
            raise Failed(_words(error, found)) from None
        try:
            with closing(there):
                begun(there.cancel_safe)
                _read(there, question, result, seconds)
        except psycopg.Error as error:
            if relay.exceeded:
                result.cut_by_size()
                return
            raise Failed(refusal(error, question), incomplete=bool(result.rows)) from None


def refusal(error: psycopg.Error, question: str) -> str:
    """Return why the database did not carry a question out: the class of its error, and its words without values.

    DETAIL, HINT and CONTEXT are left out: they hold values without any quotes.
    """
    if error.sqlstate is None and "produce a result" in str(error):
        return GIVES_NOTHING
    said = without_values(error.diag.message_primary or str(error), names_in_statement(question))
    if error.sqlstate is None:
        return f"{said[:1].upper()}{said[1:]}." if said else "The database did not answer."
    try:
        known = psycopg.errors.lookup(error.sqlstate).__name__
    except KeyError:
        known = "Error"
    title = f"{_HUMP.sub(' ', known).capitalize()} ({error.sqlstate})"
    return f"{title}: {said}." if said and not error.sqlstate.startswith(_RAISED) else f"{title}."


def _read(
    there: "psycopg.Connection[tuple[Any, ...]]", question: str, result: Result, seconds: float
) -> None:
    # Before the rows, which may be none, or too large for the connection to live on.
    _begin(there, seconds)
    result.columns = columns = _described(there, question)
    there.rollback()
    _begin(there, seconds)
    # With the protocol that takes one statement alone; a row at a time, so that what is too much is left where it is.
    with (
        there.cursor() as cursor,
        closing(cast("Generator[tuple[Any, ...], None, None]", cursor.stream(question))) as rows,
    ):
        for row in rows:
            if (
                not result.rows
                and cursor.pgresult is not None
                and _columns(there, cursor.pgresult) != columns
            ):
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


def _connect(address: PostgresAddress, relay: Relay) -> "psycopg.Connection[tuple[Any, ...]]":
    """Connect with what a pooler such as PgBouncer takes, too: no option of the session, no prepared statement.

    Whoever closes the connection leaves the question's transaction open: the server rolls it back, and a pooler closes the server
    connection instead of giving it to somebody else, with whatever the question has left there (a lock, a prepared statement).
    """
    # The host's name stays, since its certificate is for that.
    there = {
        **address.keywords(),
        "hostaddr": LOOPBACK,
        "port": relay.port,
        "prepare_threshold": None,
    }
    made = psycopg.connect(
        **there, connect_timeout=CONNECT_SECONDS, application_name="partner-console"
    )
    made.read_only = True
    return made


def _begin(there: "psycopg.Connection[tuple[Any, ...]]", seconds: float) -> None:
    """Begin a transaction that is read-only, with the limits as its own settings. Its first query makes read-only final."""
    limits = {
        "statement_timeout": f"{int(seconds * 1000)}",
        "lock_timeout": f"{LOCK_SECONDS * 1000}",
        "idle_in_transaction_session_timeout": f"{int(seconds * 1000)}",
    }
    calls = sql.SQL(", ").join(
        sql.SQL("set_config({}, {}, true)").format(*each) for each in limits.items()
    )
    there.execute(sql.SQL("SELECT {}").format(calls))


def _columns(
    there: "psycopg.Connection[tuple[Any, ...]]", found: PGresult
) -> Sequence[ResultColumn]:
    kinds = [there.adapters.types.get(found.ftype(at)) for at in range(found.nfields)]
    names = [(found.fname(at) or b"").decode("utf-8", "replace") for at in range(found.nfields)]
    return [
        ResultColumn(name, kind.name if kind else "")
        for name, kind in zip(names, kinds, strict=True)
    ]


def _described(
    there: "psycopg.Connection[tuple[Any, ...]]", question: str
) -> Sequence[ResultColumn]:
    """The columns that the answer will have; none where the question is refused, which asking it tells in words."""
    # libpq's own calls that wait would keep all other threads waiting, the relay's among them.
    there.pgconn.send_prepare(b"", question.encode())
    there.wait(generators.execute(there.pgconn))
    there.pgconn.send_describe_prepared(b"")
    return _columns(there, there.wait(generators.execute(there.pgconn))[-1])


def _parts(address: PostgresAddress | str) -> PostgresAddress:
    return read_postgresql(address) if isinstance(address, str) else address


def _identity(there: "psycopg.Connection[Any]") -> Any:
    return there.execute("select current_database(), pg_postmaster_start_time()").fetchone()


def _words(error: psycopg.Error, address: PostgresAddress) -> str:
    """Why there is no connection. A password that stands in it is a fault of libpq's, and cut out all the same."""
    said = (
        error.diag.message_primary
        or next(iter(str(error).strip().splitlines()), "")
        or type(error).__name__
    )
    said = said.replace(address.password, "…") if address.password else said
    return f"{said[:1].upper()}{said[1:500]}."
