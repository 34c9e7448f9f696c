"""Errors that concern one table or end a pull, over all codes of PostgreSQL and SQLite."""

import errno
import sqlite3
from typing import Any

import psycopg
import pytest
from sqlalchemy import exc

from dashboard.pulls.destinations.base import Refused
from dashboard.pulls.refusals import of_database, of_files

SECRET = "secret-cell-value"
CODES = sorted(
    each.sqlstate
    for each in vars(psycopg.errors).values()
    if isinstance(each, type) and isinstance(getattr(each, "sqlstate", None), str)
)
ENDING = {"08", "28", "53", "57", "58"}
WHOLE_FILE = {
    "PERM",
    "NOMEM",
    "READONLY",
    "IOERR",
    "CORRUPT",
    "FULL",
    "CANTOPEN",
    "PROTOCOL",
    "NOTADB",
}
PRIMARY = (
    *(
        "ERROR",
        "INTERNAL",
        "PERM",
        "ABORT",
        "BUSY",
        "LOCKED",
        "NOMEM",
        "READONLY",
        "INTERRUPT",
        "IOERR",
        "CORRUPT",
        "FULL",
    ),
    *(
        "CANTOPEN",
        "PROTOCOL",
        "SCHEMA",
        "TOOBIG",
        "CONSTRAINT",
        "MISMATCH",
        "MISUSE",
        "NOLFS",
        "AUTH",
        "RANGE",
        "NOTADB",
    ),
)


def wrapped(cause: Exception, family: Any) -> exc.DBAPIError:
    found = exc.DBAPIError.instance("INSERT", {}, cause, family)
    assert isinstance(found, exc.DBAPIError)
    return found


def is_of_one_table(error: exc.SQLAlchemyError) -> bool:
    found = of_database(error, "this table")
    assert SECRET not in str(found)
    return isinstance(found, Refused)


def test_every_sqlstate_is_one_tables_but_for_five_classes() -> None:
    assert len(CODES) > 200
    for code in CODES:
        error = wrapped(psycopg.errors.lookup(code)(f"value “{SECRET}” is bad"), psycopg.Error)
        assert is_of_one_table(error) is (code[:2] not in ENDING), code


@pytest.mark.parametrize("name", PRIMARY)
@pytest.mark.parametrize("extended", [0, 2, 6])
def test_every_code_of_sqlite_is_one_tables_but_for_those_of_the_whole_file(
    name: str, extended: int
) -> None:
    cause = sqlite3.OperationalError(f"no such value: \"{SECRET}\", nor '{SECRET}'")
    cause.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}") | extended << 8
    cause.sqlite_errorname = f"SQLITE_{name}"
    assert is_of_one_table(wrapped(cause, sqlite3.Error)) is (name not in WHOLE_FILE)


@pytest.mark.parametrize(
    ("error", "is_one_tables"),
    [
        (
            wrapped(
                psycopg.OperationalError("server closed the connection unexpectedly"), psycopg.Error
            ),
            False,
        ),
        (wrapped(psycopg.InterfaceError("the connection is closed"), psycopg.Error), False),
        (exc.TimeoutError("QueuePool limit"), False),
        (
            wrapped(
                psycopg.DataError(f"PostgreSQL text fields cannot contain NUL bytes: {SECRET}"),
                psycopg.Error,
            ),
            True,
        ),
        (wrapped(psycopg.ProgrammingError("cannot adapt type"), psycopg.Error), True),
        (exc.NoSuchTableError("customer_1001_x"), True),
        (exc.IdentifierError("Identifier is too long"), True),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
def test_without_a_code_what_lost_the_connection_ends_the_pull(
    error: exc.SQLAlchemyError, is_one_tables: bool
) -> None:
    assert is_of_one_table(error) is is_one_tables


@pytest.mark.parametrize(
    ("number", "is_one_tables"),
    [
        *(
            (each, False)
            for each in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EIO,
                errno.EROFS,
                errno.ENOMEM,
                errno.EMFILE,
            )
        ),
        *(
            (each, True)
            for each in (
                errno.EACCES,
                errno.EPERM,
                errno.ENAMETOOLONG,
                errno.EISDIR,
                errno.ENOTDIR,
                errno.EFBIG,
            )
        ),
        (errno.ENOENT, True),
        (None, True),
    ],
)
def test_a_full_or_dead_file_system_ends_the_pull_and_one_path_does_not(
    number: int | None, is_one_tables: bool
) -> None:
    error = OSError("no number") if number is None else OSError(number, "text")
    assert isinstance(of_files(error, "/srv/copies", "this table"), Refused) is is_one_tables
