"""What all pages share: lists as HTML, JSON and CSV from one view, the templates' filters."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property, lru_cache
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, current_app, g, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from jinja2 import StrictUndefined

from dashboard.actions.models import Refresh
from dashboard.app import console
from dashboard.exports.formats import harmless
from dashboard.fleet.lists import Item
from dashboard.listing.listing import Choice, Listing
from dashboard.listing.query import PAGE_SIZES, BadQuery, ListQuery, Page
from dashboard.peliqan.statuses import severity_of_health, severity_of_run
from dashboard.refresh import passes
from dashboard.reports.overview.queries import accounts_by_reason
from dashboard.users.access import address_asked_for
from dashboard.version import VERSION
from dashboard.web import htmx

CSV_MOST = 100_000
_INT_IN_RULE = re.compile(r"<int:(\w+)>")


@dataclass(frozen=True)
class Coverage:
    """How much of the fleet the snapshot holds, and how old it is: on every page.

    ``outage``: why the last pass was stopped; ``silent_since``: since when Peliqan answers nobody.
    """

    accounts: int
    readable: int
    reasons: Sequence[tuple[str, int]]
    last: Refresh | None
    as_of: datetime | None
    outage: str | None
    silent_since: datetime | None

    @property
    def unreadable(self) -> int:
        """Accounts whose last try failed."""
        return sum(count for _, count in self.reasons)

    @property
    def running(self) -> bool:
        """Whether a pass is under way."""
        return self.last is not None and self.last.ended_at is None

    @property
    def idle(self) -> bool:
        """Whether a pass is under way that no worker goes on with."""
        return self.running and self.last is not None and console().clock() - self.last.alive_at > passes.IDLE_AFTER

    @property
    def seconds_left(self) -> float | None:
        """How long the pass will take at its present rate; None before that can be told."""
        last = self.last
        if last is None or not last.rate or not last.accounts or last.listed_at is None:
            return None
        return (last.accounts - last.done) / last.rate


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
class Shown:
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
        return url_for(f"{self.endpoint}_{extension}", **self.args, **self.page.query.url_args(page=self.page.query.page))

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
class ListPage(Shown):
    """A list of the store's, with its filters and their counts."""

    listing: Listing
    choices: dict[str, list[Choice]]


def answer_list(
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
        return csv_response([item(row) for row in read_whole_list(listing, query)], request.path.rsplit("/", 1)[-1])
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
    return render_template(fragment if htmx.is_htmx() else template, list=shown, beside=beside(page.items), **more)


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


def coverage() -> Coverage:
    """How much of the fleet is known and how old that is; read once a request."""
    if "coverage" not in g:
        g.coverage = _coverage()
    found: Coverage = g.coverage
    return found


def _coverage() -> Coverage:
    by_reason = accounts_by_reason()
    last, complete_at, silent_since = passes.known(console().fleet.outages.host)
    read = sum(by_reason.values()) - sum(count for reason, count in by_reason.items() if reason)
    return Coverage(
        accounts=sum(by_reason.values()),
        readable=read,
        reasons=[(reason, count) for reason, count in by_reason.items() if reason],
        last=last,
        as_of=complete_at,
        outage=last.error if last is not None else None,
        silent_since=silent_since,
    )


@cache
def _pattern(endpoint: str) -> str:
    """The endpoint's path with its numbers in braces."""
    return _INT_IN_RULE.sub(r"{\1}", next(current_app.url_map.iter_rules(endpoint)).rule)


def row_url(endpoint: str, **numbers: int) -> str:
    """What ``url_for`` gives for a page that numbers alone lead to. Lists ask for two a row: a seventh of their time."""
    return request.root_path + _pattern(endpoint).format(**numbers)


def quick_url_for(endpoint: str, **values: Any) -> str:
    """``url_for`` for the templates: it works out anew what each of a page's dozens of plain links and icons is."""
    if endpoint == "static":
        return _static(request.root_path, **values)
    return url_for(endpoint, **values) if values or endpoint.startswith(".") else row_url(endpoint)


@cache
def _static(_root_path: str, filename: str) -> str:
    """As long as the process lives: so do the files' fingerprints."""
    return url_for("static", filename=filename)


def init_app(app: Flask) -> None:
    """Give the templates their filters and what every page shows."""
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(duration=_duration, number=_number, words=_words, host=_host)
    app.jinja_env.globals.update(
        address_asked_for=address_asked_for,
        coverage=coverage,
        severity_of_health=severity_of_health,
        severity_of_run=severity_of_run,
        is_htmx=htmx.is_htmx,
        row_url=row_url,
        url_for=quick_url_for,
        version=VERSION,
    )
    app.context_processor(lambda: {"me": current_user if current_user.is_authenticated else None})


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def _words(value: str) -> str:
    """``saltedge_refresh`` as people read it."""
    return value.replace("_", " ").replace(".", " ")


def _host(url: str) -> str:
    """Of an address, what people tell it by."""
    return urlsplit(url).hostname or url
