"""What is asked of a list, and one page of the answer: what the address says, read and checked.

The URL is the state: ``read_query`` makes a query of its parameters, ``ListQuery.url_args`` gives them back, changed where asked.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from dashboard.core.text import comparable, meant

PAGE_SIZES = (25, 50, 100, 200)
LONGEST_SEARCH = 200
# As long as an e-mail address, the longest of what lists are filtered by: it stands in every link of the page.
LONGEST_FILTER = 254
Row = TypeVar("Row")
# Names of filters, and how many rows have which values of them.
Counted = tuple[list[str], dict[tuple[str | None, ...], int]]


class BadQuery(ValueError):
    """A parameter that cannot be read; the message is a sentence for the person who typed it."""


class NoSuchPage(LookupError):
    """A page past the end; ``last`` is the last that there is."""

    def __init__(self, page: int, last: int) -> None:
        self.page, self.last = page, last
        super().__init__(f"There is no page {page}; the last one is {last}.")


class Allowed(Protocol):
    """What a filter's value may be (``choices`` None: any word; ``number``: a whole number)."""

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The words that it may be."""

    @property
    def number(self) -> bool:
        """Whether it must be a whole number."""


@dataclass(frozen=True)
class ListQuery:
    """What was asked of a list. ``sort`` is a sort's name, with ``-`` in front for descending."""

    q: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    sort: str = ""
    page: int = 1
    per_page: int = 50

    def url_args(self, **changes: Any) -> dict[str, Any]:
        """The query as URL parameters with ``changes`` made (None removes one); another filter or sort begins on page 1."""
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
        """Whether anything is searched or filtered, so that "clear all" has something to do."""
        return bool(self.q or self.filters)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of a list, with what a pager needs. A page past the end is ``NoSuchPage``."""

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
    """A request's parameters as a query of a list that can be sorted by ``sorts``. Unknown parameters are left alone.

    ``sorts`` None: the caller checks ``sort``, which is taken as it is.

    Raises:
        BadQuery: with a sentence that names the parameter.
    """
    q = args.get("q", "").strip()
    if len(q) > LONGEST_SEARCH:
        raise BadQuery(f"The search text is too long: at most {LONGEST_SEARCH} characters.")
    if "\0" in "".join(args.values()):
        raise BadQuery("The address has a NUL character, which no name or id contains.")
    if not comparable(q):
        # Nothing but characters that nobody sees.
        q = ""
    sort = args.get("sort", "")
    if sort and sorts is not None and sort not in sorts and sort.removeprefix("-") not in sorts:
        some = ", ".join(list(sorts)[:12])
        raise BadQuery(f"The list cannot be sorted by “{sort[:40]}”. It can be by: {some[:300]}.")
    chosen = {name: args[name] for name in filters if args.get(name)}
    for name, value in chosen.items():
        if len(value) > LONGEST_FILTER:
            raise BadQuery(
                f"That {name} is too long to filter by: at most {LONGEST_FILTER} characters."
            )
        choices = filters[name].choices
        if choices is not None:
            choice = meant(value, choices)
            if choice is None:
                raise BadQuery(f"“{value[:40]}” is no {name}. There are: {', '.join(choices)}.")
            chosen[name] = choice
        if filters[name].number:
            whole_number(name, value, 2**63 - 1)
    per_page = whole_number("per_page", args.get("per_page") or "50", PAGE_SIZES[-1])
    return ListQuery(
        q, chosen, sort, whole_number("page", args.get("page") or "1", 10**15), per_page
    )


def whole_number(name: str, value: str, most: int) -> int:
    """A parameter as a whole number from 1 to ``most``.

    Raises:
        BadQuery: it is none.
    """
    if not (value.isascii() and value.isdigit() and len(value) <= 19 and 1 <= int(value) <= most):
        raise BadQuery(f"“{value[:40]}” is no {name}: it must be a whole number from 1 to {most}.")
    return int(value)
