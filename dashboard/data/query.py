"""What is asked of a table, checked against its columns first: upstream ignores what it does not know, and then all rows match.

Baserow's filters (``filter__<column>__<type>=value``) are offered by the type of the column (``filters``). A filter on an unknown
column, on one that is not included, or with a value that cannot be read is silently ignored upstream (recorded from a real
server), so nothing is sent on that was not understood here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dashboard import peliqan
from dashboard.data.filters import KINDS, can_search, can_sort, kinds_of, name_of, parameters, read_value
from dashboard.store.asked import BadQuery, ListQuery, read_query
from dashboard.store.text import composed, meant

PREFIX: Final = "filter__"
_SIGNS: Final = ("-", "+")
MOST_FILTERS, LONGEST_VALUE = 20, 500


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
    """

    columns: tuple[str, ...] = ()
    conditions: tuple[Filter, ...] = ()

    def url_args(self, **changes: Any) -> dict[str, Any]:
        """As of every list; ``column`` is there once for each column that was chosen."""
        args = super().url_args(**{"column": list(self.columns), **changes})
        return {name: value for name, value in args.items() if value != []}

    def without(self, gone: Filter) -> dict[str, Any]:
        """The parameters without one condition."""
        return self.url_args(**{gone.name: None})

    def upstream(self, columns: Sequence[peliqan.Column]) -> dict[str, Any]:
        """What ``AccountApi.rows`` is given, beside page and size.

        Columns that are filtered or sorted by are included as well: upstream ignores a filter on any other, and says nothing.
        """
        used = {*self.columns, *(each.column for each in self.conditions), self.sorted_column}
        names = [column.name for column in columns if column.name in used] if self.columns else []
        own = dict(each.parameters[0] for each in self.conditions)
        extra = dict(pair for each in self.conditions for pair in each.parameters[1:])
        return {"search": self.q, "order_by": self.sort, "filters": {**extra, **own}, "include": names}

    @property
    def sorted_column(self) -> str:
        """The name of the column that is sorted by; empty where none is."""
        return self.sort[1:] if self.sort[:1] in _SIGNS else self.sort

    def direction_of(self, name: str) -> str:
        """How a column is sorted, in the words of ``aria-sort``: ascending, descending or none."""
        if not self.sort or self.sorted_column != name:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"

    def sort_by(self, name: str) -> str:
        """The ``sort`` of a link at a column's head: ascending first, then the other way round."""
        if self.direction_of(name) == "ascending":
            return f"-{name}"
        return f"+{name}" if name[:1] in _SIGNS else name

    def shown(self, columns: Sequence[peliqan.Column]) -> tuple[peliqan.Column, ...]:
        """The columns that were chosen, in the table's order."""
        chosen = frozenset(self.columns)
        return tuple(column for column in columns if not chosen or column.name in chosen)


def read_table_query(args: Mapping[str, str], chosen: Iterable[str], columns: Sequence[peliqan.Column]) -> TableQuery:
    """A request's parameters as a query of this table. ``chosen``: the columns that were asked for.

    Raises:
        BadQuery: with a sentence: a column that the table does not have, a filter that does not fit, a value nobody can read.
    """
    by_name = {column.name: column for column in columns}
    base = read_query(args, None)
    conditions = tuple(_condition(name, value, by_name) for name, value in args.items() if name.startswith(PREFIX))
    if len(conditions) > MOST_FILTERS:
        raise BadQuery(f"There are {len(conditions)} filters; {MOST_FILTERS} at once are the most.")
    wanted = tuple(dict.fromkeys(_known(name, by_name).name for name in chosen))
    filters = {each.name: each.value or "1" for each in conditions}
    query = TableQuery(base.q, filters, base.sort, base.page, base.per_page, wanted, conditions)
    if query.sort:
        query = replace(query, sort=_meant_sort(query, by_name))
        _check_sort(query.sort, query.sorted_column, by_name)
    if query.q and not any(map(can_search, query.shown(columns))):
        # Upstream would answer with all rows (recorded).
        raise BadQuery("None of the columns on the page can be searched: choose one that holds text or numbers.")
    return query


def _condition(name: str, value: str, by_name: Mapping[str, peliqan.Column]) -> Filter:
    column_name, _, kind = name.removeprefix(PREFIX).rpartition("__")
    column = _known(column_name, by_name)
    if kind not in kinds_of(column):
        some = ", ".join(kinds_of(column))
        can = f"It can be by: {some}." if some else "Peliqan has no filter for it."
        raise BadQuery(f"“{column.name[:60]}” cannot be filtered by “{kind[:40]}”. {can}")
    value = value.strip()
    if len(value) > LONGEST_VALUE:
        raise BadQuery(f"The filter on “{column.name[:60]}” is too long: at most {LONGEST_VALUE} characters.")
    if not KINDS[kind].takes:
        return Filter(column.name, kind, "", ((name_of(column, kind), ""),))
    value = read_value(column, kind, value)
    return Filter(column.name, kind, value, tuple(parameters(column, kind, value).items()))


def _meant_sort(query: TableQuery, by_name: Mapping[str, peliqan.Column]) -> str:
    """Return the sort with the name of the column that is meant, whether typed in composed or decomposed letters."""
    name, sign = (
        meant(query.sorted_column, by_name, composed) or query.sorted_column,
        query.sort.removesuffix(query.sorted_column),
    )
    return f"{sign or ('+' if name[:1] in _SIGNS else '')}{name}"


def _check_sort(sort: str, name: str, by_name: Mapping[str, peliqan.Column]) -> None:
    if name in by_name and can_sort(by_name[name]):
        return
    some = ", ".join([each for each, column in by_name.items() if can_sort(column)][:12])
    raise BadQuery(f"The list cannot be sorted by “{sort[:40]}”. It can be by: {some[:300]}.")


def _known(name: str, by_name: Mapping[str, peliqan.Column]) -> peliqan.Column:
    # Upper and lower case are two columns to Peliqan, and stay two here.
    found = meant(name, by_name, composed)
    if found is None:
        some = ", ".join(list(by_name)[:12])
        raise BadQuery(f"The table has no column “{name[:60]}”. It has: {some[:300]}.")
    return by_name[found]
