"""Temporary file of a table's rows until all are read; of equal ids, the last row counts.

So a destination is written only after a complete read, memory stays small, and the columns' types
are known before the first row is written. SQLite deletes the file (in TMPDIR) when it creates it:
a killed process leaves no rows behind.
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

# A batch ends after this many rows, or with the row that exceeds this many characters.
BATCH, BATCH_LENGTH = 2_000, 32_000_000
Values = tuple[Any, ...]


class Spool:
    """Rows of a table that is being read. ``columns`` become wider when values do not fit.

    Opening, adding and reading raise sqlite3.Error if the disk is full.
    """

    def __init__(self, columns: Sequence[CopiedColumn], fits: FitsNumber) -> None:
        self._fits = fits
        self.columns = list(columns)
        self.keyed = True
        self._file = sqlite3.connect("")
        self._file.execute("PRAGMA journal_mode=OFF")
        self._file.execute("PRAGMA synchronous=OFF")
        self._file.execute(
            "CREATE TABLE rows (position INTEGER PRIMARY KEY, id INTEGER UNIQUE, body TEXT)"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: Iterable[Any]) -> None:
        """Add rows; a row replaces an earlier one with the same id."""
        added = []
        for row in rows:
            row_id = row.get(ROW_ID)
            if (
                isinstance(row_id, bool)
                or not isinstance(row_id, int)
                or not SMALLEST <= row_id <= LARGEST
            ):
                self.keyed, row_id = False, None
            added.append((row_id, json.dumps([row.get(each.name) for each in self.columns])))
            for index, column in enumerate(self.columns):
                if column.kind != TEXT:
                    kind = fitting(row.get(column.name), column.kind, self._fits)
                    if kind != column.kind:
                        self.columns[index] = replace(column, kind=kind)
        self._file.executemany("INSERT OR REPLACE INTO rows (id, body) VALUES (?, ?)", added)

    @property
    def count(self) -> int:
        """Return the number of rows."""
        found: int = self._file.execute("SELECT count(*) FROM rows").fetchone()[0]
        return found

    def ids(self) -> set[int]:
        """Return the ids of all rows that have one."""
        return {
            row_id for (row_id,) in self._file.execute("SELECT id FROM rows WHERE id IS NOT NULL")
        }

    def batches(self) -> Iterator[list[Values]]:
        """Yield all rows in batches, by id: the id, then a value for each of ``columns``."""
        kinds = [column.kind for column in self.columns]
        batch: list[Values] = []
        length = 0
        for row_id, body in self._file.execute("SELECT id, body FROM rows ORDER BY id, position"):
            values = zip(json.loads(body), kinds, strict=True)
            batch.append((row_id, *(convert(value, kind, self._fits) for value, kind in values)))
            length += len(body)
            if len(batch) == BATCH or length >= BATCH_LENGTH:
                yield batch
                batch, length = [], 0
        if batch:
            yield batch
