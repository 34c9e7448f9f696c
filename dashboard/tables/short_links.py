"""Addresses of a table's page, with a query string of at most ``LONGEST_QUERY`` characters.

If the parameters are longer, they are stored as a view (``tables.saved_views``). ``view=ID`` then
replaces all of them except ``page``. Parameters next to it take precedence: a parameter replaces
all its values, and ``drop=N`` removes the view's parameter number N (from 0, sorted by name). So a
link needs no new view before it is followed. Browsers, proxies and mail programs accept addresses
of 2,000 characters, nginx 8,000.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import abort, url_for
from werkzeug.datastructures import MultiDict

from dashboard import peliqan
from dashboard.context import services
from dashboard.tables import saved_views
from dashboard.tables.filters import KINDS
from dashboard.tables.limits import LONGEST_QUERY
from dashboard.tables.query import PREFIX, TableQuery
from dashboard.tables.saved_views import SavedView
from dashboard.web.lists import ListContext, query_of

# Parameters that an address may have besides conditions; links do not repeat any other.
PARAMETERS = frozenset({"q", "column", "sort", "page", "per_page", "fill"})
# Parameters of the current page, which are not part of the query.
_NOT_STORED = frozenset({"page", "fill"})


@dataclass(frozen=True)
class TableRequest:
    """The query in an address or form: its parameters, with those of the view that it names."""

    args: MultiDict[str, str]
    view: SavedView | None


def read(account_id: int, table_id: int, given: MultiDict[str, str]) -> TableRequest:
    """Return the parameters of a request, with those of its view in place of the view's id.

    The caller checks that the user may see the account. Aborts with 410 if the view is not stored.
    """
    args = {
        name: values
        for name, values in given.to_dict(flat=False).items()
        if name in PARAMETERS or name.startswith(PREFIX)
    }
    if not given.get("view"):
        return TableRequest(MultiDict(args), None)
    vault = services().vault
    view = saved_views.find(
        given["view"], account_id, table_id, vault.decrypt, vault.encrypt, services().clock()
    )
    if view is None:
        abort(
            410,
            "The columns and conditions that this address stands for are not kept: nobody has"
            " opened it for 90 days, it is cut off, or it is another table's. Open the table from"
            " its connection and choose them again.",
        )
    dropped = set(given.getlist("drop"))
    left = {
        name: values
        for number, (name, values) in enumerate(view.args.items())
        if str(number) not in dropped
    }
    return TableRequest(MultiDict({**left, **args}), view)


def plain_args(
    parsed: MultiDict[str, str], given: MultiDict[str, str], columns: Sequence[peliqan.Column]
) -> dict[str, Any] | None:
    """Return the shortest parameters for a form's query; None if they are the shortest already.

    A condition in three fields becomes one parameter; if all columns are chosen, none is named.
    ``given``: as sent; ``parsed``: from ``read``, without the three fields.
    """
    args = parsed.to_dict(flat=False)
    is_every_column = len(columns) > 1 and set(args.get("column", [])) == {
        column.name for column in columns
    }
    if not any(name.startswith("add_") for name in given) and not is_every_column:
        return None
    if is_every_column:
        del args["column"]
    if column := given.get("add_column", ""):
        value = given.get("add_value", "").strip()
        kind = given.get("add_kind", "")
        args[f"{PREFIX}{column}__{kind}"] = [
            value if kind not in KINDS or KINDS[kind].takes else "1"
        ]
        args.pop("page", None)
    return {
        name: values for name, values in args.items() if values != [""] or name.startswith(PREFIX)
    }


def url_of(account_id: int, table_id: int, query: TableQuery) -> str:
    """Return the shortest address of a query's first page.

    Stores a view if the address would be too long; commits then.
    """
    args: dict[str, Any] = _as_lists(query.url_args())
    if is_long(args):
        args = {"view": [_save(account_id, table_id, args).id]}
    return url_for("tables.rows", account_id=account_id, table_id=table_id, **args)


def is_long(args: Mapping[str, Any]) -> bool:
    """Return whether parameters are too long for an address."""
    return len(query_of(args)) > LONGEST_QUERY


@dataclass(frozen=True)
class ShownRows(ListContext):
    """A page of rows, whose addresses are shortened by ``view`` if they are too long."""

    view: SavedView | None = None

    def short_args(self, **changes: Any) -> dict[str, list[str]]:
        """Return the parameters of this page's address with changes; None removes one."""
        args = _as_lists(self.page.query.url_args(**changes))
        if self.view is None or not is_long(args):
            return args
        stored = self.view.args
        dropped = [str(number) for number, name in enumerate(stored) if name not in args]
        extra = {name: values for name, values in args.items() if stored.get(name) != values}
        return {"view": [self.view.id], **({"drop": dropped} if dropped else {}), **extra}

    def fields(self, **changes: Any) -> list[tuple[str, str]]:
        """Return ``short_args`` as hidden fields of a form."""
        return [
            (name, value) for name, values in self.short_args(**changes).items() for value in values
        ]

    def url(self, **changes: Any) -> str:
        """Return the address of this table with the query changed."""
        query = query_of(self.short_args(**changes))
        return f"{self.plain}?{query}" if query else self.plain

    def alternate_url(self, extension: str) -> str:
        """Return the address of the same rows as JSON or CSV."""
        args: dict[str, Any] = {**self.args, **self.short_args(page=self.page.query.page)}
        return url_for(f"{self.endpoint}_{extension}", **args)


def view_for(
    account_id: int, table_id: int, query: TableQuery, view: SavedView | None
) -> SavedView | None:
    """Return the view that a page's links can name; None if they are short enough without one.

    ``view``: the one that the page's address names. A new view is stored if that one does not make
    the links short enough; commits then.
    """
    args = _as_lists(query.url_args())
    if not is_long(args):
        return None
    if view is not None and not is_long(
        {name: values for name, values in args.items() if view.args.get(name) != values}
    ):
        return view
    return _save(account_id, table_id, args)


def _save(account_id: int, table_id: int, args: Mapping[str, list[str]]) -> SavedView:
    stored = {name: values for name, values in args.items() if name not in _NOT_STORED}
    return saved_views.save(
        account_id, table_id, stored, services().vault.encrypt, services().clock()
    )


def _as_lists(args: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        name: value if isinstance(value, list) else [str(value)] for name, value in args.items()
    }
