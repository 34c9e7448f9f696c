"""Copies as Parquet files: one a table, replaced by a rename.

    customers/<id>/customer.json                           the customer and its connections
    customers/<id>/connections/<id>/<table>.<id>.parquet   a table whose connection is known
    customers/<id>/tables/<table>.<id>.parquet             one whose connection is not known
    manifest.json                                          the last pull

The manifest of a copy (watermark, columns, remarks) is in the file's own metadata, under ``copy``:
the rename commits both. ``manifest.json`` is for readers only. Files with the ending ``.under-way``
are remains of a killed pull, and are deleted.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dashboard import peliqan
from dashboard.pulls import refusals
from dashboard.pulls.column_types import (
    BOOLEAN,
    DATE,
    INTEGER,
    NUMBER,
    ROW_ID,
    TEXT,
    TIME,
    decimal_places,
)
from dashboard.pulls.destinations.base import Destination, DestinationError, Refused
from dashboard.pulls.manifest import Copied, NameRules, PullResult
from dashboard.pulls.spool import Spool

DIGITS, PLACES = 38, 10
# Bytes of a table's name in a file name; with the id and the endings, 255 are allowed.
MOST_BYTES: Final = 180
_NOT_IN_NAMES: Final = re.compile(r"[^\w-]+")
COPY: Final = b"copy"
UNDER_WAY: Final = ".under-way"
TYPES: Final[Mapping[str, Callable[[], pa.DataType]]] = {
    INTEGER: pa.int64,
    NUMBER: lambda: pa.decimal128(DIGITS, PLACES),
    BOOLEAN: pa.bool_,
    DATE: pa.date32,
    TIME: lambda: pa.timestamp("us", "UTC"),
    TEXT: pa.string,
}


class ParquetFolder(Destination):
    """Folder of Parquet files."""

    # Parquet distinguishes case in names, but most readers do not.
    rules = NameRules(fold=True, most_bytes=None)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Create and lock the folder; delete remains of a killed pull."""
        with _refusing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / ".lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DestinationError(
                    f"Another pull is writing to {self._folder}. Wait until it has ended."
                ) from None
            for left in self._folder.rglob(f"*{UNDER_WAY}"):
                # If a table's remains cannot be deleted, only writing that table fails later.
                with (
                    suppress(OSError)
                    if left.is_relative_to(self._folder / "customers")
                    else nullcontext()
                ):
                    left.unlink()

    def close(self) -> None:
        """Release the lock; each copy was committed before."""
        if self._lock is not None:
            self._lock.close()

    def fits(self, number: Decimal) -> bool:
        """Return whether 28 digits before the point and 10 after it are enough."""
        return (
            not number.is_nan()
            and number.adjusted() < DIGITS - PLACES
            and decimal_places(number) <= PLACES
        )

    def known(self, account_id: int) -> Mapping[int, Copied]:
        """Return the copies by their files' metadata; an unreadable file is replaced later."""
        found = {}
        for path in (self._folder / "customers" / str(account_id)).rglob("*.parquet"):
            try:
                schema = pq.read_schema(path)
                stored = (schema.metadata or {}).get(COPY)
                copied = Copied.from_json(json.loads(stored)) if stored else None
            except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
                continue
            if copied is not None and schema.equals(_schema(copied)):
                found[copied.table_id] = replace(copied, target=str(path.relative_to(self._folder)))
        return found

    def target(self, account_id: int, connection_id: int | None, table: peliqan.Table) -> str:
        """Return a path below the table's connection, if known, else below the customer."""
        words = (
            _NOT_IN_NAMES.sub("_", table.name)[:60]
            .encode()[:MOST_BYTES]
            .decode(errors="ignore")
            .strip("_")
            or "table"
        )
        # The id in the file name keeps tables with equal names apart.
        below = "tables" if connection_id is None else f"connections/{connection_id}"
        return f"customers/{account_id}/{below}/{words}.{table.id}.parquet"

    def replace(self, copied: Copied, rows: Spool) -> Copied:
        """Write a new file next to the old one, then rename it."""
        return self._write(
            replace(copied, rows=rows.count), (_batch(part, copied) for part in rows.batches())
        )

    def merge(self, copied: Copied, rows: Spool, before: Copied) -> Copied | None:
        """Write the old file's unchanged rows and the new rows."""
        changed = pa.array(sorted(rows.ids()), pa.int64())
        schema = _schema(copied)

        def batches() -> Iterator[pa.RecordBatch]:
            for part in self._old(before):
                unchanged = part.filter(pc.invert(pc.is_in(part.column(ROW_ID), value_set=changed)))
                yield _aligned(unchanged, schema)
            for fresh in rows.batches():
                yield _batch(fresh, copied)

        try:
            ids = (part.column(0) for part in self._old(before, [ROW_ID]))
            counted = sum(
                len(part) - pc.sum(pc.is_in(part, value_set=changed), min_count=0).as_py()
                for part in ids
            )
            return self._write(replace(copied, rows=counted + rows.count), batches())
        except _Damaged:
            return None

    def _old(self, before: Copied, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(self._folder / before.target) as old:
                yield from old.iter_batches(columns=columns)
        except (OSError, pa.ArrowException):
            raise _Damaged from None

    def _write(self, copied: Copied, batches: Iterator[pa.RecordBatch]) -> Copied:
        path = self._folder / copied.target
        temporary = path.with_name(path.name + UNDER_WAY)
        with _refusing(self._folder, "this table"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                schema = _schema(copied).with_metadata({COPY: json.dumps(copied.as_json())})
                with temporary.open("wb") as file:
                    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                        for batch in batches:
                            writer.write_batch(batch.cast(schema))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
                _sync(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        return copied

    def describe(self, account: peliqan.Account, connections: Sequence[peliqan.Connection]) -> None:
        """Write ``customer.json``."""
        shown = [
            {"id": each.id, "name": each.name, "connector": each.connector, "status": each.status}
            for each in connections
        ]
        customer = {
            "id": account.id,
            "name": account.name,
            "external_id": account.external_id,
            "connections": shown,
        }
        with _refusing(self._folder, "what is kept of this customer"):
            _write_json(self._folder / "customers" / str(account.id) / "customer.json", customer)

    def report(self, result: PullResult) -> None:
        """Write ``manifest.json``: all stored tables, and the failures of this pull."""
        tables = [each for found in self._accounts() for each in self.known(found).values()]
        listed = [
            each.as_json()
            for each in sorted(tables, key=lambda each: (each.account_id, each.table_id))
        ]
        failures = [asdict(each) for each in result.failures]
        with _refusing(self._folder):
            _write_json(
                self._folder / "manifest.json",
                {**result.as_json(), "tables": listed, "failures": failures},
            )

    def _accounts(self) -> list[int]:
        return sorted(
            int(path.name)
            for path in (self._folder / "customers").glob("*")
            if path.name.isdecimal()
        )


class _Damaged(Exception):
    """The file of an earlier copy cannot be read completely."""


def _write_json(path: Path, fields: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + UNDER_WAY)
    temporary.write_text(
        json.dumps(fields, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", errors="replace"
    )
    temporary.replace(path)


def _schema(copied: Copied) -> pa.Schema:
    fields = [pa.field(each.stored, TYPES[each.kind]()) for each in copied.columns]
    return pa.schema([pa.field(ROW_ID, pa.int64()), *fields])


def _batch(rows: Sequence[tuple[Any, ...]], copied: Copied) -> pa.RecordBatch:
    schema = _schema(copied)
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array(list(values), each.type) for values, each in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _aligned(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of the old file with the new file's columns; added columns are empty."""
    names = set(batch.schema.names)
    arrays = [
        batch.column(each.name) if each.name in names else pa.nulls(len(batch), each.type)
        for each in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _sync(folder: Path) -> None:
    """Flush a folder to disk, since a rename survives a power cut only after that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _refusing(folder: Path, what: str = "") -> Iterator[None]:
    """Raise errors as refusals of ``what``; without it, as the end of the pull."""
    try:
        yield
    except OSError as error:
        raise (
            refusals.of_files(error, folder, what)
            if what
            else refusals.folder_unusable(error, folder)
        ) from error
    except pa.ArrowException as error:
        # Its message may quote values.
        raise Refused(
            f"A Parquet file cannot hold {what or 'the copy'} ({type(error).__name__})."
            f" {refusals.UNCHANGED}"
        ) from None
