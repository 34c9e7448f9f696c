"""What is asked of a table, checked against its columns first: upstream ignores what it does not know, and then all rows match.

Baserow's filters (``filter__<column>__<type>=value``) are offered by the type of the column (``filters``). A filter on an unknown
column, on one that is not included, or with a value that cannot be read is silently ignored upstream (recorded from a real
server), so nothing is sent on that was not understood here.

Of a masked column only whole values and emptiness may be asked: filters by parts of a value, by more and less, and the order of
rows tell it piece by piece, by the count alone. The server's search looks into parts of every column, so for a person with masked
columns a search is sent as filters: contained in a column that is shown, or the whole value of a masked one. They are joined with
the other conditions by Baserow's tree of filters (recorded: ``rows-filter-json.json``; its groups are from Baserow's source,
``PublicViewFiltersSerializer``).
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

PREFIX: Final = "filter__"
_WAYS_OUT: Final = (
    "Filter by a whole value, or show the masked columns first: the table's page asks for a reason."
)
_SIGNS: Final = ("-", "+")
MOST_FILTERS, LONGEST_VALUE = 20, 500
# Characters of a tree of filters in an address, of which proxies take about 8,000 (nginx: ``large_client_header_buffers``).
LONGEST_TREE: Final = 6_000
# Characters of a column's name in an address: Peliqan's have up to 255, each of which may take nine.
LONGEST_NAME: Final = 300


@dataclass(frozen=True)
class Filter:
    """One condition on a column. ``value`` is empty where the kind takes none.

    ``parameters``: how it goes upstream, its own first.
    """

    column: str
    kind: str
    value: str = ""
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Its parameter in the console's address."""
        return f"{PREFIX}{self.column}__{self.kind}"

    @property
    def in_words(self) -> str:
        """As a person says it."""
        return f"{self.column} {KINDS[self.kind].words} {self.value}".rstrip()


@dataclass(frozen=True)
class TableQuery(ListQuery):
    """A list's query, with the columns that were chosen; none chosen: all of them. ``filters`` are by their parameters.

    ``sort`` is a column's name with its sign, as Baserow reads it: ``-`` in front for descending, ``+`` or nothing for ascending.
    A name that itself begins with a sign always has one in front, or it would be read as another column's.
    ``masked``: the columns whose values the person does not see; ``searched``: the filters that stand for ``q``, where some are.
    """

    columns: tuple[str, ...] = ()
    conditions: tuple[Filter, ...] = ()
    masked: frozenset[str] = frozenset()
    searched: tuple[tuple[str, str], ...] = ()

    def url_args(self, **changes: Any) -> dict[str, Any]:
        """As of every list; ``column`` is there once for each column that was chosen."""
        args = super().url_args(
            **{"column": list(self.columns), "sort": self._short_sort(self.sort), **changes}
        )
        return {name: value for name, value in args.items() if value != []}

    def without(self, gone: Filter) -> dict[str, Any]:
        """The parameters without one condition."""
        return self.url_args(**{gone.name: None})

    def upstream(self, columns: Sequence[peliqan.Column]) -> dict[str, Any]:
        """What ``AccountApi.rows`` is given, beside page and size.

        Columns that are filtered or sorted by are included as well: upstream ignores a filter on any other, and says nothing.
        """
        names, others = self._included(columns)
        own = dict(each.parameters[0] for each in self.conditions)
        extra = dict(pair for each in self.conditions for pair in each.parameters[1:])
        filters, search = {**extra, **own}, self.q
        if self.searched:
            filters, search = {"filters": _tree(filters, self.searched)}, ""
        asked = {"search": search, "order_by": self.sort, "filters": filters, "include": names}
        return {**asked, "exclude": others} if others else asked

    def _included(self, columns: Sequence[peliqan.Column]) -> tuple[list[str], list[str]]:
        """Names to include, or those to exclude where they are fewer and the first are too many for an address; else neither.

        Neither: all columns are read, and those that were chosen are shown. The server searches in what it reads.
        """
        if not self.columns:
            return [], []
        used = {*self.columns, *(each.column for each in self.conditions), self.sorted_column}
        names = [column.name for column in columns if column.name in used]
        if _fit_an_address(names):
            return names, []
        others = [column.name for column in columns if column.name not in used]
        return [], others if _fit_an_address(others) else []

    @property
    def compared(self) -> list[str]:
        """The masked columns that a value is compared with, by a filter or by the search."""
        searched = {_parts_of(name)[0] for name, _ in self.searched}
        filtered = {each.column for each in self.conditions if KINDS[each.kind].takes}
        return sorted(self.masked & (searched | filtered))

    def disclosed(self, columns: Sequence[peliqan.Column]) -> list[peliqan.Column]:
        """The columns that only a person who sees them may ask for: shown, sorted by, or filtered by a part of their values."""
        parts = {each.column for each in self.conditions}
        if not self.q:
            kept = {column.name: kinds_of(column, masked=True) for column in columns}
            parts = {
                each.column
                for each in self.conditions
                if each.kind not in kept.get(each.column, ())
            }
        shown = {column.name for column in self.shown(columns)}
        return [
            column
            for column in columns
            if column.name in (shown | parts | {self.sorted_column}) - self.masked
        ]

    @property
    def sorted_column(self) -> str:
        """The name of the column that is sorted by; empty where none is."""
        return _unsigned(self.sort)

    def direction_of(self, name: str) -> str:
        """How a column is sorted, in the words of ``aria-sort``: ascending, descending or none."""
        if not self.sort or self.sorted_column != name:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"

    def sort_by(self, name: str) -> str:
        """The ``sort`` of a link at a column's head: ascending first, then the other way round."""
        if self.direction_of(name) == "ascending":
            return self._short_sort(f"-{name}")
        return self._short_sort(f"+{name}" if name[:1] in _SIGNS else name)

    @staticmethod
    def _short_sort(sort: str) -> str:
        name = _unsigned(sort)
        return f"{sort.removesuffix(name)}{reference(name)}" if name else ""

    def shown(self, columns: Sequence[peliqan.Column]) -> tuple[peliqan.Column, ...]:
        """The columns that were chosen, in the table's order."""
        chosen = frozenset(self.columns)
        return tuple(column for column in columns if not chosen or column.name in chosen)


def reference(name: str) -> str:
    """A column's name as addresses have it: itself, or a digest of it where it is too long once it is encoded."""
    return (
        name
        if len(quote(name)) <= LONGEST_NAME
        else f"~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    )


def meant_column(name: str, names: Iterable[str]) -> str | None:
    """The one of a table's columns that is meant by its name or ``reference``, in composed or decomposed letters."""
    known = list(names)
    found = meant(name, known, composed)
    if found is None and name.startswith("~"):
        return next((each for each in known if reference(each) == name), None)
    return found


def _fit_an_address(names: Sequence[str]) -> bool:
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
    """A request's parameters as a query of this table.

    ``chosen``: the columns that were asked for; ``masked``: names of those whose values the person who asks does not see.

    Raises:
        BadQuery: with a sentence: a column that the table does not have, a filter that does not fit, a value nobody can read,
            a filter or sort that would tell parts of masked values.
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
        query = replace(query, sort=_meant_sort(query, by_name))
        _check_sort(query.sort, query.sorted_column, by_name, masked)
    if query.q and not any(map(can_search, query.shown(columns))):
        # Upstream would answer with all rows (recorded).
        raise BadQuery(
            "None of the columns on the page can be searched: choose one that holds text or numbers."
        )
    if query.q and not masked and query.columns and not any(query._included(columns)):
        raise BadQuery(
            f"The search was not carried out: {len(query.columns)} of {len(columns)} columns are too many to name, and the others"
            " would be searched as well. Choose fewer columns or all of them, or filter one column instead."
        )
    return replace(query, searched=_search_filters(query, columns)) if query.q and masked else query


def _search_filters(
    query: TableQuery, columns: Sequence[peliqan.Column]
) -> tuple[tuple[str, str], ...]:
    """Return the filters, one of which a row has to fit, that stand for a search in a table with masked columns."""
    found: dict[str, str] = {}
    for column in query.shown(columns):
        found |= search_filter(column, query.q, masked=column.name in query.masked)
    if not found:
        raise BadQuery(
            "The search was not carried out: it can look into none of the columns on the page, since masked ones are compared"
            f" with whole values and “{query.q[:40]}” cannot be one of theirs. {_WAYS_OUT}"
        )
    if len(quote(_tree({}, tuple(found.items())))) > LONGEST_TREE:
        raise BadQuery(
            f"The search was not carried out: {len(found)} columns are too many for one request where some of them are masked."
            " Choose fewer columns, or filter one column instead."
        )
    return tuple(found.items())


def _tree(all_of: Mapping[str, str], any_of: Sequence[tuple[str, str]]) -> str:
    """Return filters as Baserow's JSON: all of the first, and any of the second. By the names of columns, as the other ones."""

    def listed(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
        named = [(*_parts_of(name), value) for name, value in pairs]
        return [{"type": kind, "field": column, "value": value} for column, kind, value in named]

    groups = [{"filter_type": "OR", "filters": listed(any_of), "groups": []}]
    tree = {"filter_type": "AND", "filters": listed(all_of.items()), "groups": groups}
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


def _parts_of(parameter: str) -> tuple[str, str]:
    """Return the column and the kind of a filter's parameter."""
    column, _, kind = parameter.removeprefix(PREFIX).rpartition("__")
    return column, kind


def _condition(
    name: str, value: str, by_name: Mapping[str, peliqan.Column], masked: Collection[str]
) -> Filter:
    column_name, kind = _parts_of(name)
    column = _known(column_name, by_name)
    if column.name in masked and kind in KINDS and kind not in kinds_of(column, masked=True):
        fits = " or ".join(f"“{KINDS[each].words}”" for each in kinds_of(column, masked=True))
        raise BadQuery(
            f"“{column.name[:60]}” is masked for you, so it cannot be filtered by “{KINDS[kind].words}”: the rows that fit would"
            f" tell parts of its values. It can be by {fits or 'nothing'}. {_WAYS_OUT}"
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


def _meant_sort(query: TableQuery, by_name: Mapping[str, peliqan.Column]) -> str:
    """Return the sort with the name of the column that is meant, whether typed in composed or decomposed letters."""
    name, sign = (
        meant_column(query.sorted_column, by_name) or query.sorted_column,
        query.sort.removesuffix(query.sorted_column),
    )
    return f"{sign or ('+' if name[:1] in _SIGNS else '')}{name}"


def _check_sort(
    sort: str, name: str, by_name: Mapping[str, peliqan.Column], masked: Collection[str]
) -> None:
    if name in by_name and name in masked:
        raise BadQuery(
            f"“{name[:60]}” is masked for you, so the list cannot be sorted by it: the order of the rows would tell its values."
            " Sort by another column, or show the masked columns first: the table's page asks for a reason."
        )
    if name in by_name and can_sort(by_name[name]):
        return
    some = ", ".join(
        [each for each, column in by_name.items() if can_sort(column) and each not in masked][:12]
    )
    raise BadQuery(f"The list cannot be sorted by “{sort[:40]}”. It can be by: {some[:300]}.")


def _known(name: str, by_name: Mapping[str, peliqan.Column]) -> peliqan.Column:
    # Upper and lower case are two columns to Peliqan, and stay two here.
    found = meant(name, by_name, composed)
    if found is None:
        some = ", ".join(list(by_name)[:12])
        raise BadQuery(f"The table has no column “{name[:60]}”. It has: {some[:300]}.")
    return by_name[found]
