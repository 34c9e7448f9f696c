"""The streamed result of an SQL query: JSON lines of columns, records and status (S)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dashboard.peliqan import errors

CUT = "it ended without saying so: the result is incomplete"


@dataclass(frozen=True)
class SqlColumn:
    """A column of a result. ``type`` is the database's name of its type."""

    name: str
    type: str


@dataclass(frozen=True)
class SqlPart:
    """A part of a result: first the columns, then batches of records."""

    columns: tuple[SqlColumn, ...] | None
    records: tuple[tuple[Any, ...], ...] = ()


def read_parts(lines: Iterator[bytes], route: str) -> Iterator[SqlPart]:
    """Yield the parts in order, until the line that reports success.

    Raises:
        errors.QueryFailed: the database refused or aborted the statement; has its message.
        errors.BrokenAnswer: the stream was cut off or malformed; what came before is incomplete.
    """
    columns: tuple[SqlColumn, ...] | None = None
    for line in lines:
        message = _decoded(line)
        if message is None:
            raise errors.BrokenAnswer(route, note="a line of it is no JSON object")
        if "columns" in message and columns is None:
            columns = tuple(_column(each) for each in message["columns"] or ())
            yield SqlPart(columns)
        elif "records" in message and columns is not None:
            rows = message["records"]
            if not isinstance(rows, list) or any(
                not isinstance(row, list) or len(row) != len(columns) for row in rows
            ):
                raise errors.BrokenAnswer(route, note="its records do not fit its columns")
            yield SqlPart(None, tuple(tuple(row) for row in rows))
        elif message.get("status") == "success":
            return
        elif message.get("status") == "failed":
            raise errors.QueryFailed(
                route, detail=str(message.get("error") or "It does not say why.")[:1000]
            )
        elif "records" in message:
            raise errors.BrokenAnswer(route, note="records came before their columns")
    raise errors.BrokenAnswer(route, note=CUT)


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _column(value: Any) -> SqlColumn:
    """Return a column from ``[name, type]`` or a bare name."""
    parts = [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []
    name, kind, *_ = [*parts, "", ""]
    return SqlColumn(str(name), str(kind))
