"""A Parquet file from lines of texts (``files.ParquetLines``), in a process of its own, which ends with the file.

pyarrow alone takes some 60 MB, which a console that only now and then makes such a file need not hold. The file is made while its
lines are still being written, and is whole soon after the last of them. A column has the type that Baserow's has where every one
of its values fits it without loss, and is text otherwise.
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

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of lines that become a group of rows.
TEXT_AT_ONCE = 1_000_000
LONGEST: Final = 6 * 3600
LOOK_AGAIN: Final = 0.2
WHOLE: Final = b"whole"
# Whether the lines are whole, waiting so many seconds for it.
AreWhole = Callable[[float], bool]


class ParquetFailed(Exception):
    """The file could not be made. The message is a sentence, without anything of the rows."""


class ParquetWriter:
    """A file in the making, as a context: left before ``finish`` has returned, there is none."""

    def __init__(self, lines: Path, target: Path) -> None:
        """``lines``: the file that grows, with nothing in it that will not stay."""
        self._target = target
        # Whoever began one and was killed may write to it for another moment.
        target.unlink(missing_ok=True)
        command = [sys.executable, "-m", "dashboard.exports.parquet", str(lines), str(target)]
        # What it writes could hold values of the rows. Arrow's own allocator keeps twenty megabytes more.
        silent, environ = subprocess.DEVNULL, {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, env=environ
            )
        except OSError:
            raise ParquetFailed(
                "The Parquet file could not be made: no process can be started for it. Try again later."
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
        """The lines are whole: the file, when it is.

        Raises:
            NotMade: there is no room for it, or what it is made from is not whole.
        """
        try:
            self._process.communicate(WHOLE, timeout=LONGEST)
        except (OSError, subprocess.SubprocessError):
            self._process.kill()
        if self._process.wait() != 0:
            raise ParquetFailed(
                "The Parquet file could not be made: the disk may be full. Try again, or take another format."
            )
        self._finished = True
        return self._target


def convert(lines: Path, target: Path, are_whole: AreWhole = lambda _: True) -> None:
    """The same in this process: in one go where all values are of their columns' types, in three at most."""
    import pyarrow as pa

    found = _texts(lines, are_whole)
    shape = json.loads(next(found))
    found.close()
    possible = [[*_types(pa, *column), pa.string()] for column in shape]
    while not _write(
        _batches(_texts(lines, are_whole), len(shape)), target, _different(shape), possible
    ):
        pass


def _write(
    batches: "Iterator[list[pa.Array]]",
    target: Path,
    names: list[str],
    possible: "list[list[pa.DataType]]",
) -> bool:
    """Write each column in its first possible type; whether all values fitted. A type that did not is possible no more."""
    import pyarrow as pa
    import pyarrow.parquet

    schema = pa.schema(
        [pa.field(name, types[0]) for name, types in zip(names, possible, strict=True)]
    )
    misfits = set[int]()
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for texts in batches:
            # What is left to be seen of a file that cannot stay: which other columns do not fit either.
            arrays = {
                place: _as(texts[place], schema.types[place])
                for place in range(len(names))
                if place not in misfits
            }
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
    if kind == "duration":
        return [pa.float64()]
    return (
        [pa.timestamp("us", tz="UTC"), pa.date32()]
        if kind in {"date", "last_modified", "created_on"}
        else []
    )


def _as(texts: "pa.Array", wanted: "pa.DataType") -> "pa.Array | None":
    """The values in this type; None where one of them does not fit, or would lose something."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if wanted == pa.string():
        return texts
    if not pc.all(pc.match_substring_regex(texts, _whole(pa.types, wanted)), min_count=0).as_py():
        return None
    try:
        found = texts.cast(wanted)
    except pa.ArrowInvalid:
        return None
    return None if pa.types.is_floating(wanted) and _differs(texts, found) else found


def _differs(texts: "pa.Array", found: "pa.Array") -> bool:
    """Whether a text has more digits than the double that was made of it gives back."""
    pairs = zip(texts.to_pylist(), found.to_pylist(), strict=True)
    return any(text is not None and Decimal(text) != Decimal(repr(value)) for text, value in pairs)


def _whole(types: Any, wanted: "pa.DataType") -> str:
    """How a value reads that this type keeps whole."""
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
    # With a zone, so that no other reader takes it for its own; microseconds at most.
    return r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{5,8}(\.[0-9]{1,6})?Z\z"


def _texts(lines: Path, are_whole: AreWhole) -> Generator[bytes, None, None]:
    """The first line, then whole lines, as many at a time as memory is worth; those that are still to come are waited for."""
    with lines.open("rb") as file:
        first, rest = True, b""
        while True:
            # Asked before the end is met: what was written until then is read.
            whole = are_whole(0)
            came = file.read(TEXT_AT_ONCE)
            rest += came
            if first and b"\n" in rest:
                line, _, rest = rest.partition(b"\n")
                first = False
                yield line
            some, newline, rest = rest.rpartition(b"\n")
            if newline:
                yield some
            if came:
                continue
            if not whole:
                are_whole(LOOK_AGAIN)
            elif rest:
                raise EOFError("The last line is cut off.")
            else:
                return


def _batches(texts: Iterator[bytes], columns: int) -> "Iterator[list[pa.Array]]":
    """The texts of some lines at a time, by columns."""
    # What pa.array does at half the speed, having loaded pandas where there is one.
    from pyarrow.lib import StringBuilder

    next(texts)
    for text in texts:
        # No line has a line break in it: in JSON that is an escape.
        pages = json.loads(b"[" + text.replace(b"\n", b",") + b"]")
        arrays = []
        for place in range(columns):
            builder = StringBuilder()
            for page in pages:
                builder.append_values(page[place])
            arrays.append(builder.finish())
        yield arrays


def _different(shape: list[Any]) -> list[str]:
    """The names, with a number behind those that were there before: two may be alike once what is no Unicode was replaced."""
    found: dict[str, None] = {}
    for name, *_ in shape:
        given, number = name, 2
        while given in found:
            given, number = f"{name} ({number})", number + 1
        found[given] = None
    return list(found)


def _told_by(parent: IO[bytes]) -> AreWhole:
    """What the process says that writes the lines. Ends this one where that is gone."""
    said = b""

    def are_whole(patience: float) -> bool:
        nonlocal said
        if said != WHOLE and select.select([parent], [], [], patience)[0]:
            said = parent.read()
            if said != WHOLE:
                sys.exit(1)
        return said == WHOLE

    return are_whole


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), _told_by(sys.stdin.buffer))
