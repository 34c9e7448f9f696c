"""Baserow's filters: the field types that each one accepts, and the rows that it returns.

Written from answers recorded from Baserow 1.35.3; for what was not recorded, from its source
(``view_filters.py``, ``array_view_filters.py``), including its surprises. A filter that a field
type does not have is refused. An unreadable value matches no row, or is ignored, as in Baserow.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dashboard.sandbox.baserow_fields import DURATION_FORMAT
from dashboard.sandbox.tables import Field

_TEXTS = {"text", "long_text", "url", "email", "phone_number"}
_TEXT_RESULTS = {"=text", "=char", "=url"}
_TEXT_ITEMS = {"=array/text", "=array/char", "=array/url"}
_DATES = {"date", "last_modified", "created_on", "=date"}
_COMPARABLE = {"number", "rating", "autonumber", "duration", "=number", "=duration"}
_SELECT, _SELECTS = {"single_select", "=single_select"}, {"multiple_select", "=multiple_select"}
_ITEMS = {
    *_TEXT_ITEMS,
    "=array/number",
    "=array/date",
    "=array/boolean",
    "=array/single_select",
    "=array/single_file",
}
_USERS = {"created_by", "last_modified_by"}
# The field types that each filter accepts: a plain type by its name, a formula by "=" and the
# type of its result.
COMPATIBLE: dict[str, frozenset[str] | set[str]] = {
    "equal": {"boolean", "uuid"} | _TEXTS | _COMPARABLE | _TEXT_RESULTS,
    "contains": {"number", "autonumber", "=number"}
    | _TEXTS
    | _DATES
    | _SELECT
    | _SELECTS
    | _TEXT_RESULTS,
    "boolean": {"boolean", "=boolean"},
    "single_select_equal": _SELECT,
    "single_select_is_any_of": _SELECT,
    "multiple_select_has": _SELECTS,
    "link_row_has": {"link_row"},
    "link_row_contains": {"link_row"},
    "user_is": _USERS,
    "multiple_collaborators_has": {"multiple_collaborators"},
    "has_value_equal": _ITEMS - {"=array/date", "=array/single_file"},
    "has_value_contains": _ITEMS - {"=array/boolean", "=array/single_file"},
    "empty": _TEXTS
    | _TEXT_RESULTS
    | _DATES
    | _SELECT
    | _SELECTS
    | _ITEMS
    | (_COMPARABLE - {"autonumber"})
    | {"boolean", "=boolean", "link_row", "file", "password", "multiple_collaborators"},
    **dict.fromkeys(
        ("higher_than", "higher_than_or_equal", "lower_than", "lower_than_or_equal"), _COMPARABLE
    ),
    **dict.fromkeys(("date_is", "date_is_after", "date_is_before"), _DATES),
    **dict.fromkeys(
        ("has_date_equal", "has_date_after", "has_date_before"), frozenset({"=array/date"})
    ),
}
# Each of these filters returns the rows that the other one leaves out.
OPPOSITES = {
    "not_equal": "equal",
    "contains_not": "contains",
    "single_select_not_equal": "single_select_equal",
    "single_select_is_none_of": "single_select_is_any_of",
    "multiple_select_has_not": "multiple_select_has",
    "link_row_not_contains": "link_row_contains",
    "user_is_not": "user_is",
    "multiple_collaborators_has_not": "multiple_collaborators_has",
    "has_not_value_equal": "has_value_equal",
    "has_not_value_contains": "has_value_contains",
    "not_empty": "empty",
}
UNSORTABLE = {
    "file",
    "password",
    "json",
    "=link",
    "=button",
    "=single_file",
    "=multiple_select",
    "=invalid",
} | {f"=array/{each}" for each in ("link", "button", "single_file", "multiple_select")}
NUMERIC = _COMPARABLE
_WHOLE = {"rating", "autonumber"}
# These filters ignore a value that is not an id, and return every row.
_BY_ID = {
    "single_select_equal",
    "multiple_select_has",
    "link_row_has",
    "user_is",
    "multiple_collaborators_has",
}
_UNITS = {"h:mm": 60, "d h:mm": 60, "d h mm": 60, "d h": 3600}


def kind_of(field: Field) -> str:
    """Return the type of a field as filters and sorts use it."""
    if not field.result:
        return field.type
    return f"={field.result}/{field.item}" if field.result == "array" else f"={field.result}"


def exists(name: str) -> bool:
    """Return whether a filter of this name exists."""
    return name in COMPATIBLE or name in OPPOSITES


def is_compatible(name: str, field: Field) -> bool:
    """Return whether a filter accepts a field."""
    return kind_of(field) in COMPATIBLE[OPPOSITES.get(name, name)]


def is_ignored(name: str, field: Field, want: str) -> bool:
    """Return whether the server ignores a filter with this value and returns every row."""
    base = OPPOSITES.get(name, name)
    if base == "empty":
        return False
    by_id = base in _BY_ID or (
        base == "has_value_equal" and kind_of(field) == "=array/single_select"
    )
    unread_day = "date" in base and _day_wanted(want) is None
    return (
        not want
        or unread_day
        or (by_id and not any(part.strip().isdigit() for part in want.split(",")))
    )


def keeps(name: str, field: Field, value: Any, want: str) -> bool:
    """Return whether a filter returns a row with this value."""
    if name in OPPOSITES:
        return not _TESTS[OPPOSITES[name]](field, value, want)
    return _TESTS[name](field, value, want)


def _equal(field: Field, value: Any, want: str) -> bool:
    if kind_of(field) in _COMPARABLE:
        return _compare(lambda have, wanted: have == wanted)(field, value, want)
    if field.type == "boolean":
        return _boolean(field, value, want)
    return value is not None and str(value) == want


def _compare(test: Callable[[Decimal, Decimal], bool]) -> Callable[[Field, Any, str], bool]:
    def compared(field: Field, value: Any, want: str) -> bool:
        if value in (None, "") or (kind_of(field) in _WHOLE and not re.fullmatch(r"-?\d+", want)):
            return False
        try:
            have, wanted = Decimal(str(value)), Decimal(want)
            if kind_of(field) in {"duration", "=duration"}:
                wanted = _rounded(wanted, field)
        except InvalidOperation:
            return False
        # In PostgreSQL NaN is greater than any number.
        return test(Decimal("Infinity") if have.is_nan() else have, wanted)

    return compared


def _rounded(seconds: Decimal, field: Field) -> Decimal:
    """Round to the smallest unit of the field's format, as Baserow rounds compared durations."""
    layout = str(field.settings.get("duration_format") or DURATION_FORMAT)
    unit = (
        Decimal(_UNITS[layout])
        if layout in _UNITS
        else Decimal(1).scaleb(-len(layout.partition(".")[2]))
    )
    return (seconds / unit).quantize(Decimal(1), ROUND_HALF_UP) * unit


def _contains(field: Field, value: Any, want: str) -> bool:
    return want.casefold() in _displayed(field, value).casefold()


def _displayed(field: Field, value: Any) -> str:
    """Return the text that Baserow shows for a value; a date has the field's own format."""
    if value is None:
        return ""
    if kind_of(field) in _DATES:
        found = datetime.fromisoformat(str(value))
        day = {"EU": "%d/%m/%Y", "US": "%m/%d/%Y"}.get(
            field.settings.get("date_format", ""), "%Y-%m-%d"
        )
        return found.strftime(f"{day} %H:%M" if "T" in str(value) else day)
    if isinstance(value, list):
        return ",".join(str(each["value"]) for each in value)
    return str(value["value"]) if isinstance(value, dict) else str(value)


def _boolean(_field: Field, value: Any, want: str) -> bool:
    return value is (want.lower() in {"1", "true", "t", "y", "yes", "on"})


def _empty(field: Field, value: Any, _want: str) -> bool:
    if kind_of(field) in {"boolean", "=boolean"}:
        return value is False
    if kind_of(field) in _ITEMS:
        return all(each.get("value") in (None, "") for each in value)
    return value in (None, "", [])


def _ids(want: str) -> set[int]:
    return {int(part) for part in want.split(",") if part.strip().isdigit()}


def _has_id(_field: Field, value: Any, want: str) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(each is not None and each["id"] in _ids(want) for each in values)


def _items(value: Iterable[dict[str, Any]]) -> list[Any]:
    return [each["value"] for each in value]


def _has_equal(field: Field, value: Any, want: str) -> bool:
    kind = kind_of(field)
    if kind == "=array/single_select":
        return any(each is not None and each["id"] in _ids(want) for each in _items(value))
    if kind == "=array/number":
        number = Field(0, "", "number")
        return any(_equal(number, each, want) for each in _items(value))
    if kind == "=array/boolean":
        return any(_boolean(field, each, want) for each in _items(value))
    return want in _items(value)


def _has_contains(_field: Field, value: Any, want: str) -> bool:
    """Match as SQL's LIKE does: % and _ in the value are placeholders."""
    wanted = re.escape(want).replace("%", ".*").replace("_", ".")
    texts = (
        each["value"] if isinstance(each, dict) else each
        for each in _items(value)
        if each is not None
    )
    return any(re.search(wanted, str(text), re.IGNORECASE | re.DOTALL) for text in texts)


def _link_contains(_field: Field, value: Any, want: str) -> bool:
    return any(want.casefold() in str(each["value"]).casefold() for each in value)


def _day_wanted(want: str) -> tuple[ZoneInfo, date] | None:
    """Return zone and day of ``UTC?2026-06-06?exact_date``; None where it is unreadable."""
    zone, *rest = want.split("?")
    try:
        if len(rest) == 2 and rest[1] == "exact_date":
            return ZoneInfo(zone), date.fromisoformat(rest[0])
    except (ValueError, ZoneInfoNotFoundError):
        pass
    return None


def _on_days(test: Callable[[date, date], bool]) -> Callable[[Field, Any, str], bool]:
    """Return a comparison of days.

    A time counts as its day in the filter's time zone. A list matches if any item matches.
    """

    def compared(field: Field, value: Any, want: str) -> bool:
        wanted = _day_wanted(want)
        assert wanted is not None
        if isinstance(value, list):
            return any(compared(field, each, want) for each in _items(value))
        if not value:
            return False
        zone, day = wanted
        if "T" not in value:
            return test(date.fromisoformat(value), day)
        return test(datetime.fromisoformat(value).replace(tzinfo=UTC).astimezone(zone).date(), day)

    return compared


_ON, _AFTER, _BEFORE = (
    _on_days(lambda have, want: have == want),
    _on_days(lambda have, want: have > want),
    _on_days(lambda have, want: have < want),
)
_TESTS: dict[str, Callable[[Field, Any, str], bool]] = {
    "equal": _equal,
    "contains": _contains,
    "boolean": _boolean,
    "empty": _empty,
    "link_row_contains": _link_contains,
    "has_value_equal": _has_equal,
    "has_value_contains": _has_contains,
    **dict.fromkeys((*_BY_ID, "single_select_is_any_of"), _has_id),
    **dict.fromkeys(("date_is", "has_date_equal"), _ON),
    **dict.fromkeys(("date_is_after", "has_date_after"), _AFTER),
    **dict.fromkeys(("date_is_before", "has_date_before"), _BEFORE),
    "higher_than": _compare(lambda have, want: have > want),
    "higher_than_or_equal": _compare(lambda have, want: have >= want),
    "lower_than": _compare(lambda have, want: have < want),
    "lower_than_or_equal": _compare(lambda have, want: have <= want),
}
