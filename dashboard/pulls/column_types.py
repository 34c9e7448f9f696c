"""Types of copied columns, and the conversion of Peliqan's values to them.

A column has one of six types. It starts with Peliqan's declared type, and the values decide: a
value that does not fit widens the type (integer, number, text; date, time, text). Objects and lists
are stored as JSON text; of a single select, only its value.
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
    # Peliqan's list of columns does not distinguish dates from times: the values do.
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
# Result of a formula that divides by zero (recorded from a Baserow server), and its stored value.
NOT_A_NUMBER: Final = "NaN"
NAN: Final = Decimal(NOT_A_NUMBER)
SMALLEST, LARGEST = -(2**63), 2**63 - 1

FitsNumber = Callable[[Decimal], bool]


class Misfit(ValueError):
    """A value that does not fit its column's type."""


def declared(column: peliqan.Column) -> str:
    """Return the type a column starts with, by its declared type or its formula's result type."""
    return _DECLARED.get(column.result_type, TEXT)


def wider(one: str, other: str) -> str:
    """Return the narrowest type that holds the values of both."""
    above = [one]
    while above[-1] in _NEXT:
        above.append(_NEXT[above[-1]])
    while other not in above:
        other = _NEXT[other]
    return other


def fitting(value: Any, kind: str, fits: FitsNumber) -> str:
    """Return the narrowest type, from ``kind`` upwards, that holds this value.

    ``fits``: returns whether the destination stores a number exactly.
    """
    while kind != TEXT:
        try:
            convert(value, kind, fits)
        except Misfit:
            kind = _NEXT[kind]
        else:
            return kind
    return kind


def convert(value: Any, kind: str, fits: FitsNumber) -> Any:
    """Return an API value as int, Decimal, bool, date, aware datetime in UTC, str or None.

    Raises:
        Misfit: the value does not fit the type.
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
    # Python would parse the start of a long number as a date, so a dash is required.
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
    """Return how many digits a finite number has after the point, without trailing zeros.

    Exact, unlike ``normalize``, which rounds to 28 digits.
    """
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
