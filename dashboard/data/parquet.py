"""A Parquet file from lines of texts (``files.ParquetLines``), in a process of its own, which ends with the file.

pyarrow alone takes some 60 MB, which a console that only now and then makes such a file need not hold. A column has the type that
Baserow's has where every one of its values fits it without loss, and is text otherwise.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE, TEXT_AT_ONCE = 20_000, 1_000_000
LONGEST: Final = 6 * 3600
Batch = list[list[str | None]]


class NotMade(Exception):
    """The file could not be made. The message is a sentence, without anything of the rows."""


def make(lines: Path, target: Path) -> None:
    """Make a Parquet file; what it is made from stays.

    Raises:
        NotMade: there is no room for it, or what it is made from is not whole.
    """
    command = [sys.executable, "-m", "dashboard.data.parquet", str(lines), str(target)]
    try:
        # What it writes could hold values of the rows.
        subprocess.run(command, check=True, timeout=LONGEST, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        target.unlink(missing_ok=True)
        raise NotMade("The Parquet file could not be made: the disk may be full. Try again, or take another format.") from None


def convert(lines: Path, target: Path) -> None:
    """The same in this process."""
    import pyarrow as pa
    import pyarrow.parquet

    with lines.open(encoding="utf-8") as file:
        shape = json.loads(file.readline())
    possible = [_types(pa, *column) for column in shape]
    for batch in _batches(lines, len(shape)):
        for place, types in enumerate(possible):
            possible[place] = [each for each in types if _as(pa, batch[place], each) is not None]
    fields = [pa.field(name, [*types, pa.string()][0]) for name, types in zip(_different(shape), possible, strict=True)]
    schema = pa.schema(fields)
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in _batches(lines, len(shape)):
            arrays = [_as(pa, values, field.type) for values, field in zip(batch, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _types(pa: Any, _name: str, kind: str, decimals: int | None) -> "list[pa.DataType]":
    """What a column of this type may become beside text, the likeliest first."""
    if kind == "number":
        return [] if decimals is None else [pa.decimal128(38, decimals)]
    if kind in {"autonumber", "rating", "count"}:
        return [pa.int64()]
    if kind == "boolean":
        return [pa.bool_()]
    return [pa.timestamp("us", tz="UTC"), pa.date32()] if kind in {"date", "last_modified", "created_on"} else []


def _as(pa: Any, values: list[str | None], wanted: "pa.DataType") -> "pa.Array | None":
    """The values in this type; None where one of them does not fit, or would lose something."""
    texts = pa.array(values, pa.string())
    if wanted == pa.string():
        return texts
    if not all(value is None or _fits(pa, value, wanted) for value in values):
        return None
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        return None


def _fits(pa: Any, value: str, wanted: "pa.DataType") -> bool:
    if pa.types.is_boolean(wanted):
        return value in {"true", "false"}
    digits = value.removeprefix("-")
    if pa.types.is_integer(wanted):
        return digits.isascii() and digits.isdigit() and len(digits) <= 18
    if pa.types.is_decimal(wanted):
        whole, point, part = digits.partition(".")
        if not (digits.isascii() and whole.isdigit() and (part.isdigit() or not point)):
            return False
        places: int = wanted.scale
        return len(whole) <= 38 - places and len(part) <= places
    if pa.types.is_date(wanted):
        return value.isascii() and len(value) == len("2026-02-02")
    # With a zone, so that no other reader takes it for its own; microseconds at most.
    return value.isascii() and value[10:11] == "T" and value.endswith("Z") and len(value) <= len("2026-02-02T01:30:00.123456Z")


def _batches(lines: Path, columns: int) -> Iterator[Batch]:
    """The lines' values by columns, some at a time: as many as memory is worth."""
    with lines.open(encoding="utf-8") as file:
        file.readline()
        rows: list[list[str | None]] = []
        size = 0
        for line in file:
            rows.append(json.loads(line))
            size += len(line)
            if len(rows) >= ROWS_AT_ONCE or size >= TEXT_AT_ONCE:
                yield _by_columns(rows, columns)
                rows, size = [], 0
        if rows:
            yield _by_columns(rows, columns)


def _by_columns(rows: Iterable[list[str | None]], columns: int) -> Batch:
    return [list(each) for each in zip(*rows, strict=True)] or [[] for _ in range(columns)]


def _different(shape: list[Any]) -> list[str]:
    """The names, with a number behind those that were there before: two may be alike once what is no Unicode was replaced."""
    found: dict[str, None] = {}
    for name, *_ in shape:
        given, number = name, 2
        while given in found:
            given, number = f"{name} ({number})", number + 1
        found[given] = None
    return list(found)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
