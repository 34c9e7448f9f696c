"""What a copied column holds, and what it is called where it goes.

A column has one of seven kinds. Upstream's types are where one begins, the values decide: one that does not fit makes its column
wider (whole numbers, numbers, text; days, times, text). Objects and lists are text in JSON; of a single select, its word.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from dashboard import peliqan
from dashboard.core.text import clean
from dashboard.core.times import read_time

INTEGER, NUMBER, BOOLEAN, DATE, TIME, TEXT = "integer", "number", "boolean", "date", "time", "text"
ROW_ID: Final = "id"
_DECLARED: Final[Mapping[str, str]] = {
    "autonumber": INTEGER,
    "rating": INTEGER,
    "count": INTEGER,
    "number": NUMBER,
    "duration": NUMBER,
    "boolean": BOOLEAN,
    # Upstream's list of columns does not tell a day from a time: the values do.
    "date": DATE,
    "last_modified": DATE,
    "created_on": DATE,
}
_NEXT: Final[Mapping[str, str]] = {
    INTEGER: NUMBER,
    NUMBER: TEXT,
    BOOLEAN: TEXT,
    DATE: TIME,
    TIME: TEXT,
}
# What a formula gives that divides by zero (recorded from a Baserow server), and how a database holds it.
NOT_A_NUMBER: Final = "NaN"
NAN: Final = Decimal(NOT_A_NUMBER)
SMALLEST, LARGEST = -(2**63), 2**63 - 1

FitsNumber = Callable[[Decimal], bool]


class Misfit(ValueError):
    """A value that is not of its column's kind."""


def declared(column: peliqan.Column) -> str:
    """The kind a column begins with, by its type, or by what its formula results in."""
    return _DECLARED.get(column.result_type, TEXT)


def wider(one: str, other: str) -> str:
    """The narrowest kind that holds what both hold."""
    above = [one]
    while above[-1] in _NEXT:
        above.append(_NEXT[above[-1]])
    while other not in above:
        other = _NEXT[other]
    return other


def fitting(value: Any, kind: str, fits: FitsNumber) -> str:
    """The narrowest kind, from ``kind`` upwards, that holds this value. ``fits``: which numbers the destination keeps exactly."""
    while kind != TEXT:
        try:
            convert(value, kind, fits)
        except Misfit:
            kind = _NEXT[kind]
        else:
            return kind
    return kind


def convert(value: Any, kind: str, fits: FitsNumber) -> Any:
    """A value of the API's as int, Decimal, bool, date, aware datetime in UTC, or str; None stays None.

    Raises:
        Misfit: it is none of the kind.
    """
    if value is None or (kind != TEXT and value == ""):
        return None
    if kind == TEXT:
        return _text(value)
    if kind == BOOLEAN:
        if isinstance(value, bool):
            return value
        raise Misfit
    if kind in {INTEGER, NUMBER}:
        return _number(value, kind, fits)
    # Fifty digits are no time, although Python reads their beginning as one.
    if not isinstance(value, str) or value.strip()[4:5] != "-" or (kind == DATE and ":" in value):
        raise Misfit
    return _moment(value, kind)


def _number(value: Any, kind: str, fits: FitsNumber) -> int | Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Misfit
    if value == NOT_A_NUMBER and kind == NUMBER and fits(NAN):
        return NAN
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise Misfit from None
    if not found.is_finite() or found.adjusted() > 100:
        raise Misfit
    if kind == NUMBER:
        if not fits(found):
            raise Misfit
        return found
    if found != found.to_integral_value() or not SMALLEST <= found <= LARGEST:
        raise Misfit
    return int(found)


def _moment(value: str, kind: str) -> date | datetime:
    try:
        if kind == DATE:
            return date.fromisoformat(value.strip())
    except ValueError:
        raise Misfit from None
    if (found := read_time(value)) is None:
        raise Misfit
    return found


def decimal_places(number: Decimal) -> int:
    """How many digits a finite number has after its point, without zeros at its end. Exact, where ``normalize`` rounds to 28."""
    _, digits, exponent = number.as_tuple()
    if not number or not isinstance(exponent, int):
        return 0
    zeros = len(digits) - len(bytes(digits).rstrip(b"\0"))
    return max(0, -exponent - zeros)


def _text(value: Any) -> str:
    if (
        isinstance(value, dict)
        and set(value) == {"id", "value", "color"}
        and isinstance(value["value"], str)
    ):
        value = value["value"]
    return clean(
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )
