"""A Parquet file from lines of texts (``files.ParquetLines``), in a process of its own, which ends with the file.

pyarrow alone takes some 60 MB, which a console that only now and then makes such a file need not hold. A column has the type that
Baserow's has where every one of its values fits it without loss, and is text otherwise.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE, TEXT_AT_ONCE = 20_000, 1_000_000
LONGEST: Final = 6 * 3600


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
    """The same in this process: in one go where all values are of their columns' types, in three at most."""
    import pyarrow as pa

    with lines.open(encoding="utf-8") as file:
        shape = json.loads(file.readline())
    possible = [[*_types(pa, *column), pa.string()] for column in shape]
    while not _write(lines, target, _different(shape), possible):
        pass


def _write(lines: Path, target: Path, names: list[str], possible: "list[list[pa.DataType]]") -> bool:
    """Write each column in its first possible type; whether all values fitted. A type that did not is possible no more."""
    import pyarrow as pa
    import pyarrow.parquet

    schema = pa.schema([pa.field(name, types[0]) for name, types in zip(names, possible, strict=True)])
    misfits = set[int]()
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for texts in _batches(lines, len(names)):
            # What is left to be seen of a file that cannot stay: which other columns do not fit either.
            arrays = {place: _as(texts[place], schema.types[place]) for place in range(len(names)) if place not in misfits}
            misfits |= {place for place, values in arrays.items() if values is None}
            if not misfits:
                writer.write_table(pa.Table.from_arrays(list(arrays.values()), schema=schema))
    for place in misfits:
        del possible[place][0]
    return not misfits


def _types(pa: Any, _name: str, kind: str, decimals: int | None) -> "list[pa.DataType]":
    """What a column of this type may become beside text, the likeliest first."""
    if kind == "number":
        return [] if decimals is None else [pa.decimal128(38, decimals)]
    if kind in {"autonumber", "rating", "count"}:
        return [pa.int64()]
    if kind == "boolean":
        return [pa.bool_()]
    return [pa.timestamp("us", tz="UTC"), pa.date32()] if kind in {"date", "last_modified", "created_on"} else []


def _as(texts: "pa.Array", wanted: "pa.DataType") -> "pa.Array | None":
    """The values in this type; None where one of them does not fit, or would lose something."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if wanted == pa.string():
        return texts
    if not pc.all(pc.match_substring_regex(texts, _whole(pa.types, wanted)), min_count=0).as_py():
        return None
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        return None


def _whole(types: Any, wanted: "pa.DataType") -> str:
    """How a value reads that this type keeps whole."""
    if types.is_boolean(wanted):
        return r"\A(true|false)\z"
    if types.is_integer(wanted):
        return r"\A-?[0-9]{1,18}\z"
    if types.is_decimal(wanted):
        part = rf"(\.[0-9]{{1,{wanted.scale}}})?" if wanted.scale else ""
        return rf"\A-?[0-9]{{1,{38 - wanted.scale}}}{part}\z"
    if types.is_date(wanted):
        return r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z"
    # With a zone, so that no other reader takes it for its own; microseconds at most.
    return r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{5,8}(\.[0-9]{1,6})?Z\z"


def _batches(lines: Path, columns: int) -> "Iterator[list[pa.Array]]":
    """The lines' texts by columns, some at a time: as many as memory is worth."""
    import pyarrow as pa

    with lines.open(encoding="utf-8") as file:
        file.readline()
        while some := file.readlines(TEXT_AT_ONCE):
            for start in range(0, len(some), ROWS_AT_ONCE):
                rows = json.loads(f"[{','.join(some[start : start + ROWS_AT_ONCE])}]")
                yield [pa.array([row[place] for row in rows], pa.string()) for place in range(columns)]


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
