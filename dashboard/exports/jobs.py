"""Writes the files of exports, and resumes after any interruption.

The file grows under a temporary name and is renamed when it is complete. Once a second, the last
page in the file and the file's length are stored; a resumed export truncates the file to that
length. If the file is not there (it is on another machine, or was deleted), the export restarts
from the first page, and a remark says so.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import IO, Any, Final

from dashboard import peliqan
from dashboard.context import Clock
from dashboard.core.private_files import make_private
from dashboard.exports import parquet
from dashboard.exports import service as exports
from dashboard.exports.formats import make_file
from dashboard.exports.limits import MOST_TRIES, RETRY_WAIT
from dashboard.exports.models import Export
from dashboard.masking.rule_file import mask
from dashboard.tables.reader import TableChanged, TableReading

SAVE_EVERY: Final = 1.0
# Errors that pass, even after the client's own retries. The export is resumed later, at most
# ``MOST_TRIES`` times in a row without a new page.
TEMPORARY_ERRORS: Final = (*peliqan.OUTAGE, peliqan.RateLimited)
RESTARTED: Final = "It was interrupted, and began anew."
# Prefix of the folders in which a web process makes Parquet files. A process that was killed leaves
# its folder; such a folder is deleted after a day.
FOLDER_PREFIX: Final = "export-"
ABANDONED_AFTER_SECONDS: Final = 24 * 3600


def folder_of(data: Path) -> Path:
    """Return the folder of the exported files."""
    return data / "exports"


def continue_export(
    api: peliqan.Peliqan, export: Export, clock: Clock, data: Path, stop: Event
) -> None:
    """Write an export's file to its end, or until ``stop`` is set. Commits.

    The caller holds the export's lease.
    """
    folder = folder_of(data)
    part = folder / f"{export.name}.part"
    make_private(folder, part)
    with part.open("ab") as file:
        try:
            # A lock, because a lease can expire while its worker is only slow, and two workers
            # must never write to one file.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            run = _ExportRun(api, export, clock, file, stop)
            with _file_of(export, part) as finish:
                remarks = run.read_to_end()
                if remarks is not None:
                    made = finish()
                    make_private(folder, made)
                    target = made.replace(folder / export.name)
                    if not exports.finish(export, target.stat().st_size, remarks, clock()):
                        target.unlink(missing_ok=True)
        except TEMPORARY_ERRORS as error:
            # Without a request to the API there was no try.
            tries = export.tries + (not isinstance(error, peliqan.ApiUnavailable))
            if tries >= MOST_TRIES:
                exports.fail(export, error.sentence, clock())
            else:
                exports.reschedule(export, clock() + RETRY_WAIT, tries=tries, error=error.sentence)
        except peliqan.PeliqanError as error:
            exports.fail(export, error.sentence, clock())
        except (TableChanged, parquet.ParquetFailed) as error:
            exports.fail(export, str(error), clock())
        except OSError as error:
            exports.fail(
                export, f"The file could not be written: {os.strerror(error.errno or 0)}.", clock()
            )
    if export.state not in exports.OPEN:
        part.unlink(missing_ok=True)


def sweep(data: Path) -> int:
    """Delete the files of exports that have no file any more; return how many.

    These are exports that expired, failed, were cancelled or are unknown.
    """
    folder = folder_of(data)
    file_ids = (
        {path: path.name.split(".")[0] for path in folder.iterdir()} if folder.is_dir() else {}
    )
    states = (
        exports.states([int(name) for name in file_ids.values() if name.isdigit()])
        if file_ids
        else {}
    )
    stale = [
        path
        for path, name in file_ids.items()
        if name.isdigit() and states.get(int(name)) not in (*exports.OPEN, exports.DONE)
    ]
    for path in stale:
        path.unlink(missing_ok=True)
    remove_abandoned(data)
    return len(stale)


def remove_abandoned(data: Path) -> None:
    """Delete temporary folders that killed web processes left on this machine a day ago."""
    for folder in data.glob(f"{FOLDER_PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                shutil.rmtree(folder)


class _ExportRun:
    """One worker's run of an export."""

    def __init__(
        self, api: peliqan.Peliqan, export: Export, clock: Clock, file: IO[bytes], stop: Event
    ) -> None:
        self._export, self._clock, self._out, self._stop = export, clock, file, stop
        if file.tell() < export.offset or not export.page:
            exports.save_progress(
                export,
                clock(),
                page=0,
                offset=0,
                rows=0,
                total=None,
                counted={"anew": 1} if export.page > 0 else {},
            )
        file.truncate(export.offset)
        file.seek(export.offset)
        self._started_at, self._rows_before = time.monotonic(), export.rows
        columns = [
            peliqan.Column(name=name, type=type, decimals=decimals)
            for name, type, decimals in export.columns
        ]
        self._hidden = frozenset(export.hidden)
        self._lines = make_file(export.suffix, columns, export.hidden)
        self._reading = TableReading(
            api.for_account(export.account_id),
            export.table_id,
            export.asked,
            first_page=export.page + 1,
        )
        # Restored, so that the remarks cover the runs before this one.
        progress, counted = self._reading.progress, export.counted
        progress.count = progress.last_count = export.total
        progress.read, progress.repeated = export.rows, counted.get("repeated", 0)
        self._lines.replaced = counted.get("replaced", 0)
        self._lines.not_numbers = counted.get("not_numbers", 0)

    def read_to_end(self) -> Sequence[str] | None:
        """Write all rows, and return the remarks on the file.

        None if the export was cancelled, or is released to be resumed later.
        """
        if not self._export.page:
            self._out.write(self._lines.head())
        saved_at = time.monotonic()
        pages = self._reading.pages()
        try:
            for rows in pages:
                self._out.write(
                    self._lines.lines(
                        [mask(row, self._hidden) for row in rows] if self._hidden else rows
                    )
                )
                if self._stop.is_set():
                    if self._save_progress():
                        exports.reschedule(self._export, self._clock(), tries=0)
                    return None
                if time.monotonic() - saved_at >= SAVE_EVERY:
                    if not self._save_progress():
                        return None
                    saved_at = time.monotonic()
        except peliqan.PeliqanError:
            self._save_progress()
            raise
        finally:
            pages.close()
        if not self._save_progress():
            return None
        restarted = [RESTARTED] if self._export.counted.get("anew") else []
        return [*restarted, *self._reading.progress.remarks, *self._lines.remarks]

    def _save_progress(self) -> bool:
        """Write the file to the disk, then store its progress; return False if cancelled."""
        self._out.flush()
        os.fsync(self._out.fileno())
        read, seconds = self._reading.progress, time.monotonic() - self._started_at
        progress: dict[str, Any] = {
            "offset": self._out.tell(),
            "rows": read.read,
            "total": read.count,
        }
        progress["counted"] = self._export.counted | {
            "repeated": read.repeated,
            "replaced": self._lines.replaced,
            "not_numbers": self._lines.not_numbers,
        }
        if self._reading.page > self._export.page:
            progress["tries"], progress["error"] = 0, ""
        rate = (read.read - self._rows_before) / seconds if seconds > 0 else None
        return exports.save_progress(
            self._export, self._clock(), page=self._reading.page, rate=rate, **progress
        )


@contextmanager
def _file_of(export: Export, part: Path) -> Iterator[Callable[[], Path]]:
    """Yield a function that returns the complete file once all lines are written.

    For Parquet, a process converts the lines while they are written.
    """
    if export.suffix != "parquet":
        yield lambda: part
        return
    with parquet.ParquetWriter(part, part.with_suffix(".made")) as writer:
        yield writer.finish
