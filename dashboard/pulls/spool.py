"""Rows that were read, kept on this machine's disk until all are there: each id once, the last one counts.

So a destination is written only when a reading is complete, no memory is needed for a large table, and the kinds of the columns
are known before the first row is written. The file has no name (SQLite takes it away as it makes it, in TMPDIR): a process that
is killed leaves no rows behind.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

from dashboard.pulls.column_types import (
    LARGEST,
    ROW_ID,
    SMALLEST,
    TEXT,
    FitsNumber,
    convert,
    fitting,
)
from dashboard.pulls.manifest import CopiedColumn

# A batch ends after so many rows, or with the row that makes it so long, in characters.
BATCH, BATCH_LENGTH = 2_000, 32_000_000
Values = tuple[Any, ...]


class Spool:
    """A table's rows under way. ``columns`` become wider as values come that do not fit.

    Opening, adding and reading raise sqlite3.Error where the disk is full.
    """

    def __init__(self, columns: Sequence[CopiedColumn], fits: FitsNumber) -> None:
        self._fits = fits
        self.columns = list(columns)
        self.keyed = True
        self._file = sqlite3.connect("")
        self._file.execute("PRAGMA journal_mode=OFF")
        self._file.execute("PRAGMA synchronous=OFF")
        self._file.execute(
            "CREATE TABLE rows (place INTEGER PRIMARY KEY, id INTEGER UNIQUE, body TEXT)"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: Iterable[Any]) -> None:
        """More rows; one whose id came before takes its place."""
        kept = []
        for row in rows:
            row_id = row.get(ROW_ID)
            if (
                isinstance(row_id, bool)
                or not isinstance(row_id, int)
                or not SMALLEST <= row_id <= LARGEST
            ):
                self.keyed, row_id = False, None
            kept.append((row_id, json.dumps([row.get(each.name) for each in self.columns])))
            for place, column in enumerate(self.columns):
                if column.kind != TEXT:
                    kind = fitting(row.get(column.name), column.kind, self._fits)
                    if kind != column.kind:
                        self.columns[place] = replace(column, kind=kind)
        self._file.executemany("INSERT OR REPLACE INTO rows (id, body) VALUES (?, ?)", kept)

    @property
    def count(self) -> int:
        """How many rows there are."""
        found: int = self._file.execute("SELECT count(*) FROM rows").fetchone()[0]
        return found

    def ids(self) -> set[int]:
        """The ids of all rows that have one."""
        return {
            row_id for (row_id,) in self._file.execute("SELECT id FROM rows WHERE id IS NOT NULL")
        }

    def batches(self) -> Iterator[list[Values]]:
        """All rows in the order of their ids, some thousand at a time: the id, then a value for each of ``columns``."""
        kinds = [column.kind for column in self.columns]
        batch: list[Values] = []
        length = 0
        for row_id, body in self._file.execute("SELECT id, body FROM rows ORDER BY id, place"):
            values = zip(json.loads(body), kinds, strict=True)
            batch.append((row_id, *(convert(value, kind, self._fits) for value, kind in values)))
            length += len(body)
            if len(batch) == BATCH or length >= BATCH_LENGTH:
                yield batch
                batch, length = [], 0
        if batch:
            yield batch
