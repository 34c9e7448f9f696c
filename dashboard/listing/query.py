"""Queries of lists: parameters of an address, read and checked, and one page of the result.

The address is the state: ``read_query`` reads its parameters, ``ListQuery.url_args`` writes them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from dashboard.core.text import comparable, meant
from dashboard.listing.limits import LONGEST_FILTER, LONGEST_SEARCH, PAGE_SIZES

Row = TypeVar("Row")
# Names of filters, and the number of rows by the tuple of their values.
Counted = tuple[list[str], dict[tuple[str | None, ...], int]]


class BadQuery(ValueError):
    """An invalid parameter; the message is a sentence for the user."""


class NoSuchPage(LookupError):
    """A page past the end. ``last``: the last page."""

    def __init__(self, page: int, last: int) -> None:
        self.page, self.last = page, last
        super().__init__(f"There is no page {page}; the last one is {last}.")


class Allowed(Protocol):
    """The allowed values of a filter."""

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The allowed values; None: any text."""

    @property
    def number(self) -> bool:
        """Whether the value must be a whole number."""


@dataclass(frozen=True)
class ListQuery:
    """A query of a list. ``sort``: a sort's name, with a leading ``-`` for descending."""

    q: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    sort: str = ""
    page: int = 1
    per_page: int = 50

    def url_args(self, **changes: Any) -> dict[str, Any]:
        """Return the query as URL parameters with ``changes``; None removes a parameter.

        The page becomes 1 unless ``changes`` has one.
        """
        args: dict[str, Any] = {
            "q": self.q,
            **self.filters,
            "sort": self.sort,
            "page": self.page,
            "per_page": self.per_page,
        }
        if "page" not in changes:
            args["page"] = 1
        args.update(changes)
        defaults = {"page": 1, "per_page": 50, "sort": "", "q": ""}
        return {
            name: value
            for name, value in args.items()
            if value not in (None, "") and defaults.get(name) != value
        }

    @property
    def is_narrowed(self) -> bool:
        """Whether there is a search or a filter to clear."""
        return bool(self.q or self.filters)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of a list. Raises ``NoSuchPage`` for a page past the end."""

    items: list[Row]
    total: int
    query: ListQuery
    counted: Counted = field(default_factory=lambda: ([], {}))

    def __post_init__(self) -> None:
        if self.query.page > self.last:
            raise NoSuchPage(self.query.page, self.last)

    @property
    def last(self) -> int:
        """Number of the last page; 1 for an empty list."""
        return max(1, -(-self.total // self.query.per_page))

    @property
    def first_shown(self) -> int:
        """Position of the first item shown, from 1; 0 for an empty list."""
        return (self.query.page - 1) * self.query.per_page + 1 if self.items else 0

    @property
    def last_shown(self) -> int:
        """Position of the last item shown."""
        return self.first_shown + len(self.items) - 1 if self.items else 0


def read_query(
    args: Mapping[str, str], sorts: Collection[str] | None, filters: Mapping[str, Allowed] = {}
) -> ListQuery:
    """Return the query of a request. Ignores unknown parameters.

    ``sorts``: names of allowed sorts; None: the caller checks the sort.

    Raises:
        BadQuery: A parameter is invalid; the message names it.
    """
    q = args.get("q", "").strip()
    if len(q) > LONGEST_SEARCH:
        raise BadQuery(f"The search text is too long: at most {LONGEST_SEARCH} characters.")
    if "\0" in "".join(args.values()):
        raise BadQuery("The address has a NUL character, which no name or id contains.")
    if not comparable(q):
        # Only invisible characters.
        q = ""
    sort = args.get("sort", "")
    if sort and sorts is not None and sort not in sorts and sort.removeprefix("-") not in sorts:
        some = ", ".join(list(sorts)[:12])
        raise BadQuery(f"The list cannot be sorted by “{sort[:40]}”. It can be by: {some[:300]}.")
    chosen = {
        name: _read_filter(name, args[name], allowed)
        for name, allowed in filters.items()
        if args.get(name)
    }
    per_page = read_integer("per_page", args.get("per_page") or "50", PAGE_SIZES[-1])
    return ListQuery(
        q, chosen, sort, read_integer("page", args.get("page") or "1", 10**15), per_page
    )


def _read_filter(name: str, value: str, allowed: Allowed) -> str:
    """Return a filter's value, in the spelling of the allowed values if there are any."""
    if len(value) > LONGEST_FILTER:
        raise BadQuery(
            f"That {name} is too long to filter by: at most {LONGEST_FILTER} characters."
        )
    if allowed.choices is not None:
        choice = meant(value, allowed.choices)
        if choice is None:
            raise BadQuery(f"“{value[:40]}” is no {name}. There are: {', '.join(allowed.choices)}.")
        value = choice
    if allowed.number:
        read_integer(name, value, 2**63 - 1)
    return value


def read_integer(name: str, value: str, most: int) -> int:
    """Return a parameter as a whole number.

    Raises:
        BadQuery: The value is no whole number from 1 to ``most``.
    """
    if not (value.isascii() and value.isdigit() and len(value) <= 19 and 1 <= int(value) <= most):
        raise BadQuery(f"“{value[:40]}” is no {name}: it must be a whole number from 1 to {most}.")
    return int(value)
