"""A table as a file, written as its pages come: CSV, JSON Lines, and what a Parquet file is made from (``parquet``).

Nothing is held but one page. Values are written as they came: numbers that came as text keep every digit, what has a shape is
JSON in CSV and Parquet. What no file could hold is replaced, counted and said (``remarks``).
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
from dashboard.core.text import _FIRST_LOOKED_AT, _SEPARATORS, harmless

Row = Mapping[str, Any]
# What a row is known by at Peliqan, and on the console's own pages.
ID: Final = "id"
# Half of a pair of UTF-16: JSON can hold one alone, UTF-8 cannot.
_LONE = re.compile("[\ud800-\udfff]")
_TEXTS, _NUMBERS = frozenset({str, NoneType}), frozenset({int, NoneType})
# A text as it stands in JSON: what ``_dumps`` does with one, without asking what it is.
_quoted = json.encoder.encode_basestring
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def finite(value: Any, met: Callable[[], None] = lambda: None) -> Any:
    """A value as JSON may hold it: infinite numbers, which it has not, as texts; ``met`` is called with each."""
    if isinstance(value, float) and not math.isfinite(value):
        met()
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: finite(each, met) for key, each in value.items()}
    return [finite(each, met) for each in value] if isinstance(value, list) else value


def with_id(columns: Sequence[peliqan.Column]) -> tuple[peliqan.Column, ...]:
    """The columns behind the row's id, unless one of them has its name."""
    known = any(column.name == ID for column in columns)
    return tuple(columns) if known else (peliqan.Column(name=ID, type="autonumber"), *columns)


class TextFile(ABC):
    """Rows as lines. ``head`` comes first, then ``lines`` of each page; both as UTF-8.

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
        """What stands above the rows."""
        return b""

    @abstractmethod
    def lines(self, rows: Sequence[Row]) -> bytes:
        """A page's rows."""

    @abstractmethod
    def _column(self, values: list[Any]) -> list[Any]:
        """A page's values of one column, as the file has them. Most columns are of one kind: that is seen at a fraction of what
        it takes to look at each value."""

    def _columns(self, rows: Sequence[Row]) -> list[list[Any]]:
        return [self._column([row.get(name) for row in rows]) for name in self.names]

    @property
    def remarks(self) -> list[str]:
        """Sentences for people: what is not in the file as it came."""
        found = []
        if self.replaced:
            found.append(
                f"{self.replaced:,} characters that are no valid Unicode were replaced by “\ufffd”."
            )
        if self.not_numbers:
            found.append(
                f"{self.not_numbers:,} numbers are too large for the file and stand as the text Infinity or -Infinity."
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
            # JSON has no infinity; a number such as 1e400 is read as one.
            return _dumps(self._finite(value))

    def _finite(self, value: Any) -> Any:
        return finite(value, self._count)

    def _count(self) -> None:
        self.not_numbers += 1

    def _text(self, value: Any) -> str | None:
        """A value as one text; None where there is none."""
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return str(self._finite(value))
        return self._json(value)


class CsvFile(TextFile):
    """CSV as RFC 4180 has it, without a byte order mark; no value and an empty text are both nothing."""

    suffix, mimetype, title = "csv", "text/csv", "CSV"

    def head(self) -> bytes:
        """The columns' names."""
        return self._csv([[harmless(name) for name in self.names]])

    def lines(self, rows: Sequence[Row]) -> bytes:
        """A page's rows."""
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
        """Whether no text needs a closer look: searching all of them at once is much faster than each."""
        if not _FIRST_LOOKED_AT.isdisjoint({text[:1] for text in texts if text}):
            return False
        joined = "".join(filter(None, texts))
        return not any(separator in joined for separator in _SEPARATORS)

    def _cell(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value if value is None or type(value) is int else self._text(value)
        # What has a shape holds texts.
        return harmless(value if isinstance(value, str) else self._json(value))


class JsonLinesFile(TextFile):
    """An object a line, with the values as Peliqan gave them."""

    suffix, mimetype, title = "jsonl", "application/x-ndjson", "JSON Lines"

    def __init__(self, columns: Sequence[peliqan.Column]) -> None:
        super().__init__(columns)
        # An object with a place for each value.
        self._line = (
            "{"
            + ",".join(f"{_quoted(name)}:".replace("%", "%%") + "%s" for name in self.names)
            + "}\n"
        )

    def lines(self, rows: Sequence[Row]) -> bytes:
        """A page's rows."""
        return self._encode(
            "".join([self._line % values for values in zip(*self._columns(rows), strict=True)])
        )

    def _column(self, values: list[Any]) -> list[Any]:
        kinds = set(map(type, values))
        if kinds <= _TEXTS:
            return ["null" if value is None else _quoted(value) for value in values]
        return values if kinds == {int} else [self._json(value) for value in values]


class ParquetLines(TextFile):
    """What ``parquet`` makes a file from: the columns, then a line for each page: a list of texts (or null) for each column.

    A file's types have to be known before its first row is written, and whether all values fit a type is known after the last.
    ``hidden`` columns hold no values of their type.
    """

    suffix, mimetype, title = "parquet", "application/vnd.apache.parquet", "Parquet"

    def __init__(self, columns: Sequence[peliqan.Column], hidden: Sequence[str] = ()) -> None:
        super().__init__(columns)
        self._hidden = frozenset(hidden)

    def head(self) -> bytes:
        """A list for each column: name, Baserow's type of its values, decimal places where it has some."""
        types = [
            "" if column.name in self._hidden else column.result_type for column in self.columns
        ]
        shape = [
            [column.name, kind, column.decimals]
            for column, kind in zip(self.columns, types, strict=True)
        ]
        return self._encode(_dumps(shape) + "\n")

    def lines(self, rows: Sequence[Row]) -> bytes:
        """A page's rows, by columns."""
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
    """The writer of a format (``csv``, ``jsonl``, ``parquet``) for these columns; ``hidden``: those that are masked."""
    return ParquetLines(columns, hidden) if suffix == "parquet" else FORMATS[suffix](columns)
