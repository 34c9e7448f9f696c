"""What is asked of a table, checked against its columns first: upstream ignores what it does not know, and then all rows match.

Baserow's filters (``filter__<column>__<type>=value``) are offered by the type of the column. A filter on an unknown column, on
one that is not included, or with a value that cannot be read is silently ignored upstream (recorded from a real server), so
nothing is sent on that was not understood here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from dashboard import peliqan
from dashboard.store.asked import BadQuery, ListQuery, read_query

PREFIX: Final = "filter__"
NUMBERS: Final = frozenset({"number", "rating", "autonumber", "count", "rollup", "duration"})
TEXTS: Final = frozenset({"text", "long_text", "url", "email", "phone_number", "uuid", "formula", "lookup"})
TIMES: Final = frozenset({"date", "last_modified", "created_on"})
# What a filter is called on the page, and the value it takes: "text", "number", "date", "boolean" or none at all.
KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "contains": ("contains", "text"),
    "contains_not": ("does not contain", "text"),
    "equal": ("is", "text"),
    "not_equal": ("is not", "text"),
    "higher_than": ("is more than", "number"),
    "lower_than": ("is less than", "number"),
    "date_is": ("is on", "date"),
    "date_is_after": ("is after", "date"),
    "date_is_before": ("is before", "date"),
    "boolean": ("is", "boolean"),
    "empty": ("is empty", ""),
    "not_empty": ("is not empty", ""),
}
_EMPTY: Final = ("empty", "not_empty")
MOST_FILTERS, LONGEST_VALUE = 20, 500


@dataclass(frozen=True)
class Filter:
    """One condition on a column. ``value`` is empty where the kind takes none."""

    column: str
    kind: str
    value: str = ""

    @property
    def name(self) -> str:
        """Its parameter, here and upstream."""
        return f"{PREFIX}{self.column}__{self.kind}"

    @property
    def upstream(self) -> str:
        """The value as upstream wants it: a day with its zone (recorded: ``UTC?2020-06-06?exact_date``)."""
        return f"UTC?{self.value}?exact_date" if KINDS[self.kind][1] == "date" else self.value

    @property
    def in_words(self) -> str:
        """As a person says it."""
        return f"{self.column} {KINDS[self.kind][0]} {self.value}".rstrip()


@dataclass(frozen=True)
class TableQuery(ListQuery):
    """A list's query, with the columns that were chosen; none chosen: all of them. ``filters`` are by their parameters."""

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
        used = {*self.columns, *(each.column for each in self.conditions), self.sort.removeprefix("-")}
        names = [column.name for column in columns if column.name in used] if self.columns else []
        filters = {each.name: each.upstream for each in self.conditions}
        return {"search": self.q, "order_by": self.sort, "filters": filters, "include": names}

    def shown(self, columns: Sequence[peliqan.Column]) -> tuple[peliqan.Column, ...]:
        """The columns that were chosen, in the table's order."""
        chosen = frozenset(self.columns)
        return tuple(column for column in columns if not chosen or column.name in chosen)


def kinds_of(type_: str) -> tuple[str, ...]:
    """The filters that make sense for columns of a type, the likeliest first."""
    if type_ in NUMBERS:
        return ("equal", "not_equal", "higher_than", "lower_than", *_EMPTY)
    if type_ in TIMES:
        return ("date_is", "date_is_after", "date_is_before", *_EMPTY)
    if type_ == "boolean":
        return ("boolean",)
    if type_ in TEXTS:
        return ("contains", "contains_not", "equal", "not_equal", *_EMPTY)
    if type_ in {"file", "password", "json", "link_row", "multiple_select", "multiple_collaborators"}:
        return _EMPTY
    return ("contains", "contains_not", *_EMPTY)


def read_table_query(args: Mapping[str, str], chosen: Iterable[str], columns: Sequence[peliqan.Column]) -> TableQuery:
    """A request's parameters as a query of this table. ``chosen``: the columns that were asked for.

    Raises:
        BadQuery: with a sentence: a column that the table does not have, a filter that does not fit, a value nobody can read.
    """
    by_name = {column.name: column for column in columns}
    base = read_query(args, list(by_name))
    conditions = tuple(_condition(name, value, by_name) for name, value in args.items() if name.startswith(PREFIX))
    if len(conditions) > MOST_FILTERS:
        raise BadQuery(f"There are {len(conditions)} filters; {MOST_FILTERS} at once are the most.")
    wanted = tuple(dict.fromkeys(chosen))
    for name in wanted:
        _known(name, by_name)
    filters = {each.name: each.value or "1" for each in conditions}
    query = TableQuery(base.q, filters, base.sort, base.page, base.per_page, wanted, conditions)
    searchable = [column for column in query.shown(columns) if column.type not in {"boolean", "password", "file"}]
    if query.q and not searchable:
        # Upstream would answer with all rows (recorded).
        raise BadQuery("None of the columns on the page can be searched: choose one that holds text or numbers.")
    return query


def _condition(name: str, value: str, by_name: Mapping[str, peliqan.Column]) -> Filter:
    column_name, _, kind = name.removeprefix(PREFIX).rpartition("__")
    column = _known(column_name, by_name)
    if kind not in kinds_of(column.type):
        some = ", ".join(kinds_of(column.type))
        raise BadQuery(f"“{column.name[:60]}” cannot be filtered by “{kind[:40]}”. It can be by: {some}.")
    takes, value = KINDS[kind][1], value.strip()
    if len(value) > LONGEST_VALUE:
        raise BadQuery(f"The filter on “{column.name[:60]}” is too long: at most {LONGEST_VALUE} characters.")
    if not takes:
        return Filter(column.name, kind)
    return Filter(column.name, kind, _readable(column, value, "number" if column.type in NUMBERS else takes))


def _readable(column: peliqan.Column, value: str, takes: str) -> str:
    """The value as upstream reads it: what it cannot read it ignores, and then every row matches."""
    told = f"“{value[:40]}” cannot be compared with “{column.name[:60]}”: it takes"
    if not value:
        raise BadQuery(f"The filter on “{column.name[:60]}” has no value.")
    if takes == "number":
        try:
            if Decimal(value).is_finite():
                return value
        except InvalidOperation:
            pass
        raise BadQuery(f"{told} a number, such as 12.50.")
    if takes == "boolean":
        if value.lower() not in {"true", "false"}:
            raise BadQuery(f"{told} true or false.")
        return value.lower()
    if takes == "date":
        return _day(value, told)
    return value


def _day(value: str, told: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise BadQuery(f"{told} a day, such as 2026-03-31.") from None


def _known(name: str, by_name: Mapping[str, peliqan.Column]) -> peliqan.Column:
    if name not in by_name:
        some = ", ".join(list(by_name)[:12])
        raise BadQuery(f"The table has no column “{name[:60]}”. It has: {some[:300]}.")
    return by_name[name]
