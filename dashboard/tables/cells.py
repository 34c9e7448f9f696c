"""Readable table cells: a value's kind, its text and its link."""

import json
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from dashboard.masking.rule_file import MASKED
from dashboard.tables.limits import LONGEST_CELL

# Characters that a column shows of a text before it is cut off (``.rows td`` in console.css).
NARROW = 45
# A table shows so many chips, and so many characters of each (``tables/cell_macros.html``).
CHIPS, LONGEST_CHIP = 4, 40
LARGE = 10**15
# Types whose values are numbers, although a decimal comes as text.
NUMBERS = frozenset({"number", "count", "rollup", "autonumber", "rating"})
# Characters that need no encoding in a mailto address (RFC 6068).
MAILTO_SAFE = "@+!$'*"


class Cell(NamedTuple):
    """A value as a page shows it; a tuple, because a page creates thousands of them.

    ``kind``: the way it is displayed. ``text``: the complete text, ``short`` what a table shows of
    it. ``why``: for a masked value, the kind of data that its column seems to have.
    """

    kind: str
    text: str
    href: str | None = None
    chips: tuple[str, ...] = ()
    why: str = ""

    @property
    def short(self) -> str:
        """The start of the text, on one line and at most ``LONGEST_CELL`` characters long."""
        line = " ".join(self.text[: LONGEST_CELL * 4].split())
        return line if len(line) <= LONGEST_CELL else line[: LONGEST_CELL - 1] + "…"

    @property
    def is_cut(self) -> bool:
        """Whether the table shows less than the complete value."""
        if self.kind == "chips":
            return len(self.chips) > CHIPS or any(len(chip) > LONGEST_CHIP for chip in self.chips)
        return self.short != self.text

    @property
    def has_more(self) -> bool:
        """Whether a column of the table may be too narrow, so the page has to offer the rest."""
        return self.kind != "masked" and (self.is_cut or len(self.text) > NARROW)


def short_line(value: Any, column_type: str = "") -> tuple[str, str] | None:
    """Return kind and text of a short text or whole number; None for any other value.

    Such a value is shown unchanged. Most of a page's thousands of cells are such values, and this
    takes a third of the time of ``cell``.
    """
    if type(value) is int:
        return ("number", str(value)) if -LARGE < value < LARGE else None
    if (
        type(value) is not str
        or not 0 < len(value) <= NARROW
        or value[0] in "[{h"
        or not value.isprintable()
    ):
        return None
    if column_type in NUMBERS or value == "NaN":
        return "number", value
    return None if column_type in {"email", "password"} else ("text", value)


def cell(value: Any, column_type: str = "") -> Cell:
    """Return a value of Peliqan's data routes (Baserow's shapes) as a cell.

    Never raises: a value of unknown shape is shown as JSON.
    """
    if value is None:
        return Cell("null", "NULL")
    if column_type == "password":
        return Cell("muted", "hidden")
    if isinstance(value, str):
        return _text(value, column_type)
    if isinstance(value, bool):
        return Cell("boolean", "yes" if value else "no")
    if isinstance(value, (int, float)):
        return Cell("number", _number(value))
    if isinstance(value, list):
        return _list(value)
    if isinstance(value, dict):
        return _object(value)
    return Cell("json", json.dumps(value, ensure_ascii=False, default=str))


def masked(why: str) -> Cell:
    """Return the cell of a masked value. ``why``: what the column's values look like."""
    return Cell("masked", MASKED, why=why)


def raw(value: Any) -> str:
    """Return the complete value as text for a row's page, lists and objects as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def plain(value: Any) -> Any:
    """Return a value for a CSV file: lists and objects as JSON, others unchanged."""
    return (
        value
        if value is None or isinstance(value, (str, int, float))
        else json.dumps(value, ensure_ascii=False, default=str)
    )


def _number(value: float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGE:
        return str(int(value))
    try:
        return str(value)
    except ValueError:
        # Python refuses to convert integers of more than 4,300 digits to text.
        return (
            f"a number of {value.bit_length()} bits" if isinstance(value, int) else "not a number"
        )


def _text(value: str, column_type: str) -> Cell:
    if value == "":
        return Cell("empty", "empty text")
    if column_type in NUMBERS or value == "NaN":
        return Cell("number", value)
    if column_type == "email" and "@" in value and value.isprintable() and " " not in value:
        # Encoded, because a question mark would start headers and a body of the message (RFC 6068).
        return Cell("link", value, f"mailto:{quote(value, safe=MAILTO_SAFE)}")
    if _is_web(value):
        return Cell("link", value, value)
    if value[:1] in "[{" and value[-1:] in "]}":
        try:
            json.loads(value)
            return Cell("json", value)
        except (ValueError, RecursionError):
            pass
    return Cell("text", value)


def _list(values: list[Any]) -> Cell:
    if not values:
        return Cell("empty", "empty list")
    if all(isinstance(each, dict) for each in values):
        names = tuple(_name(each) for each in values)
        return Cell("chips", ", ".join(names), chips=names)
    return Cell("json", json.dumps(values, ensure_ascii=False, default=str))


def _object(value: dict[str, Any]) -> Cell:
    url = value.get("url")
    if isinstance(url, str) and _is_web(url):
        label = value.get("label") or value.get("visible_name") or url
        return Cell("link", str(label), url)
    if "value" in value or "name" in value:
        return Cell("chips", _name(value), chips=(_name(value),))
    return Cell("json", json.dumps(value, ensure_ascii=False, default=str))


def _name(value: dict[str, Any]) -> str:
    for key in ("value", "visible_name", "name", "label", "url"):
        inner = value.get(key)
        if isinstance(inner, dict):
            return _name(inner)
        if inner not in (None, ""):
            return str(inner)
    return f"#{value['id']}" if "id" in value else "unnamed"


def _is_web(value: str) -> bool:
    if not value.startswith(("https://", "http://")) or any(
        character.isspace() for character in value
    ):
        return False
    try:
        url = urlsplit(value)
    except ValueError:
        return False
    return bool(url.hostname) and url.username is None
