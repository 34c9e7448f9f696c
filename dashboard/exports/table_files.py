"""Make the file of a whole table within the request that asks for it, before the first byte of the answer is sent.

The file is made first and sent with its length (``Content-Length``), so whatever cuts the answer, every client sees that bytes
are missing; what goes wrong while the table is read is an error status and no file. Sending rows while they are read is not
done: a stream without a length ends for an HTTP/1.0 client (RFC 9112, section 8), and for every client of an nginx with its
default ``proxy_http_version``, with the closing of the connection, so a cut stream looks whole.

The price is that the first byte comes after the last row: a proxy's read timeout must be longer than the reading. Memory is that
of one page; the disk holds at most ``LARGEST`` bytes a file, under no name (for Parquet: in a folder until it is whole).
"""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from flask import request

from dashboard import peliqan
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.database import db
from dashboard.exports import parquet
from dashboard.exports import service as exports
from dashboard.exports.jobs import TEMPORARY, remove_abandoned
from dashboard.masking.rules import mask
from dashboard.tables.reader import TableChanged

if TYPE_CHECKING:
    from dashboard.exports.views import ExportRequest

# Bytes. The disk may be shared with an SQLite store; larger files are made by an export job, one at a time.
LARGEST: Final = 1_000_000_000


class ClientLeft(Exception):
    """The client closed its connection before its file was whole."""


class TooLarge(parquet.ParquetFailed):
    """The file would be larger than ``LARGEST``. The message is a sentence."""


def make_whole_file(asked: "ExportRequest", entry_id: int) -> IO[bytes]:
    """Read the table to its end into an open file without a name, at its start. Settles the audit entry; commits.

    Raises:
        PeliqanError, TableChanged: the table could not be read to its end.
        NotMade, TooLarge: the file could not be written, or is too large.
        ClientLeft: nobody waits for it any more.
    """
    making = _Making(asked)
    # The reading may take minutes; meanwhile other requests need the database's connection.
    db.session.rollback()
    result, why = audit.FAILED, "It was interrupted."
    try:
        made = making.as_parquet() if asked.suffix == "parquet" else making.as_text()
        result, why = audit.DONE, ""
        return made
    except Exception as error:
        why = _why(error)
        raise
    finally:
        exports.settle_entry(entry_id, result, making.remarks(why), services().clock())


class _Making:
    """One file while it is made."""

    def __init__(self, asked: "ExportRequest") -> None:
        self._hidden, self._reading, self._file = asked.hidden, asked.reading(), asked.file()

    def as_text(self) -> IO[bytes]:
        """CSV or JSON Lines."""
        with _disk_errors():
            made = tempfile.TemporaryFile(dir=services().settings.dashboard_data)  # noqa: SIM115  # the answer closes it
        try:
            self._write(made)
            made.seek(0)
        except BaseException:
            made.close()
            raise
        return made

    def as_parquet(self) -> IO[bytes]:
        """Parquet, whose types are known after the last row: made from lines by a process of its own."""
        data = services().settings.dashboard_data
        remove_abandoned(data)
        with _disk_errors():
            place = tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=data)
        with place as folder:
            lines, target = Path(folder) / "lines", Path(folder) / "table.parquet"
            with lines.open("wb") as out, parquet.ParquetWriter(lines, target) as making:
                self._write(out)
                making.finish()
            return target.open("rb")

    def remarks(self, why: str) -> str:
        """What the audit trail says of it."""
        told = self._reading.told
        return " ".join(
            part
            for part in (f"{told.read:,} rows.", why, *told.remarks, *self._file.remarks)
            if part
        )

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
                f"The file would be larger than {LARGEST // 1_000_000:,} MB, so it was not made. Ask for fewer rows by a filter,"
                " ask for fewer columns, or have the file made by the button below the table's rows."
            )
        with _disk_errors():
            out.write(content)


def client_left() -> bool:
    """Whether the client closed its connection, or the half of it that it sends on: nginx, too, takes that for an end."""
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
    """What ended it, without anything of the rows."""
    if isinstance(error, peliqan.PeliqanError):
        return error.sentence
    if isinstance(error, ClientLeft):
        return "The client closed the connection before the file was made."
    return (
        str(error)
        if isinstance(error, (TableChanged, parquet.ParquetFailed))
        else f"{type(error).__name__}."
    )
