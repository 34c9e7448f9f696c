"""Queries of a table: filters, sort, search and columns, checked before they are sent.

Baserow's filters (``filter__<column>__<type>=value``) are offered by the column's type (see
``filters``). Upstream silently ignores a filter on an unknown column, on a column that is not
included, or with an invalid value (recorded from a real server), and then all rows match. So every
parameter is checked against the table's columns first.

A masked column can only be filtered by exact values and emptiness. Filters by a part of a value, by
more or less, and the order of rows would disclose its values step by step, through the row count
alone. The server's search covers parts of every column, so a search in a table with masked columns
is sent as filters: a shown column contains the text, or a masked one equals it. Baserow's tree of
filters joins them with the other conditions (recorded: ``rows-filter-json.json``; its groups are
from Baserow's source, ``PublicViewFiltersSerializer``).
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from dashboard import peliqan
from dashboard.core.text import composed, meant
from dashboard.listing.query import BadQuery, ListQuery, read_query
from dashboard.tables.filters import (
    KINDS,
    can_search,
    can_sort,
    kinds_of,
    name_of,
    parameters,
    read_value,
    search_filter,
)
from dashboard.tables.limits import LONGEST_VALUE, MOST_FILTERS

PREFIX: Final = "filter__"
_ALTERNATIVES: Final = (
    "Filter by a whole value, or show the masked columns first: the table's page asks for a reason."
)
_SIGNS: Final = ("-", "+")
# Characters of a filter tree in an address; proxies accept about 8,000 in all (nginx:
# ``large_client_header_buffers``).
LONGEST_TREE: Final = 6_000
# Characters of a column's name in an address. Peliqan's names have up to 255 characters, each of
# which can take nine when encoded.
LONGEST_NAME: Final = 300


@dataclass(frozen=True)
class Filter:
    """A condition on a column.

    ``value``: empty if the kind takes none. ``parameters``: the query parameters sent upstream;
    the first is the condition itself.
    """

    column: str
    kind: str
    value: str = ""
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The parameter in the console's address."""
        return f"{PREFIX}{self.column}__{self.kind}"

    @property
    def in_words(self) -> str:
        """The condition as a phrase, such as “Total is more than 5”."""
        return f"{self.column} {KINDS[self.kind].words} {self.value}".rstrip()


@dataclass(frozen=True)
class TableQuery(ListQuery):
    """The query of a table's page: that of every list, with columns and conditions.

    ``columns``: the chosen columns; empty means all. ``filters``: values by parameter name.
    ``sort``: a column's name with its sign, as Baserow reads it: ``-`` for descending, ``+`` or
    none for ascending. A name that starts with a sign always has one in front, or it would be read
    as another column's name. ``masked``: the columns that the user sees masked.
    ``searched``: the filters sent in place of the search ``q``, if it is sent as filters.
    """

    columns: tuple[str, ...] = ()
    conditions: tuple[Filter, ...] = ()
    masked: frozenset[str] = frozenset()
    searched: tuple[tuple[str, str], ...] = ()

    def url_args(self, **changes: Any) -> dict[str, Any]:
        """Return the address's parameters, with ``column`` once for each chosen column."""
        args = super().url_args(
            **{"column": list(self.columns), "sort": self._short_sort(self.sort), **changes}
        )
        return {name: value for name, value in args.items() if value != []}

    def without(self, condition: Filter) -> dict[str, Any]:
        """Return the address's parameters without a condition."""
        return self.url_args(**{condition.name: None})

    def upstream(self, columns: Sequence[peliqan.Column]) -> dict[str, Any]:
        """Return the arguments of ``AccountApi.rows``, except page and size.

        The columns to filter and sort by are included as well, since upstream ignores a filter on
        any other column without an error.
        """
        names, excluded = self._included(columns)
        main = dict(each.parameters[0] for each in self.conditions)
        extra = dict(pair for each in self.conditions for pair in each.parameters[1:])
        filters, search = {**extra, **main}, self.q
        if self.searched:
            filters, search = {"filters": _tree(filters, self.searched)}, ""
        arguments = {"search": search, "order_by": self.sort, "filters": filters, "include": names}
        return {**arguments, "exclude": excluded} if excluded else arguments

    def _included(self, columns: Sequence[peliqan.Column]) -> tuple[list[str], list[str]]:
        """Return the names to include and the names to exclude; at most one list has names.

        Names are excluded if those to include are too long for an address and those to exclude are
        not. With both lists empty, upstream returns and searches all columns.
        """
        if not self.columns:
            return [], []
        used = {*self.columns, *(each.column for each in self.conditions), self.sorted_column}
        names = [column.name for column in columns if column.name in used]
        if _fits_address(names):
            return names, []
        others = [column.name for column in columns if column.name not in used]
        return [], others if _fits_address(others) else []

    @property
    def compared(self) -> list[str]:
        """The masked columns that a filter or the search compares with a value."""
        searched = {_column_and_kind(name)[0] for name, _ in self.searched}
        filtered = {each.column for each in self.conditions if KINDS[each.kind].takes}
        return sorted(self.masked & (searched | filtered))

    def disclosed(self, columns: Sequence[peliqan.Column]) -> list[peliqan.Column]:
        """Return the columns whose values the result discloses: shown, sorted by, or filtered.

        A filter that a masked column may have too discloses nothing, unless there is a search.
        """
        filtered = {each.column for each in self.conditions}
        if not self.q:
            allowed = {column.name: kinds_of(column, masked=True) for column in columns}
            filtered = {
                each.column
                for each in self.conditions
                if each.kind not in allowed.get(each.column, ())
            }
        shown = {column.name for column in self.shown(columns)}
        return [
            column
            for column in columns
            if column.name in (shown | filtered | {self.sorted_column}) - self.masked
        ]

    @property
    def sorted_column(self) -> str:
        """The name of the column to sort by; empty if there is none."""
        return _unsigned(self.sort)

    def direction_of(self, name: str) -> str:
        """Return a column's ``aria-sort`` value: ascending, descending or none."""
        if not self.sort or self.sorted_column != name:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"

    def sort_by(self, name: str) -> str:
        """Return the ``sort`` of a column's header link: ascending first, then descending."""
        if self.direction_of(name) == "ascending":
            return self._short_sort(f"-{name}")
        return self._short_sort(f"+{name}" if name[:1] in _SIGNS else name)

    @staticmethod
    def _short_sort(sort: str) -> str:
        name = _unsigned(sort)
        return f"{sort.removesuffix(name)}{reference(name)}" if name else ""

    def shown(self, columns: Sequence[peliqan.Column]) -> tuple[peliqan.Column, ...]:
        """Return the chosen columns, in the table's order."""
        chosen = frozenset(self.columns)
        return tuple(column for column in columns if not chosen or column.name in chosen)


def reference(name: str) -> str:
    """Return a column's name for an address, or a digest of it if the encoded name is too long."""
    return (
        name
        if len(quote(name)) <= LONGEST_NAME
        else f"~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    )


def find_column(name: str, names: Iterable[str]) -> str | None:
    """Return the column name that ``name`` refers to; None if there is none.

    ``name``: the column's name in composed or decomposed letters, or its ``reference``.
    """
    known = list(names)
    found = meant(name, known, composed)
    if found is None and name.startswith("~"):
        return next((each for each in known if reference(each) == name), None)
    return found


def _fits_address(names: Sequence[str]) -> bool:
    return len(quote(",".join(names))) <= LONGEST_TREE


def _unsigned(sort: str) -> str:
    return sort[1:] if sort[:1] in _SIGNS else sort


def read_table_query(
    args: Mapping[str, str],
    chosen: Iterable[str],
    columns: Sequence[peliqan.Column],
    *,
    masked: Collection[str],
) -> TableQuery:
    """Return a request's parameters as a query of a table with these columns.

    ``chosen``: names of the columns to show; ``masked``: names of those the user sees masked.

    Raises:
        BadQuery: a column is unknown, a filter does not fit its column, a value is invalid, or a
            filter or sort would disclose parts of masked values. The message is a sentence.
    """
    by_name = {column.name: column for column in columns}
    base = read_query(args, None)
    conditions = tuple(
        _condition(name, value, by_name, masked)
        for name, value in args.items()
        if name.startswith(PREFIX)
    )
    if len(conditions) > MOST_FILTERS:
        raise BadQuery(f"There are {len(conditions)} filters; {MOST_FILTERS} at once are the most.")
    wanted = tuple(dict.fromkeys(_known(name, by_name).name for name in chosen))
    filters = {each.name: each.value or "1" for each in conditions}
    query = TableQuery(
        base.q, filters, base.sort, base.page, base.per_page, wanted, conditions, frozenset(masked)
    )
    if query.sort:
        query = replace(query, sort=_known_sort(query, by_name))
        _check_sort(query.sort, query.sorted_column, by_name, masked)
    if query.q and not any(map(can_search, query.shown(columns))):
        # Upstream returns all rows for such a search (recorded).
        raise BadQuery(
            "None of the columns on the page can be searched:"
            " choose one that holds text or numbers."
        )
    if query.q and not masked and query.columns and not any(query._included(columns)):
        raise BadQuery(
            f"The search was not carried out: {len(query.columns)} of {len(columns)} columns are"
            " too many to name, and the others would be searched as well. Choose fewer columns or"
            " all of them, or filter one column instead."
        )
    return replace(query, searched=_search_filters(query, columns)) if query.q and masked else query


def _search_filters(
    query: TableQuery, columns: Sequence[peliqan.Column]
) -> tuple[tuple[str, str], ...]:
    """Return the filters that replace a search in a table with masked columns; a row fits any."""
    found: dict[str, str] = {}
    for column in query.shown(columns):
        found |= search_filter(column, query.q, masked=column.name in query.masked)
    if not found:
        raise BadQuery(
            "The search was not carried out: it can look into none of the columns on the page,"
            " since masked ones are compared with whole values and"
            f" “{query.q[:40]}” cannot be one of theirs. {_ALTERNATIVES}"
        )
    if len(quote(_tree({}, tuple(found.items())))) > LONGEST_TREE:
        raise BadQuery(
            f"The search was not carried out: {len(found)} columns are too many for one request"
            " where some of them are masked. Choose fewer columns, or filter one column instead."
        )
    return tuple(found.items())


def _tree(all_of: Mapping[str, str], any_of: Sequence[tuple[str, str]]) -> str:
    """Return Baserow's JSON of filters: all of ``all_of`` and at least one of ``any_of``."""

    def listed(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
        named = [(*_column_and_kind(name), value) for name, value in pairs]
        return [{"type": kind, "field": column, "value": value} for column, kind, value in named]

    groups = [{"filter_type": "OR", "filters": listed(any_of), "groups": []}]
    tree = {"filter_type": "AND", "filters": listed(all_of.items()), "groups": groups}
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


def _column_and_kind(parameter: str) -> tuple[str, str]:
    """Return the column and the kind in the name of a filter's parameter."""
    column, _, kind = parameter.removeprefix(PREFIX).rpartition("__")
    return column, kind


def _condition(
    name: str, value: str, by_name: Mapping[str, peliqan.Column], masked: Collection[str]
) -> Filter:
    column_name, kind = _column_and_kind(name)
    column = _known(column_name, by_name)
    if column.name in masked and kind in KINDS and kind not in kinds_of(column, masked=True):
        fits = " or ".join(f"“{KINDS[each].words}”" for each in kinds_of(column, masked=True))
        raise BadQuery(
            f"“{column.name[:60]}” is masked for you, so it cannot be filtered by"
            f" “{KINDS[kind].words}”: the rows that fit would tell parts of its values."
            f" It can be by {fits or 'nothing'}. {_ALTERNATIVES}"
        )
    if kind not in kinds_of(column):
        some = ", ".join(kinds_of(column))
        can = f"It can be by: {some}." if some else "Peliqan has no filter for it."
        raise BadQuery(f"“{column.name[:60]}” cannot be filtered by “{kind[:40]}”. {can}")
    value = value.strip()
    if len(value) > LONGEST_VALUE:
        raise BadQuery(
            f"The filter on “{column.name[:60]}” is too long: at most {LONGEST_VALUE} characters."
        )
    if not KINDS[kind].takes:
        return Filter(column.name, kind, "", ((name_of(column, kind), ""),))
    value = read_value(column, kind, value, masked=column.name in masked)
    return Filter(column.name, kind, value, tuple(parameters(column, kind, value).items()))


def _known_sort(query: TableQuery, by_name: Mapping[str, peliqan.Column]) -> str:
    """Return the sort with the column's name as the table has it."""
    name = find_column(query.sorted_column, by_name) or query.sorted_column
    sign = query.sort.removesuffix(query.sorted_column)
    return f"{sign or ('+' if name[:1] in _SIGNS else '')}{name}"


def _check_sort(
    sort: str, name: str, by_name: Mapping[str, peliqan.Column], masked: Collection[str]
) -> None:
    if name in by_name and name in masked:
        raise BadQuery(
            f"“{name[:60]}” is masked for you, so the list cannot be sorted by it: the order of"
            " the rows would tell its values. Sort by another column, or show the masked columns"
            " first: the table's page asks for a reason."
        )
    if name in by_name and can_sort(by_name[name]):
        return
    some = ", ".join(
        [each for each, column in by_name.items() if can_sort(column) and each not in masked][:12]
    )
    raise BadQuery(f"The list cannot be sorted by “{sort[:40]}”. It can be by: {some[:300]}.")


def _known(name: str, by_name: Mapping[str, peliqan.Column]) -> peliqan.Column:
    # Only composed and decomposed letters are equal: names that differ in case are two columns.
    found = meant(name, by_name, composed)
    if found is None:
        some = ", ".join(list(by_name)[:12])
        raise BadQuery(f"The table has no column “{name[:60]}”. It has: {some[:300]}.")
    return by_name[found]
