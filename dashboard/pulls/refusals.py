"""Tell what a destination refuses of one table, which fails alone, from what ends a pull: the one place that does.

By PostgreSQL's SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), SQLite's result code
(https://www.sqlite.org/rescode.html) and the operating system's errno. A reason holds the code and the names of constraints and
columns, never a server's own text: that may quote values of a row.
"""

import errno
import sqlite3
from typing import Any, Final

from sqlalchemy import exc

from dashboard.core.error_values import without_values
from dashboard.pulls.destinations.base import DestinationError, Refused

# PostgreSQL: no connection, no permission to connect, no resources (53100 is a full disk), a server that shuts down or was told
# to cancel, and errors of its machine.
ENDING_CLASSES: Final = frozenset({"08", "28", "53", "57", "58"})
# SQLite: the file as a whole cannot be read or written, or its disk is full.
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
# A file system that is full, cannot be written at all, or is not there any more.
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
_LOCKED: Final = "Somebody else has it locked; the next pull tries again."
_CONSTRAINT: Final = (
    "A rule that was added to the table there does not allow a row; remove the rule."
)
# By the beginning of a SQLSTATE, the longest that fits: what happened, and what to do.
_POSTGRESQL: Final = {
    "22": "A value does not fit the column that is there; change the column's type back, or drop the table to have it made anew.",
    "23": _CONSTRAINT,
    "2BP01": "Something there depends on it, such as a view, and a column's kind changed, which takes a new table: drop the view,"
    " run the pull, and make the view again.",
    "40": "Another transaction was in the way; the next pull tries again.",
    "42": "The table is not as the pull left it, or what it needs is missing; drop it to have it made anew.",
    "42501": "The user in the destination's address may not change it; grant that user what is missing.",
    "54": "It goes beyond a limit of PostgreSQL's, such as the size of a row; Parquet files take it.",
    "54011": "It has more columns than a table of PostgreSQL's can have; Parquet files take it.",
    "55": _LOCKED,
    "P0": "A trigger that was added to the table there does not allow a row; remove the trigger.",
}
_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_TOOBIG: "A row or a value is larger than SQLite keeps; Parquet files take it.",
    sqlite3.SQLITE_CONSTRAINT: _CONSTRAINT,
}
UNCHANGED: Final = "An earlier copy stays as it was."


def of_database(error: exc.SQLAlchemyError, what: str) -> DestinationError:
    """What a database's error comes to: ``Refused`` where it refuses ``what`` (as in "this table"), else the end of the pull."""
    cause = getattr(error, "orig", None) or error
    if _ends_pull(error, cause):
        return whole_database(error)
    return Refused(
        f"The database refuses {what} ({_code(cause)}). {_advice(cause)} {UNCHANGED}".replace(
            "  ", " "
        )
    )


def whole_database(error: exc.SQLAlchemyError) -> DestinationError:
    """The end of the pull, in words."""
    cause = getattr(error, "orig", None) or error
    return DestinationError(
        f"The database does not take the copy ({_code(cause)}). What was copied before is whole; see that it answers,"
        " has room and allows writing, and run the pull again."
    )


def of_files(error: OSError, folder: object, what: str) -> DestinationError:
    """What an error of the file system comes to, as ``of_database``."""
    if error.errno in ENDING_ERRNO:
        return whole_folder(error, folder)
    return Refused(
        f"The folder {folder} does not take {what}: {_strerror(error)}. {UNCHANGED} See what stands in its place there, and that"
        " it can be written, and run the pull again."
    )


def whole_folder(error: OSError, folder: object) -> DestinationError:
    """The end of the pull, in words."""
    return DestinationError(
        f"The folder {folder} does not take the copy: {_strerror(error)}. What was copied before is whole; make room or allow"
        " writing, and run the pull again."
    )


def _ends_pull(error: exc.SQLAlchemyError, cause: Any) -> bool:
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if state := getattr(cause, "sqlstate", None):
        return state[:2] in ENDING_CLASSES
    if (code := getattr(cause, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in ENDING_SQLITE
    # Without a code no server has answered: psycopg raises these where there is no connection, or none any more.
    return isinstance(
        error, exc.OperationalError | exc.InterfaceError | exc.DisconnectionError | exc.TimeoutError
    )


def _code(cause: BaseException) -> str:
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    diag = getattr(cause, "diag", None)
    named = getattr(diag, "constraint_name", None) or getattr(diag, "column_name", None)
    return ", ".join(
        each for each in (type(cause).__name__, code, f"“{named}”" if named else "") if each
    )


def _advice(cause: Any) -> str:
    if state := getattr(cause, "sqlstate", None):
        return next(
            (_POSTGRESQL[state[:length]] for length in (5, 2) if state[:length] in _POSTGRESQL), ""
        )
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return ""
    # What SQLite says of these names tables and columns; a trigger's text is somebody's own, and may hold anything.
    says_names = (
        code & 0xFF in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}
        and code != sqlite3.SQLITE_CONSTRAINT_TRIGGER
    )
    text = f"SQLite says: {without_values(str(cause))}." if says_names else ""
    return f"{_SQLITE.get(code & 0xFF, '')} {text}".strip()


def _strerror(error: OSError) -> str:
    return error.strerror or type(error).__name__
