"""Makes the file of a complete table within the request for it, before the response starts.

The file is sent with its length (``Content-Length``), so a client notices an interrupted response.
An error while the table is read results in an error status and no file. Rows are not streamed while
they are read: a stream without a length ends, for an HTTP/1.0 client (RFC 9112, section 8) and for
every client of an nginx with its default ``proxy_http_version``, when the connection is closed. An
interrupted stream would seem complete.

The price is that the first byte is sent after the last row is read: a proxy's read timeout has to
be longer than that. Memory holds one page. The disk holds at most ``LARGEST`` bytes a file, in a
file without a name (for Parquet: in a temporary folder).
"""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flask import request

from dashboard import peliqan
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.database import db
from dashboard.exports import parquet
from dashboard.exports import service as exports
from dashboard.exports.jobs import FOLDER_PREFIX, remove_abandoned
from dashboard.exports.limits import LARGEST
from dashboard.masking.rule_file import mask
from dashboard.tables.reader import TableChanged

if TYPE_CHECKING:
    from dashboard.exports.views import ExportRequest


class ClientLeft(Exception):
    """The client closed its connection before its file was complete."""


class TooLarge(parquet.ParquetFailed):
    """The file would be larger than ``LARGEST``. The message is a sentence."""


def make_complete_file(wanted: "ExportRequest", entry_id: int) -> IO[bytes]:
    """Return a table's file, open at its start and without a name. Commits.

    The result is added to the audit entry.

    Raises:
        PeliqanError, TableChanged: the table could not be read to its end.
        ParquetFailed, TooLarge: the file could not be written, or is too large.
        ClientLeft: the client closed its connection.
    """
    file = _TableFile(wanted)
    # Other requests need the database connection during the read, which can take minutes.
    # The reading may take minutes; meanwhile other requests need the database's connection.
    db.session.rollback()
    result, why = audit.FAILED, "It was interrupted."
    try:
        made = file.as_parquet() if wanted.suffix == "parquet" else file.as_text()
        result, why = audit.DONE, ""
        return made
    except Exception as error:
        why = _why(error)
        raise
    finally:
        summary = file.summary(why)
        exports.complete_audit_entry(entry_id, result, summary, services().clock())


class _TableFile:
    """A file while it is made."""

    def __init__(self, wanted: "ExportRequest") -> None:
        self._hidden, self._reading, self._file = wanted.hidden, wanted.reading(), wanted.file()

    def as_text(self) -> IO[bytes]:
        """Make a CSV or JSON Lines file."""
        data = services().settings.dashboard_data
        with _disk_errors():
            made = tempfile.TemporaryFile(dir=data)  # noqa: SIM115 - the response closes it
        try:
            self._write(made)
            made.seek(0)
        except BaseException:
            made.close()
            raise
        return made

    def as_parquet(self) -> IO[bytes]:
        """Make a Parquet file, by a process that converts the rows.

        The types of its columns are known only after the last row.
        """
        data = services().settings.dashboard_data
        remove_abandoned(data)
        with _disk_errors():
            temporary = tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=data)
        with temporary as folder:
            lines, target = Path(folder) / "lines", Path(folder) / "table.parquet"
            with lines.open("wb") as out, parquet.ParquetWriter(lines, target) as writer:
                self._write(out)
                writer.finish()
            return target.open("rb")

    def summary(self, why: str) -> str:
        """Return the sentences for the audit entry. ``why``: the reason for a failure, or empty."""
        read = self._reading.progress
        sentences = (f"{read.read:,} rows.", why, *read.remarks, *self._file.remarks)
        return " ".join(each for each in sentences if each)

    def _write(self, out: IO[bytes]) -> None:
        self._append(out, self._file.head())
        with closing(self._reading.pages()) as pages:
            for rows in pages:
                if client_left():
                    raise ClientLeft
                self._append(
                    out,
                    self._file.lines(
                        [mask(row, self._hidden) for row in rows] if self._hidden else rows
                    ),
                )
        with _disk_errors():
            out.flush()

    def _append(self, out: IO[bytes], content: bytes) -> None:
        if out.tell() + len(content) > LARGEST:
            raise TooLarge(
                f"The file would be larger than {LARGEST // 1_000_000:,} MB, so it was not made."
                " Ask for fewer rows by a filter, ask for fewer columns, or have the file made by"
                " the button below the table's rows."
            )
        with _disk_errors():
            out.write(content)


def client_left() -> bool:
    """Return whether the client closed its connection, or its sending half.

    nginx, too, treats a closed sending half as an end.
    """
    connection = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if connection is None:
        return False
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
    except BlockingIOError:
        return False
    except OSError:
        return True


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise parquet.ParquetFailed(
            f"The file could not be written: {reason}. Try again later, or tell your administrator."
        ) from None


def _why(error: Exception) -> str:
    """Return the reason for a failure, without any value of the rows."""
    if isinstance(error, peliqan.PeliqanError):
        return error.sentence
    if isinstance(error, ClientLeft):
        return "The client closed the connection before the file was made."
    return (
        str(error)
        if isinstance(error, (TableChanged, parquet.ParquetFailed))
        else f"{type(error).__name__}."
    )
