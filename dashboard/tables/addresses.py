"""Addresses of a table's page, at most ``LONGEST`` characters of query: what is longer is kept (``tables.saved_views``).

``view=ID`` stands for the parameters that are kept, all but ``page``. What stands beside it goes over them: a parameter replaces
all its values, and ``drop=N`` leaves out the kept parameter at that place, counted from 0 by name. So no link has to be kept
before somebody follows it. Browsers, proxies and mail programs take addresses of 2,000 characters; nginx 8,000.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import abort, url_for
from werkzeug.datastructures import MultiDict

from dashboard import peliqan
from dashboard.context import services
from dashboard.tables import saved_views as table_views
from dashboard.tables.filters import KINDS
from dashboard.tables.query import PREFIX, TableQuery
from dashboard.tables.saved_views import SavedView
from dashboard.web.lists import ListContext, query_of

LONGEST = 1_000
# What an address may say beside conditions; nothing else goes from one to the next.
ASKED = frozenset({"q", "column", "sort", "page", "per_page", "fill"})
# Of the page that is looked at, not of what is asked.
_NOT_KEPT = frozenset({"page", "fill"})


@dataclass(frozen=True)
class TableRequest:
    """What an address or a form asks of a table: ``args`` with the view's own among them, and the view, if it names one."""

    args: MultiDict[str, str]
    kept: SavedView | None


def read(account_id: int, table_id: int, given: MultiDict[str, str]) -> TableRequest:
    """Put the parameters of a view in the place of its id. Aborts with 410 where the view is not kept any more.

    The caller has checked that the person may see the account.
    """
    args = {
        name: values
        for name, values in given.to_dict(flat=False).items()
        if name in ASKED or name.startswith(PREFIX)
    }
    if not given.get("view"):
        return TableRequest(MultiDict(args), None)
    vault = services().vault
    kept = table_views.find(
        given["view"], account_id, table_id, vault.decrypt, vault.encrypt, services().clock()
    )
    if kept is None:
        abort(
            410,
            "The columns and conditions that this address stands for are not kept: nobody has opened it for 90 days, it is cut"
            " off, or it is another table's. Open the table from its connection and choose them again.",
        )
    dropped = set(given.getlist("drop"))
    left = {
        name: values
        for place, (name, values) in enumerate(kept.args.items())
        if str(place) not in dropped
    }
    return TableRequest(MultiDict({**left, **args}), kept)


def plain_args(
    asked: MultiDict[str, str], given: MultiDict[str, str], columns: Sequence[peliqan.Column]
) -> dict[str, Any] | None:
    """What a form asks: a condition in three fields becomes one parameter, all columns become none chosen.

    ``asked``: as it was ``given``, without those fields. None where it is plain already.
    """
    args = asked.to_dict(flat=False)
    everything = len(columns) > 1 and set(args.get("column", [])) == {
        column.name for column in columns
    }
    if not any(name.startswith("add_") for name in given) and not everything:
        return None
    if everything:
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


def address(account_id: int, table_id: int, query: TableQuery) -> str:
    """The shortest address of a query, from its first page on; keeps it where that is needed. Commits."""
    args: dict[str, Any] = _as_lists(query.url_args())
    if is_long(args):
        args = {"view": [_keep(account_id, table_id, args).id]}
    return url_for("tables.rows", account_id=account_id, table_id=table_id, **args)


def is_long(args: Mapping[str, Any]) -> bool:
    """Whether parameters are too long for an address."""
    return len(query_of(args)) > LONGEST


@dataclass(frozen=True)
class ShownRows(ListContext):
    """One page of rows with the addresses of its neighbours; those are short by ``kept``, where they have to be."""

    kept: SavedView | None = None

    def short_args(self, **changes: Any) -> dict[str, list[str]]:
        """The parameters of this page's address with the query changed (None removes one)."""
        args = _as_lists(self.page.query.url_args(**changes))
        if self.kept is None or not is_long(args):
            return args
        gone = [str(place) for place, name in enumerate(self.kept.args) if name not in args]
        beside = {
            name: values for name, values in args.items() if self.kept.args.get(name) != values
        }
        return {"view": [self.kept.id], **({"drop": gone} if gone else {}), **beside}

    def fields(self, **changes: Any) -> list[tuple[str, str]]:
        """The same for hidden fields of a form."""
        return [
            (name, value) for name, values in self.short_args(**changes).items() for value in values
        ]

    def url(self, **changes: Any) -> str:
        """This table with the query changed."""
        query = query_of(self.short_args(**changes))
        return f"{self.plain}?{query}" if query else self.plain

    def twin(self, extension: str) -> str:
        """The same rows for scripts."""
        args: dict[str, Any] = {**self.args, **self.short_args(page=self.page.query.page)}
        return url_for(f"{self.endpoint}_{extension}", **args)


def kept_for(
    account_id: int, table_id: int, query: TableQuery, kept: SavedView | None
) -> SavedView | None:
    """The view that links of a page can name: the one that its address names, a new one, or none. Commits where it is new."""
    args = _as_lists(query.url_args())
    if not is_long(args):
        return None
    if kept is not None and not is_long(
        {name: values for name, values in args.items() if kept.args.get(name) != values}
    ):
        return kept
    return _keep(account_id, table_id, args)


def _keep(account_id: int, table_id: int, args: Mapping[str, list[str]]) -> SavedView:
    asked = {name: values for name, values in args.items() if name not in _NOT_KEPT}
    return table_views.save(
        account_id, table_id, asked, services().vault.encrypt, services().clock()
    )


def _as_lists(args: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        name: value if isinstance(value, list) else [str(value)] for name, value in args.items()
    }
