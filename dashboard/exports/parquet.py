"""Converts lines of texts (``formats.ParquetLines``) to Parquet, in a separate process.

A separate process, because pyarrow takes about 60 MB of memory, and such files are rarely made. It
converts the lines while they are written, and is finished soon after the last one. A column gets
the type that it has in Baserow if all its values fit that type without loss, and is text otherwise.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from dashboard.exports.limits import LONGEST_PARQUET_RUN

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of lines that become one row group.
TEXT_AT_ONCE = 1_000_000
POLL_INTERVAL: Final = 0.2
# The message of the writing process that all lines are written.
COMPLETE: Final = b"whole"
# Returns whether all lines are written, after waiting at most so many seconds for it.
PagesComplete = Callable[[float], bool]


class ParquetFailed(Exception):
    """The file could not be made. The message is a sentence, without any value of the rows."""


class ParquetWriter:
    """A context manager that makes a Parquet file; without ``finish`` there is no file."""

    def __init__(self, lines: Path, target: Path) -> None:
        """Start the process. ``lines``: a file that grows; nothing in it may change."""
        self._target = target
        # Removed, because a process from before a crash may write to it for another moment.
        target.unlink(missing_ok=True)
        command = [sys.executable, "-m", "dashboard.exports.parquet", str(lines), str(target)]
        # Its output is discarded, since it could contain values of the rows. Arrow's default
        # allocator would keep 20 MB more.
        silent, environ = subprocess.DEVNULL, {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, env=environ
            )
        except OSError:
            raise ParquetFailed(
                "The Parquet file could not be made: no process can be started for it."
                " Try again later."
            ) from None
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self._process.kill()
            self._process.communicate()
            self._target.unlink(missing_ok=True)

    def finish(self) -> Path:
        """Return the file once it is complete; the caller has written all lines.

        Raises:
            ParquetFailed: the disk is full, or the last line is incomplete.
        """
        try:
            self._process.communicate(COMPLETE, timeout=LONGEST_PARQUET_RUN)
        except (OSError, subprocess.SubprocessError):
            self._process.kill()
        if self._process.wait() != 0:
            raise ParquetFailed(
                "The Parquet file could not be made: the disk may be full."
                " Try again, or take another format."
            )
        self._finished = True
        return self._target


def convert(lines: Path, target: Path, pages_complete: PagesComplete = lambda _: True) -> None:
    """Convert lines to a Parquet file in this process.

    Reads the lines once if all values fit their column's first type, and at most three times.
    """
    import pyarrow as pa

    found = _texts(lines, pages_complete)
    shape = json.loads(next(found))
    found.close()
    possible = [[*_types(pa, *column), pa.string()] for column in shape]
    names = _unique_names(shape)
    while not _write(_batches(_texts(lines, pages_complete), len(shape)), target, names, possible):
        pass


def _write(
    batches: "Iterator[list[pa.Array]]",
    target: Path,
    names: list[str],
    possible: "list[list[pa.DataType]]",
) -> bool:
    """Write each column in its first possible type, and return whether all values fitted.

    A type that did not fit is removed from ``possible``.
    """
    import pyarrow as pa
    import pyarrow.parquet

    schema = pa.schema(
        [pa.field(name, types[0]) for name, types in zip(names, possible, strict=True)]
    )
    misfits = set[int]()
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for texts in batches:
            # After a misfit the file is discarded: only the other columns' types are checked.
            arrays = {
                number: _as(texts[number], schema.types[number])
                for number in range(len(names))
                if number not in misfits
            }
            misfits |= {number for number, values in arrays.items() if values is None}
            if not misfits:
                writer.write_table(pa.Table.from_arrays(list(arrays.values()), schema=schema))
    for number in misfits:
        del possible[number][0]
    return not misfits


def _types(pa: Any, _name: str, kind: str, decimals: int | None) -> "list[pa.DataType]":
    """Return the types other than text that a column can become, the likeliest first."""
    if kind == "number":
        return [] if decimals is None else [pa.decimal128(38, decimals)]
    if kind in {"autonumber", "rating", "count"}:
        return [pa.int64()]
    if kind == "boolean":
        return [pa.bool_()]
    if kind == "duration":
        return [pa.float64()]
    return (
        [pa.timestamp("us", tz="UTC"), pa.date32()]
        if kind in {"date", "last_modified", "created_on"}
        else []
    )


def _as(texts: "pa.Array", wanted: "pa.DataType") -> "pa.Array | None":
    """Return the values in this type; None if one does not fit or would lose precision."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if wanted == pa.string():
        return texts
    if not pc.all(pc.match_substring_regex(texts, _pattern(pa.types, wanted)), min_count=0).as_py():
        return None
    try:
        found = texts.cast(wanted)
    except pa.ArrowInvalid:
        return None
    return None if pa.types.is_floating(wanted) and _differs(texts, found) else found


def _differs(texts: "pa.Array", found: "pa.Array") -> bool:
    """Return whether a text has more digits than its conversion to a double preserves."""
    pairs = zip(texts.to_pylist(), found.to_pylist(), strict=True)
    return any(text is not None and Decimal(text) != Decimal(repr(value)) for text, value in pairs)


def _pattern(types: Any, wanted: "pa.DataType") -> str:
    """Return the pattern of the texts that this type can represent without loss."""
    if types.is_boolean(wanted):
        return r"\A(true|false)\z"
    if types.is_integer(wanted):
        return r"\A-?[0-9]{1,18}\z"
    if types.is_decimal(wanted):
        part = rf"(\.[0-9]{{1,{wanted.scale}}})?" if wanted.scale else ""
        return rf"\A-?[0-9]{{1,{38 - wanted.scale}}}{part}\z"
    if types.is_floating(wanted):
        return r"\A-?[0-9]{1,30}(\.[0-9]{1,30})?(e[-+]?[0-9]{1,2})?\z"
    if types.is_date(wanted):
        return r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z"
    # With a zone, so that no reader assumes its own; at most microseconds.
    return r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{5,8}(\.[0-9]{1,6})?Z\z"


def _texts(lines: Path, pages_complete: PagesComplete) -> Generator[bytes, None, None]:
    """Yield the first line, then the other lines in pieces of about ``TEXT_AT_ONCE`` bytes.

    Waits for lines that are not written yet. A piece consists of complete lines.
    """
    with lines.open("rb") as file:
        first, rest = True, b""
        while True:
            # Checked before the read, so that the read includes all lines if they are complete.
            complete = pages_complete(0)
            read = file.read(TEXT_AT_ONCE)
            rest += read
            if first and b"\n" in rest:
                line, _, rest = rest.partition(b"\n")
                first = False
                yield line
            piece, newline, rest = rest.rpartition(b"\n")
            if newline:
                yield piece
            if read:
                continue
            if not complete:
                pages_complete(POLL_INTERVAL)
            elif rest:
                raise EOFError("The last line is cut off.")
            else:
                return


def _batches(texts: Iterator[bytes], columns: int) -> "Iterator[list[pa.Array]]":
    """Yield the texts of some lines at a time, as one array for each column."""
    # StringBuilder, because pa.array takes twice the time and loads pandas if it is installed.
    from pyarrow.lib import StringBuilder

    next(texts)
    for text in texts:
        # A line has no line break in it: in JSON that is an escape sequence.
        pages = json.loads(b"[" + text.replace(b"\n", b",") + b"]")
        arrays = []
        for number in range(columns):
            builder = StringBuilder()
            for page in pages:
                builder.append_values(page[number])
            arrays.append(builder.finish())
        yield arrays


def _unique_names(shape: list[Any]) -> list[str]:
    """Return the columns' names, with a number after each one that occurs again.

    Two names can be equal once invalid Unicode characters are replaced.
    """
    found: dict[str, None] = {}
    for name, *_ in shape:
        unique, number = name, 2
        while unique in found:
            unique, number = f"{name} ({number})", number + 1
        found[unique] = None
    return list(found)


def _completed_by(parent: IO[bytes]) -> PagesComplete:
    """Return a function that waits for the message of the process that writes the lines.

    It exits this process if the other one ends without the message.
    """
    message = b""

    def pages_complete(timeout: float) -> bool:
        nonlocal message
        if message != COMPLETE and select.select([parent], [], [], timeout)[0]:
            message = parent.read()
            if message != COMPLETE:
                sys.exit(1)
        return message == COMPLETE

    return pages_complete


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), _completed_by(sys.stdin.buffer))
