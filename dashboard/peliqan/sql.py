"""The answer to a question in SQL, as it comes: lines of JSON with columns, records in batches, and how it ended at last (S)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dashboard.peliqan import errors

CUT = "it ended without saying so: the result is incomplete"


@dataclass(frozen=True)
class SqlColumn:
    """A column of a result, with the database's word for its type."""

    name: str
    type: str


@dataclass(frozen=True)
class SqlPart:
    """A part of an answer: its columns, once and first, or records."""

    columns: tuple[SqlColumn, ...] | None
    records: tuple[tuple[Any, ...], ...] = ()


def read_parts(lines: Iterator[bytes], route: str) -> Iterator[SqlPart]:
    """The parts in their order, to the line that says that all went well.

    Raises:
        errors.QueryFailed: the database refused the question or gave up on it, in its own words.
        errors.BrokenAnswer: the stream was cut off, or holds something else; what came before it is incomplete.
    """
    columns: tuple[SqlColumn, ...] | None = None
    for line in lines:
        told = _told(line)
        if told is None:
            raise errors.BrokenAnswer(route, note="a line of it is no JSON object")
        if "columns" in told and columns is None:
            columns = tuple(_column(each) for each in told["columns"] or ())
            yield SqlPart(columns)
        elif "records" in told and columns is not None:
            rows = told["records"]
            if not isinstance(rows, list) or any(
                not isinstance(row, list) or len(row) != len(columns) for row in rows
            ):
                raise errors.BrokenAnswer(route, note="its records do not fit its columns")
            yield SqlPart(None, tuple(tuple(row) for row in rows))
        elif told.get("status") == "success":
            return
        elif told.get("status") == "failed":
            raise errors.QueryFailed(
                route, detail=str(told.get("error") or "It does not say why.")[:1000]
            )
        elif "records" in told:
            raise errors.BrokenAnswer(route, note="records came before their columns")
    raise errors.BrokenAnswer(route, note=CUT)


def _told(line: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _column(said: Any) -> SqlColumn:
    """``[name, type]``; a bare name is taken too."""
    parts = [said] if isinstance(said, str) else list(said) if isinstance(said, list) else []
    name, kind, *_ = [*parts, "", ""]
    return SqlColumn(str(name), str(kind))
