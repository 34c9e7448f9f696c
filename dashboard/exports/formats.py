"""File formats of a table, written page by page: CSV, JSON Lines, and ``parquet`` input.

Only one page is in memory. Values are written unchanged: numbers that came as text keep every
digit; lists and objects are JSON in CSV and Parquet. What a file cannot represent is replaced,
counted and reported (``remarks``).
"""

import csv
import io
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, Final

from dashboard import peliqan
from dashboard.core.spreadsheet_text import SEPARATORS, SUSPECT_STARTS, harmless

Row = Mapping[str, Any]
# The name of the row's id at Peliqan, and on the console's pages.
ID: Final = "id"
# Half of a UTF-16 surrogate pair: valid in JSON, but not in UTF-8.
_LONE = re.compile("[\ud800-\udfff]")
_TEXTS, _NUMBERS = frozenset({str, NoneType}), frozenset({int, NoneType})
# Quotes a text for JSON as ``_dumps`` does, without a check of its type.
_quoted = json.encoder.encode_basestring
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def finite(value: Any, on_infinite: Callable[[], None] = lambda: None) -> Any:
    """Return a value that JSON can represent: infinite numbers and NaN become texts.

    ``on_infinite`` is called for each of them.
    """
    if isinstance(value, float) and not math.isfinite(value):
        on_infinite()
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: finite(each, on_infinite) for key, each in value.items()}
    return [finite(each, on_infinite) for each in value] if isinstance(value, list) else value


def with_id(columns: Sequence[peliqan.Column]) -> tuple[peliqan.Column, ...]:
    """Return the columns after one for the row's id, unless one of them has its name."""
    known = any(column.name == ID for column in columns)
    return tuple(columns) if known else (peliqan.Column(name=ID, type="autonumber"), *columns)


class TextFile(ABC):
    """A writer of rows as lines of UTF-8: first ``head``, then ``lines`` for each page.

    The first column is the row's id, unless the table has a column of that name.
    """

    suffix: str
    mimetype: str
    title: str

    def __init__(self, columns: Sequence[peliqan.Column]) -> None:
        self.columns = with_id(columns)
        self.names = [column.name for column in self.columns]
        self.replaced = self.not_numbers = 0

    def head(self) -> bytes:
        """Return what comes before the rows."""
        return b""

    @abstractmethod
    def lines(self, rows: Sequence[Row]) -> bytes:
        """Return a page's rows as lines."""

    @abstractmethod
    def _column(self, values: list[Any]) -> list[Any]:
        """Return a page's values of one column for the file.

        Most columns have values of one type, which is checked much faster for all at once than
        for each value.
        """

    def _columns(self, rows: Sequence[Row]) -> list[list[Any]]:
        return [self._column([row.get(name) for row in rows]) for name in self.names]

    @property
    def remarks(self) -> list[str]:
        """Sentences on the values that were replaced in the file."""
        found = []
        if self.replaced:
            found.append(
                f"{self.replaced:,} characters that are no valid Unicode were replaced by “\ufffd”."
            )
        if self.not_numbers:
            found.append(
                f"{self.not_numbers:,} numbers are too large for the file and stand as the text"
                " Infinity or -Infinity."
            )
        return found

    def _encode(self, text: str) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError:
            text, count = _LONE.subn("\ufffd", text)
            self.replaced += count
            return text.encode()

    def _json(self, value: Any) -> str:
        try:
            return _dumps(value)
        except ValueError:
            # JSON has no infinity, but a number such as 1e400 is read as infinite.
            return _dumps(self._finite(value))

    def _finite(self, value: Any) -> Any:
        return finite(value, self._count_infinite)

    def _count_infinite(self) -> None:
        self.not_numbers += 1

    def _text(self, value: Any) -> str | None:
        """Return a value as text; None for no value."""
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return str(self._finite(value))
        return self._json(value)


class CsvFile(TextFile):
    """CSV by RFC 4180, without a byte order mark; no value and an empty text are the same."""

    suffix, mimetype, title = "csv", "text/csv", "CSV"

    def head(self) -> bytes:
        """Return the line of the columns' names."""
        return self._csv([[harmless(name) for name in self.names]])

    def lines(self, rows: Sequence[Row]) -> bytes:
        """Return a page's rows as lines."""
        return self._csv(zip(*self._columns(rows), strict=True))

    def _csv(self, lines: Iterable[Sequence[Any]]) -> bytes:
        out = io.StringIO()
        csv.writer(out).writerows(lines)
        return self._encode(out.getvalue())

    def _column(self, values: list[Any]) -> list[Any]:
        kinds = set(map(type, values))
        if kinds <= _NUMBERS or (kinds <= _TEXTS and self._all_harmless(values)):
            return values
        return [self._cell(value) for value in values]

    def _all_harmless(self, texts: list[str | None]) -> bool:
        """Return whether no text can be a formula; one search of all texts is much faster."""
        if not SUSPECT_STARTS.isdisjoint({text[:1] for text in texts if text}):
            return False
        joined = "".join(filter(None, texts))
        return not any(separator in joined for separator in SEPARATORS)

    def _cell(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value if value is None or type(value) is int else self._text(value)
        # Lists and objects can contain texts that a spreadsheet reads as formulas.
        return harmless(value if isinstance(value, str) else self._json(value))


class JsonLinesFile(TextFile):
    """JSON Lines: one object a line, with the values as Peliqan returned them."""

    suffix, mimetype, title = "jsonl", "application/x-ndjson", "JSON Lines"

    def __init__(self, columns: Sequence[peliqan.Column]) -> None:
        super().__init__(columns)
        # The template of a line, with one placeholder for each value.
        self._line = (
            "{"
            + ",".join(f"{_quoted(name)}:".replace("%", "%%") + "%s" for name in self.names)
            + "}\n"
        )

    def lines(self, rows: Sequence[Row]) -> bytes:
        """Return a page's rows as lines."""
        return self._encode(
            "".join([self._line % values for values in zip(*self._columns(rows), strict=True)])
        )

    def _column(self, values: list[Any]) -> list[Any]:
        kinds = set(map(type, values))
        if kinds <= _TEXTS:
            return ["null" if value is None else _quoted(value) for value in values]
        return values if kinds == {int} else [self._json(value) for value in values]


class ParquetLines(TextFile):
    """The input of ``parquet``: a line with the columns, then a line for each page.

    A page's line has a list of texts or nulls for each column. It is converted separately, because
    a Parquet file's types precede its rows, but whether all values fit is known after the last one.
    ``hidden`` columns are text, since their values are masked.
    """

    suffix, mimetype, title = "parquet", "application/vnd.apache.parquet", "Parquet"

    def __init__(self, columns: Sequence[peliqan.Column], hidden: Sequence[str] = ()) -> None:
        super().__init__(columns)
        self._hidden = frozenset(hidden)

    def head(self) -> bytes:
        """Return a list for each column: name, Baserow's type, decimal places (null if none)."""
        types = [
            "" if column.name in self._hidden else column.result_type for column in self.columns
        ]
        shape = [
            [column.name, kind, column.decimals]
            for column, kind in zip(self.columns, types, strict=True)
        ]
        return self._encode(_dumps(shape) + "\n")

    def lines(self, rows: Sequence[Row]) -> bytes:
        """Return a page's rows as one line, by columns."""
        if not rows:
            return b""
        return self._encode(_dumps(self._columns(rows)) + "\n")

    def _column(self, values: list[Any]) -> list[str | None]:
        return (
            values if set(map(type, values)) <= _TEXTS else [self._text(value) for value in values]
        )


FORMATS: Final[Mapping[str, type[TextFile]]] = {
    each.suffix: each for each in (CsvFile, JsonLinesFile, ParquetLines)
}


def make_file(suffix: str, columns: Sequence[peliqan.Column], hidden: Sequence[str]) -> TextFile:
    """Return the writer of a format. ``suffix``: csv, jsonl or parquet.

    ``hidden``: names of the masked columns.
    """
    return ParquetLines(columns, hidden) if suffix == "parquet" else FORMATS[suffix](columns)
