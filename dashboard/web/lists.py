"""Lists of all pages: HTML, JSON and CSV from one view."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.listing.csv_file import csv_text, read_full_list
from dashboard.listing.limits import PAGE_SIZES
from dashboard.listing.listing import Choice, Item, Listing
from dashboard.listing.query import Page
from dashboard.web import htmx
from dashboard.web.status_banner import coverage

# The characters that Flask's ``url_for`` leaves unquoted in a query.
_SAFE = "!$'()*,/:;?@"


def query_of(args: Mapping[str, Any]) -> str:
    """Return parameters as a query string; each value of a list is a parameter of its own."""
    single = [(name, value) for name, value in args.items() if not isinstance(value, list)]
    repeated = [
        (name, value)
        for name, values in args.items()
        if isinstance(values, list)
        for value in values
    ]
    return urlencode([*single, *repeated], safe=_SAFE)


@dataclass(frozen=True)
class ListContext:
    """A page of any list for its template, with the addresses of its other pages and formats.

    ``args``: the variables of its path.
    """

    endpoint: str
    args: dict[str, Any]
    page: Page[Any]
    default_sort: str

    @cached_property
    def plain(self) -> str:
        """Return the list's address without a query."""
        return url_for(self.endpoint, **self.args)

    def url(self, **changes: Any) -> str:
        """Return the list's address with parameters of its query changed."""
        query = query_of(self.page.query.url_args(**changes))
        return f"{self.plain}?{query}" if query else self.plain

    def alternate_url(self, extension: str) -> str:
        """Return the address of the list as JSON or CSV."""
        return url_for(
            f"{self.endpoint}_{extension}",
            **self.args,
            **self.page.query.url_args(page=self.page.query.page),
        )

    def sort_url(self, name: str) -> str:
        """Return the address of the list sorted by this column, reversed if it is already."""
        return self.url(sort=f"-{name}" if self.sorted_by == name else name)

    @property
    def sorted_by(self) -> str:
        """Return the current sort; ``-`` in front means descending."""
        return self.page.query.sort or self.default_sort

    @property
    def page_sizes(self) -> tuple[int, ...]:
        """Return the page sizes to choose from."""
        return PAGE_SIZES


@dataclass(frozen=True)
class ListPage(ListContext):
    """A page of a database list, with its filters and their counts."""

    listing: Listing
    choices: dict[str, list[Choice]]


def render_list(
    listing: Listing,
    item: Item,
    template: str,
    fragment: str,
    *,
    extra: Callable[[list[Any]], Any] = lambda rows: None,
    **more: Any,
) -> ResponseReturnValue:
    """Render a list as page, htmx fragment, JSON or CSV, by the ending of the request's path.

    ``extra``: computes the template variable ``beside`` from the rows of the page.
    """
    query = listing.read(request.args)
    if request.path.endswith(".csv"):
        return csv_response(
            [item(row) for row in read_full_list(listing, query)], request.path.rsplit("/", 1)[-1]
        )
    page = listing.page(query, full=request.path.endswith(".json"))
    if request.path.endswith(".json"):
        as_of = coverage().as_of
        return jsonify(
            items=[item(row) for row in page.items],
            page=query.page,
            per_page=query.per_page,
            total=page.total,
            as_of=as_of.isoformat().replace("+00:00", "Z") if as_of else None,
        )
    shown = ListPage(
        request.endpoint or "",
        request.view_args or {},
        page,
        listing.default_sort,
        listing,
        listing.choices(page),
    )
    return render_template(
        fragment if htmx.is_htmx() else template, list=shown, beside=extra(page.items), **more
    )


def csv_response(items: Sequence[dict[str, Any]], name: str) -> Response:
    """Return rows as a CSV file, with formulas made harmless."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(csv_text(items), mimetype="text/csv", headers=headers)
