"""Makes files of whole tables: reads on from where the file ends, however often that was interrupted.

The file grows under another name and has its own only when it is whole. After each second the store notes the last page that is
in it and its length; whoever goes on cuts off what came after that. A worker that finds no such file (another machine had it, or
it was deleted) begins anew, and the export says so.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import IO, Any, Final

from dashboard import peliqan
from dashboard.context import Clock
from dashboard.core.private_files import make_private
from dashboard.exports import parquet
from dashboard.exports import service as exports
from dashboard.exports.formats import make_file
from dashboard.exports.models import Export
from dashboard.masking.rules import mask
from dashboard.tables.reader import TableChanged, TableReading

NOTED_EVERY: Final = 1.0
# What passes by itself, after the client's own tries: gone on with later, so often in a row without a new page.
PASSING: Final = (*peliqan.OUTAGE, peliqan.RateLimited)
MOST_TRIES, TRY_AGAIN = 5, timedelta(seconds=30)
ANEW: Final = "It was interrupted, and began anew."
# The names of folders in which the web makes Parquet files begin with this; one that is a day old is of a killed process.
TEMPORARY: Final = "export-"
KEPT_SECONDS: Final = 24 * 3600


def folder_of(data: Path) -> Path:
    """Where the files are."""
    return data / "exports"


def work_on(api: peliqan.Peliqan, export: Export, clock: Clock, data: Path, stop: Event) -> None:
    """Go on with an export to its end, or until ``stop`` is set. The caller holds its lease."""
    folder = folder_of(data)
    part = folder / f"{export.name}.part"
    make_private(folder, part)
    with part.open("ab") as file:
        try:
            # A lease can end while a worker is merely slow; two must never write to one file.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            work = _Work(api, export, clock, file, stop)
            with _file_of(export, part) as finished:
                remarks = work.read_on()
                if remarks is not None:
                    made = finished()
                    make_private(folder, made)
                    target = made.replace(folder / export.name)
                    if not exports.finish(export, target.stat().st_size, remarks, clock()):
                        target.unlink(missing_ok=True)
        except PASSING as error:
            # Where it was not even asked, that is no try.
            tries = export.tries + (not isinstance(error, peliqan.ApiUnavailable))
            if tries >= MOST_TRIES:
                exports.fail(export, error.sentence, clock())
            else:
                exports.reschedule(export, clock() + TRY_AGAIN, tries=tries, error=error.sentence)
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
    """Delete the files of exports that expired, failed, were cancelled or are not known; how many."""
    folder = folder_of(data)
    there = {path: path.name.split(".")[0] for path in folder.iterdir()} if folder.is_dir() else {}
    states = (
        exports.states([int(name) for name in there.values() if name.isdigit()]) if there else {}
    )
    gone = [
        path
        for path, name in there.items()
        if name.isdigit() and states.get(int(name)) not in (*exports.OPEN, exports.DONE)
    ]
    for path in gone:
        path.unlink(missing_ok=True)
    remove_abandoned(data)
    return len(gone)


def remove_abandoned(data: Path) -> None:
    """Delete the temporary folders of Parquet files that a killed web process left on this machine, a day after."""
    for folder in data.glob(f"{TEMPORARY}*"):
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(folder)


class _Work:
    """One turn at an export."""

    def __init__(
        self, api: peliqan.Peliqan, export: Export, clock: Clock, file: IO[bytes], stop: Event
    ) -> None:
        self._export, self._clock, self._out, self._stop = export, clock, file, stop
        self._anew = False
        if file.tell() < export.offset or not export.page:
            self._anew = export.page > 0
            exports.save_progress(
                export,
                clock(),
                page=0,
                offset=0,
                rows=0,
                total=None,
                counted={"anew": 1} if self._anew else {},
            )
        file.truncate(export.offset)
        file.seek(export.offset)
        self._begun_at, self._rows_before = time.monotonic(), export.rows
        columns = [
            peliqan.Column(name=name, type=type, decimals=places)
            for name, type, places in export.columns
        ]
        self._hidden = frozenset(export.hidden)
        self._lines = make_file(export.suffix, columns, export.hidden)
        self._reading = TableReading(
            api.for_account(export.account_id),
            export.table_id,
            export.asked,
            first_page=export.page + 1,
        )
        # As if it had never been interrupted.
        told, counted = self._reading.told, export.counted
        told.count = told.last_count = export.total
        told.read, told.repeated = export.rows, counted.get("repeated", 0)
        self._lines.replaced, self._lines.not_numbers = (
            counted.get("replaced", 0),
            counted.get("not_numbers", 0),
        )

    def read_on(self) -> Sequence[str] | None:
        """Read to the end: remarks on what is in the file. None when it was cancelled or is to be gone on with later."""
        if not self._export.page:
            self._out.write(self._lines.head())
        noted = time.monotonic()
        pages = self._reading.pages()
        try:
            for rows in pages:
                self._out.write(
                    self._lines.lines(
                        [mask(row, self._hidden) for row in rows] if self._hidden else rows
                    )
                )
                if self._stop.is_set():
                    if self._note():
                        exports.reschedule(self._export, self._clock(), tries=0)
                    return None
                if time.monotonic() - noted >= NOTED_EVERY:
                    if not self._note():
                        return None
                    noted = time.monotonic()
        except peliqan.PeliqanError:
            self._note()
            raise
        finally:
            pages.close()
        if not self._note():
            return None
        anew = [ANEW] if self._export.counted.get("anew") else []
        return [*anew, *self._reading.told.remarks, *self._lines.remarks]

    def _note(self) -> bool:
        """Have what was written on the disk first, then in the store."""
        self._out.flush()
        os.fsync(self._out.fileno())
        told, seconds = self._reading.told, time.monotonic() - self._begun_at
        reached: dict[str, Any] = {
            "offset": self._out.tell(),
            "rows": told.read,
            "total": told.count,
        }
        reached["counted"] = self._export.counted | {
            "repeated": told.repeated,
            "replaced": self._lines.replaced,
            "not_numbers": self._lines.not_numbers,
        }
        if self._reading.page > self._export.page:
            reached["tries"], reached["error"] = 0, ""
        rate = (told.read - self._rows_before) / seconds if seconds > 0 else None
        return exports.save_progress(
            self._export, self._clock(), page=self._reading.page, rate=rate, **reached
        )


@contextmanager
def _file_of(export: Export, part: Path) -> Iterator[Callable[[], Path]]:
    """What gives the file once its last line is written: that is the lines themselves, or what is made of them meanwhile."""
    if export.suffix != "parquet":
        yield lambda: part
        return
    with parquet.ParquetWriter(part, part.with_suffix(".made")) as making:
        yield making.finish
