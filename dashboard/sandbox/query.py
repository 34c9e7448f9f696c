"""What a rows request asks for, read as Baserow reads it, traps included (recorded from a real server).

Filters and searches look at the first ``SCANNED`` rows of a larger table only; sorting and paging work at any size.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dashboard.sandbox.fields import DATED, NUMERIC, UNLIKE_TEXT
from dashboard.sandbox.tables import Field, Table, Tables

SCANNED = 20_000


class Refused(Exception):
    """A query that is a 400: its error code and detail."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error, self.detail = error, detail


@dataclass
class Query:
    """A readable request: the columns that come back, the order, and what a row has to satisfy."""

    shown: list[Field]
    by_name: bool
    orders: list[tuple[Field, bool]] = field(default_factory=list)
    filters: list[tuple[Field, str, str]] = field(default_factory=list)
    any_of: bool = False
    search: str = ""


def read(fields: Sequence[Field], parameters: Iterable[tuple[str, str]]) -> Query:
    """Read the request's parameters.

    Raises:
        Refused: an unknown column to sort by, an unknown filter type, or a field id that is not there.
    """
    pairs = list(parameters)
    told = dict(reversed(pairs))
    query = Query(_shown(fields, told.get("include", ""), told.get("exclude", "")), by_name(told))
    query.search = told.get("search", "").casefold()
    query.any_of = told.get("filter_type", "").upper() == "OR"
    query.orders = [_order(query.shown, part) for part in _split(told.get("order_by", "")) if part.strip()]
    for key, value in pairs:
        if key.startswith("filter__"):
            read_filter = _filter(query.shown, key.removeprefix("filter__"), value)
            query.filters += [read_filter] if read_filter else []
    return query


def by_name(told: dict[str, str]) -> bool:
    """Whether rows are keyed by column name; by ``field_<id>`` where the parameter is absent or says no."""
    return "user_field_names" in told and told["user_field_names"].lower() not in {"false", "f", "0", "n", "no", "off"}


def page(tables: Tables, table: Table, query: Query, number: int, size: int) -> tuple[int, list[dict[str, Any]]]:
    """The count after search and filters, and the rows of page ``number`` (from 1)."""
    start, narrowed = (number - 1) * size, bool(query.filters or query.search)
    if not narrowed and not (query.orders and tables.ranked(table, query.orders[0][0].name, 0) is None):
        ranks = range(min(start, table.count), min(start + size, table.count))
        rows = [tables.row(table, _at_rank(tables, table, query, rank)) for rank in ranks]
        return table.count, [shape(row, query) for row in rows]
    found = [tables.row(table, each) for each in range(1, min(table.count, SCANNED) + 1)]
    found = [row for row in found if _is_wanted(row, query)]
    for each, descending in reversed(query.orders):
        found.sort(key=lambda row, each=each: _key(each, row[each.name]), reverse=descending)  # type: ignore[misc]
    return len(found), [shape(row, query) for row in found[start : start + size]]


def shape(row: dict[str, Any], query: Query) -> dict[str, Any]:
    """A row with the columns asked for, by name or by id."""
    values = {each.name if query.by_name else f"field_{each.id}": row[each.name] for each in query.shown}
    return {"id": row["id"], "order": row["order"], **values}


def _at_rank(tables: Tables, table: Table, query: Query, rank: int) -> int:
    if not query.orders:
        return rank + 1
    column, descending = query.orders[0]
    found = tables.ranked(table, column.name, table.count - 1 - rank if descending else rank)
    assert found is not None
    return found


def _shown(fields: Sequence[Field], include: str, exclude: str) -> list[Field]:
    wanted, unwanted = set(_split(include)), set(_split(exclude))
    # Names that are not there are ignored; where none is there, every column comes back.
    kept = [each for each in fields if each.name in wanted or f"field_{each.id}" in wanted] or list(fields)
    return [each for each in kept if each.name not in unwanted and f"field_{each.id}" not in unwanted]


def _order(shown: Sequence[Field], part: str) -> tuple[Field, bool]:
    name, descending = part.strip().lstrip("+").removeprefix("-"), part.strip().startswith("-")
    found = next((each for each in shown if name in {each.name, f"field_{each.id}"}), None)
    if found is None:
        raise Refused("ERROR_ORDER_BY_FIELD_NOT_FOUND", f"The field {name} was not found in the table.")
    if found.type in {"file", "json"}:
        detail = f"It is not possible to order by {name} using sort type default because the field type {found.type} does not"
        raise Refused("ERROR_ORDER_BY_FIELD_NOT_POSSIBLE", f"{detail} support it.")
    return found, descending


def _filter(shown: Sequence[Field], key: str, value: str) -> tuple[Field, str, str] | None:
    name, _, kind = key.rpartition("__")
    found = next((each for each in shown if name in {each.name, f"field_{each.id}"}), None)
    if found is None:
        number = name.removeprefix("field_")
        if number != name and number.isdigit():
            raise Refused("ERROR_FILTER_FIELD_NOT_FOUND", f"The field {number} was not found in the table.")
        return None
    if kind not in TESTS:
        raise Refused("ERROR_VIEW_FILTER_TYPE_DOES_NOT_EXIST", f"The view filter type {kind} doesn't exist.")
    unfit = (kind in NUMBERS and found.type not in NUMERIC) or (kind in DATES and found.type not in DATED)
    if unfit or (kind == "boolean" and found.type != "boolean"):
        detail = f"The filter {kind} is not compatible with field type {found.type}."
        raise Refused("ERROR_VIEW_FILTER_TYPE_UNSUPPORTED_FIELD", detail)
    if not value.strip() and kind not in {"empty", "not_empty"}:
        return None
    if kind in DATES and _day_wanted(value.strip()) is None:
        # As with no value at all: what cannot be read is no condition, and every row matches.
        return None
    return found, kind, value.strip()


def _split(names: str) -> list[str]:
    """Names with commas between; one that has a comma itself stands in quotes, its own quotes doubled."""
    parts, quoted, place = [""], False, 0
    while place < len(names):
        character = names[place]
        place += 1
        if quoted and names[place - 1 : place + 1] == '""':
            parts[-1] += '"'
            place += 1
        elif character == '"' and (quoted or parts[-1] in {"", "-", "+"}):
            quoted = not quoted
        elif character == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part]


def _is_wanted(row: dict[str, Any], query: Query) -> bool:
    if query.filters:
        results = (TESTS[kind](_text(row[each.name]), want) for each, kind, want in query.filters)
        if not (any(results) if query.any_of else all(results)):
            return False
    searched = [each for each in query.shown if each.type not in UNLIKE_TEXT]
    if not query.search or not searched:
        return True
    return query.search == str(row["id"]) or any(query.search in _text(row[each.name]).casefold() for each in searched)


def _compare(test: Callable[[Decimal, Decimal], bool]) -> Callable[[str, str], bool]:
    def compared(have: str, want: str) -> bool:
        try:
            return test(Decimal(have), Decimal(want))
        except InvalidOperation:
            return False

    return compared


def _equal(have: str, want: str) -> bool:
    return have == want or _compare(lambda a, b: a == b)(have, want)


def _day_wanted(want: str) -> tuple[ZoneInfo, date] | None:
    """The zone and the day of ``UTC?2026-06-06?exact_date``; None where it cannot be read."""
    zone, *rest = want.split("?")
    try:
        if len(rest) == 2 and rest[1] == "exact_date":
            return ZoneInfo(zone), date.fromisoformat(rest[0])
    except (ValueError, ZoneInfoNotFoundError):
        pass
    return None


def _on_days(test: Callable[[date, date], bool]) -> Callable[[str, str], bool]:
    """A comparison of days: of a time, the day that it falls on in the zone of the filter."""

    def compared(have: str, want: str) -> bool:
        wanted = _day_wanted(want)
        if not have or wanted is None:
            return False
        zone, day = wanted
        if "T" not in have:
            return test(date.fromisoformat(have), day)
        return test(datetime.fromisoformat(have).replace(tzinfo=UTC).astimezone(zone).date(), day)

    return compared


DATES: dict[str, Callable[[str, str], bool]] = {
    "date_is": _on_days(lambda have, want: have == want),
    "date_is_after": _on_days(lambda have, want: have > want),
    "date_is_before": _on_days(lambda have, want: have < want),
}
NUMBERS: dict[str, Callable[[str, str], bool]] = {
    "higher_than": _compare(lambda have, want: have > want),
    "higher_than_or_equal": _compare(lambda have, want: have >= want),
    "lower_than": _compare(lambda have, want: have < want),
    "lower_than_or_equal": _compare(lambda have, want: have <= want),
}
TESTS: dict[str, Callable[[str, str], bool]] = {
    **NUMBERS,
    **DATES,
    "equal": _equal,
    "not_equal": lambda have, want: not _equal(have, want),
    "contains": lambda have, want: want.casefold() in have.casefold(),
    "contains_not": lambda have, want: want.casefold() not in have.casefold(),
    "empty": lambda have, _: have in {"", "False"},
    "not_empty": lambda have, _: have not in {"", "False"},
    "boolean": lambda have, want: (have == "True") == (want.lower() in {"1", "true", "t", "y", "yes", "on"}),
}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return _text(value.get("value", value.get("name", value.get("url", ""))))
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    return "" if value is None else str(value)


def _key(field: Field, value: Any) -> tuple[int, Decimal, str]:
    """Nulls first when ascending, so last when descending; numbers as numbers."""
    text = _text(value)
    if value is None or text == "NaN":
        return (0, Decimal(0), "")
    if field.type in NUMERIC | {"boolean"}:
        return (1, Decimal(text) if field.type != "boolean" else Decimal(bool(value)), "")
    return (1, Decimal(0), text.casefold())
