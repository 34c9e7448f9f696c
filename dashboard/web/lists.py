"""What all pages share: lists as HTML, JSON and CSV from one view, the templates' filters."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.core.text import harmless
from dashboard.listing.listing import Choice, Item, Listing
from dashboard.listing.query import PAGE_SIZES, BadQuery, ListQuery, Page
from dashboard.web import htmx
from dashboard.web.coverage import coverage

CSV_MOST = 100_000


# As Flask's ``url_for`` writes a query.
_SAFE = "!$'()*,/:;?@"


@lru_cache(256)
def _encoded(name: str, values: tuple[str, ...]) -> str:
    return urlencode([(name, value) for value in values], safe=_SAFE)


def query_of(args: Mapping[str, Any]) -> str:
    """Parameters as they stand in an address; lists are there once for each value."""
    asked, repeated = [], []
    for name, value in args.items():
        if isinstance(value, list):
            # The columns that were chosen of a wide table are the longest part of dozens of links.
            repeated.append(_encoded(name, tuple(value)))
        else:
            asked.append((name, value))
    return "&".join([urlencode(asked, safe=_SAFE), *repeated] if asked else repeated)


@dataclass(frozen=True)
class ListContext:
    """One page of any list as a template shows it: with the addresses of its neighbours. ``args``: of the path."""

    endpoint: str
    args: dict[str, Any]
    page: Page[Any]
    default_sort: str

    @cached_property
    def plain(self) -> str:
        """This list with nothing asked of it."""
        return url_for(self.endpoint, **self.args)

    def url(self, **changes: Any) -> str:
        """This list with the query changed."""
        query = query_of(self.page.query.url_args(**changes))
        return f"{self.plain}?{query}" if query else self.plain

    def twin(self, extension: str) -> str:
        """The same list for scripts."""
        return url_for(
            f"{self.endpoint}_{extension}",
            **self.args,
            **self.page.query.url_args(page=self.page.query.page),
        )

    def sort_url(self, name: str) -> str:
        """Sorted by this column, or the other way round where it is already."""
        return self.url(sort=f"-{name}" if self.sorted_by == name else name)

    @property
    def sorted_by(self) -> str:
        """The sort in force, ``-`` in front for descending."""
        return self.page.query.sort or self.default_sort

    @property
    def page_sizes(self) -> tuple[int, ...]:
        """What may be chosen."""
        return PAGE_SIZES


@dataclass(frozen=True)
class ListPage(ListContext):
    """A list of the store's, with its filters and their counts."""

    listing: Listing
    choices: dict[str, list[Choice]]


def render_list(
    listing: Listing,
    item: Item,
    template: str,
    fragment: str,
    *,
    beside: Callable[[list[Any]], Any] = lambda rows: None,
    **more: Any,
) -> ResponseReturnValue:
    """One list from one request: a page, the fragment htmx asks for, JSON or CSV, by the path's ending.

    ``beside``: what the template is given as ``beside``, worked out for the rows of the page.
    """
    query = listing.read(request.args)
    if request.path.endswith(".csv"):
        return csv_response(
            [item(row) for row in read_whole_list(listing, query)], request.path.rsplit("/", 1)[-1]
        )
    page = listing.page(query, whole=request.path.endswith(".json"))
    if request.path.endswith(".json"):
        as_of = coverage().as_of
        return jsonify(
            items=[item(row) for row in page.items],
            page=query.page,
            per_page=query.per_page,
            total=page.total,
            as_of=as_of.isoformat().replace("+00:00", "Z") if as_of else None,
        )
    place = request.endpoint or "", request.view_args or {}
    shown = ListPage(*place, page, listing.default_sort, listing, listing.choices(page))
    return render_template(
        fragment if htmx.is_htmx() else template, list=shown, beside=beside(page.items), **more
    )


def read_whole_list(listing: Listing, query: ListQuery) -> list[Any]:
    """Read every row that matches, for a CSV file.

    Raises:
        BadQuery: more than ``CSV_MOST`` match; a file of a part of them would look whole.
    """
    page = listing.page(replace(query, page=1, per_page=CSV_MOST), whole=True)
    if page.total > CSV_MOST:
        raise BadQuery(
            f"The list has {page.total:,} rows, and a CSV file holds {CSV_MOST:,} at most. No file was made. Narrow the list by a"
            " search or a filter, or fetch its .json page by page."
        )
    return page.items


def csv_response(items: Sequence[dict[str, Any]], name: str) -> Response:
    """Rows as CSV with formulas made harmless."""
    out = io.StringIO()
    if items:
        writer = csv.writer(out)
        # Columns may be a customer's own, too.
        writer.writerow([csv_cell(name) for name in items[0]])
        writer.writerows([csv_cell(row[name]) for name in items[0]] for row in items)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(out.getvalue(), mimetype="text/csv", headers=headers)


def csv_cell(value: Any) -> Any:
    """A value as CSV holds it: numbers as they are, text that a spreadsheet would run made harmless."""
    if isinstance(value, dict):
        value = "; ".join(f"{key} {count}" for key, count in value.items())
    return harmless(str(value)) if isinstance(value, (str, list, tuple)) else value
