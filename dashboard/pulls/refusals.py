"""Classification of a destination's errors: failure of one table, or end of the pull.

Decided by PostgreSQL's SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html),
SQLite's result code (https://www.sqlite.org/rescode.html) and the operating system's errno. A
reason contains the code and the names of constraints and columns, but no text of a server, which
may quote values of a row.
"""

import errno
import sqlite3
from typing import Any, Final

from sqlalchemy import exc

from dashboard.core.error_values import without_values
from dashboard.pulls.destinations.base import DestinationError, Refused

# PostgreSQL: no connection, no permission to connect, no resources (53100 is a full disk), a server
# that shuts down or cancelled the statement, and errors of its machine.
ENDING_CLASSES: Final = frozenset({"08", "28", "53", "57", "58"})
# SQLite: the file cannot be read or written, or its disk is full.
ENDING_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
# A file system that is full, read-only or not mounted any more.
ENDING_ERRNO: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EROFS,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
    }
)
_LOCKED: Final = "Another session has it locked; the next pull tries again."
_CONSTRAINT: Final = (
    "A rule that was added to the table there does not allow a row; remove the rule."
)
# What happened and what to do, by the longest matching prefix of the SQLSTATE.
_POSTGRESQL: Final = {
    "22": "A value does not fit its column there; change the column's type back, or drop the table:"
    " the next pull creates it again.",
    "23": _CONSTRAINT,
    "2BP01": "Something there depends on it, such as a view, and a column's kind changed, which"
    " requires a new table: drop the view, run the pull, and create the view again.",
    "40": "Another transaction was in the way; the next pull tries again.",
    "42": "The table is not as the pull left it, or something that it needs is missing; drop it:"
    " the next pull creates it again.",
    "42501": "The user in the destination's address may not change it; grant the permission.",
    "54": "It exceeds a limit of PostgreSQL, such as the size of a row; Parquet files can hold it.",
    "54011": "It has more columns than a table in PostgreSQL can have; Parquet files can hold it.",
    "55": _LOCKED,
    "P0": "A trigger that was added to the table there does not allow a row; remove the trigger.",
}
_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_TOOBIG: "A row or value exceeds SQLite's limit; Parquet files can hold it.",
    sqlite3.SQLITE_CONSTRAINT: _CONSTRAINT,
}
UNCHANGED: Final = "An earlier copy stays as it was."


def of_database(error: exc.SQLAlchemyError, what: str) -> DestinationError:
    """Return ``Refused`` if it refuses only ``what``, else the error that ends the pull.

    ``what``: such as "this table".
    """
    cause = getattr(error, "orig", None) or error
    if _ends_pull(error, cause):
        return database_unusable(error)
    return Refused(
        f"The database refuses {what} ({_code(cause)}). {_advice(cause)} {UNCHANGED}".replace(
            "  ", " "
        )
    )


def database_unusable(error: exc.SQLAlchemyError) -> DestinationError:
    """Return the error that ends the pull."""
    cause = getattr(error, "orig", None) or error
    return DestinationError(
        f"The database does not take the copy ({_code(cause)}). What was copied before is complete;"
        " check that it answers, has room and allows writing, and run the pull again."
    )


def of_files(error: OSError, folder: object, what: str) -> DestinationError:
    """Return ``Refused`` if it refuses only ``what``, else the error that ends the pull."""
    if error.errno in ENDING_ERRNO:
        return folder_unusable(error, folder)
    return Refused(
        f"The folder {folder} does not take {what}: {_strerror(error)}. {UNCHANGED} Check that the"
        " path is free there and can be written, and run the pull again."
    )


def folder_unusable(error: OSError, folder: object) -> DestinationError:
    """Return the error that ends the pull."""
    return DestinationError(
        f"The folder {folder} does not take the copy: {_strerror(error)}. What was copied before is"
        " complete; make room or allow writing, and run the pull again."
    )


def _ends_pull(error: exc.SQLAlchemyError, cause: Any) -> bool:
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if state := getattr(cause, "sqlstate", None):
        return state[:2] in ENDING_CLASSES
    if (code := getattr(cause, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in ENDING_SQLITE
    # Errors without a code come from psycopg, not from a server: the connection is lost.
    return isinstance(
        error, exc.OperationalError | exc.InterfaceError | exc.DisconnectionError | exc.TimeoutError
    )


def _code(cause: BaseException) -> str:
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    diag = getattr(cause, "diag", None)
    name = getattr(diag, "constraint_name", None) or getattr(diag, "column_name", None)
    return ", ".join(
        each for each in (type(cause).__name__, code, f"“{name}”" if name else "") if each
    )


def _advice(cause: Any) -> str:
    if state := getattr(cause, "sqlstate", None):
        return next(
            (_POSTGRESQL[state[:length]] for length in (5, 2) if state[:length] in _POSTGRESQL), ""
        )
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return ""
    # These texts of SQLite contain names of tables and columns only. A trigger's text may contain
    # anything.
    has_names_only = (
        code & 0xFF in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}
        and code != sqlite3.SQLITE_CONSTRAINT_TRIGGER
    )
    text = f"SQLite says: {without_values(str(cause))}." if has_names_only else ""
    return f"{_SQLITE.get(code & 0xFF, '')} {text}".strip()


def _strerror(error: OSError) -> str:
    return error.strerror or type(error).__name__
