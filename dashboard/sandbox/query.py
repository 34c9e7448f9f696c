"""Parameters of a rows request, read as Baserow reads them (recorded from a real server).

Filters and searches read only the first ``SCANNED`` rows of a larger table; sorting and paging
work at any size.
"""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from dashboard.sandbox import filters
from dashboard.sandbox.baserow_fields import UNLIKE_TEXT
from dashboard.sandbox.tables import Field, Table, Tables

SCANNED = 20_000


class Refused(Exception):
    """A query that gets a 400: its error code and detail."""

    def __init__(self, error: str, detail: Any) -> None:
        super().__init__(error)
        self.error, self.detail = error, detail


@dataclass
class Group:
    """Filters and subgroups of which a row must match all, or any."""

    any_of: bool = False
    filters: list[tuple[Field, str, str]] = field(default_factory=list)
    groups: list["Group"] = field(default_factory=list)

    def keeps(self, row: dict[str, Any]) -> bool:
        """Return whether a row matches. An empty group matches every row."""
        results = [
            filters.keeps(kind, each, row[each.name], want) for each, kind, want in self.filters
        ]
        results += [group.keeps(row) for group in self.groups if group.filters or group.groups]
        return not results or (any(results) if self.any_of else all(results))


@dataclass
class Query:
    """A parsed request: the columns to return, the order, and the conditions for rows."""

    shown: list[Field]
    by_name: bool
    orders: list[tuple[Field, bool]] = field(default_factory=list)
    wanted: Group = field(default_factory=Group)
    search: str = ""


def read(fields: Sequence[Field], parameters: Iterable[tuple[str, str]]) -> Query:
    """Read the request's parameters.

    Raises:
        Refused: the sort column, the filter type or the field id does not exist.
    """
    pairs = list(parameters)
    given = dict(reversed(pairs))
    query = Query(
        _shown(fields, given.get("include", ""), given.get("exclude", "")), by_name(given)
    )
    query.search = given.get("search", "").casefold()
    query.orders = [_order(query.shown, part) for part in _split(given.get("order_by", ""))]
    if given.get("filters"):
        # Baserow then ignores all other filters of the request (source: ``AdHocFilters``).
        query.wanted = _tree(query.shown, given["filters"])
        return query
    query.wanted.any_of = given.get("filter_type", "").upper() == "OR"
    for key, value in pairs:
        if key.startswith("filter__"):
            read_filter = _filter(query.shown, key.removeprefix("filter__"), value)
            query.wanted.filters += [read_filter] if read_filter else []
    return query


def by_name(parameters: dict[str, str]) -> bool:
    """Return whether rows are keyed by column name instead of ``field_<id>``."""
    no = {"false", "f", "0", "n", "no", "off"}
    return "user_field_names" in parameters and parameters["user_field_names"].lower() not in no


def page(
    tables: Tables, table: Table, query: Query, number: int, size: int
) -> tuple[int, list[dict[str, Any]]]:
    """Return the count after search and filters, and the rows of page ``number`` (from 1)."""
    start, narrowed = (
        (number - 1) * size,
        bool(query.wanted.filters or query.wanted.groups or query.search),
    )
    if not narrowed and not (
        query.orders and tables.ranked(table, query.orders[0][0].name, 0) is None
    ):
        ranks = range(min(start, table.count), min(start + size, table.count))
        rows = [tables.row(table, _at_rank(tables, table, query, rank)) for rank in ranks]
        return table.count, [shape(row, query) for row in rows]
    found = [tables.row(table, each) for each in range(1, min(table.count, SCANNED) + 1)]
    found = [row for row in found if _is_wanted(row, query)]
    for each, descending in reversed(query.orders):
        found.sort(key=lambda row, each=each: _key(each, row[each.name]), reverse=descending)  # type: ignore[misc]
    return len(found), [shape(row, query) for row in found[start : start + size]]


def shape(row: dict[str, Any], query: Query) -> dict[str, Any]:
    """Return a row with the requested columns, by name or by id."""
    values = {
        each.name if query.by_name else f"field_{each.id}": row[each.name] for each in query.shown
    }
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
    # Unknown names are ignored; if no name is known, every column is returned.
    selected = [
        each for each in fields if each.name in wanted or f"field_{each.id}" in wanted
    ] or list(fields)
    return [
        each
        for each in selected
        if each.name not in unwanted and f"field_{each.id}" not in unwanted
    ]


def _order(shown: Sequence[Field], part: str) -> tuple[Field, bool]:
    """Parse one item of ``order_by``: a sign, the name, and a sort type in brackets.

    The brackets may stand anywhere in the name.
    """
    name = part[1:] if part[:1] in {"-", "+"} else part
    found = next((each for each in shown if name in {each.name, f"field_{each.id}"}), None)
    if found is None:
        raise Refused(
            "ERROR_ORDER_BY_FIELD_NOT_FOUND", f"The field {part} was not found in the table."
        )
    bracketed = re.search(r"\[(.*?)\]", part)
    way = bracketed.group(1) if bracketed else "default"
    if way != "default" or filters.kind_of(found) in filters.UNSORTABLE:
        detail = (
            f"It is not possible to order by {name} using sort type {way} "
            f"because the field type {found.type} does not support it."
        )
        raise Refused("ERROR_ORDER_BY_FIELD_NOT_POSSIBLE", detail)
    return found, part.startswith("-")


def _filter(shown: Sequence[Field], key: str, value: str) -> tuple[Field, str, str] | None:
    name, _, kind = key.rpartition("__")
    found = next((each for each in shown if name in {each.name, f"field_{each.id}"}), None)
    if found is None or "\n" in name:
        number = name.removeprefix("field_")
        if number != name and number.isdigit():
            raise Refused(
                "ERROR_FILTER_FIELD_NOT_FOUND", f"The field {number} was not found in the table."
            )
        return None
    if not filters.exists(kind):
        raise Refused(
            "ERROR_VIEW_FILTER_TYPE_DOES_NOT_EXIST", f"The view filter type {kind} doesn't exist."
        )
    if not filters.is_compatible(kind, found):
        detail = f"The filter {kind} is not compatible with field type {found.type}."
        raise Refused("ERROR_VIEW_FILTER_TYPE_UNSUPPORTED_FIELD", detail)
    return None if filters.is_ignored(kind, found, value.strip()) else (found, kind, value.strip())


def _tree(shown: Sequence[Field], text: str) -> Group:
    """Parse JSON filters; errors have the recorded codes (``error-filters-*.json``)."""
    try:
        return _group(shown, json.loads(text))
    except json.JSONDecodeError:
        detail = {"error": "The provided filters are not valid JSON.", "code": "invalid_json"}
        raise Refused("ERROR_FILTERS_PARAM_VALIDATION_ERROR", detail) from None


def _group(shown: Sequence[Field], given: Any) -> Group:
    if not isinstance(given, dict) or given.get("filter_type") not in {"AND", "OR"}:
        kind = given.get("filter_type") if isinstance(given, dict) else given
        wrong = {
            "filter_type": [{"error": f'"{kind}" is not a valid choice.', "code": "invalid_choice"}]
        }
        raise Refused("ERROR_FILTERS_PARAM_VALIDATION_ERROR", wrong)
    named = (
        _filter(shown, f"{each['field']}__{each['type']}", str(each["value"]))
        for each in given.get("filters", ())
    )
    groups = [_group(shown, each) for each in given.get("groups", ())]
    return Group(given["filter_type"] == "OR", [each for each in named if each], groups)


def _split(names: str) -> list[str]:
    """Split names at commas as Baserow does: a line of CSV with ``\\`` as escape character."""
    return next(csv.reader([names], escapechar="\\")) if names else []


def _is_wanted(row: dict[str, Any], query: Query) -> bool:
    if not query.wanted.keeps(row):
        return False
    searched = [each for each in query.shown if each.type not in UNLIKE_TEXT]
    if not query.search or not searched:
        return True
    return query.search == str(row["id"]) or any(
        query.search in _text(row[each.name]).casefold() for each in searched
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return _text(value.get("value", value.get("name", value.get("url", ""))))
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    return "" if value is None else str(value)


def _key(field: Field, value: Any) -> tuple[int, Decimal, str]:
    """Return a sort key: nulls before all other values, numbers by value."""
    text = _text(value)
    if value is None or text == "NaN":
        return (0, Decimal(0), "")
    if isinstance(value, bool) or filters.kind_of(field) in filters.NUMERIC:
        return (1, Decimal(value if isinstance(value, bool) else text), "")
    return (1, Decimal(0), text.casefold())
