"""A whole table as a file. For scripts it is sent while it is read; for people a job makes it, with its progress on a page."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, request, stream_with_context
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.app import console
from dashboard.data import parquet
from dashboard.data.files import FORMATS, TextFile, make_file
from dashboard.data.masks import mask
from dashboard.data.query import TableQuery, read_table_query
from dashboard.data.reading import TableChanged, TableReading
from dashboard.store import audit, exports
from dashboard.store.database import db
from dashboard.store.snapshot import clean
from dashboard.views.access import requires, visitor
from dashboard.views.accounts import get_account_or_404
from dashboard.views.masking import sight

bp = Blueprint("exports", __name__)
TABLE = "/accounts/<int:account_id>/tables/<int:table_id>"
CHUNK = 256 * 1024


@dataclass(frozen=True)
class Asked:
    """What somebody wants as a file. ``hidden``: names of the columns whose values they do not see."""

    account_id: int
    table_id: int
    suffix: str
    query: TableQuery
    columns: tuple[peliqan.Column, ...]
    shown: tuple[peliqan.Column, ...]
    hidden: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """For the audit trail: table, format, what was asked of it, what was masked."""
        parts = [f"Table {self.table_id} as {FORMATS[self.suffix].title}"]
        parts += [f"filter: {each.in_words}" for each in self.query.conditions]
        named = {"search": self.query.q, "sort": self.query.sort, "columns": ", ".join(self.query.columns)}
        named["masked"] = ", ".join(self.hidden)
        parts += [f"{name}: {value}" for name, value in named.items() if value]
        return clean("; ".join(parts))[:1200] + "."

    def reading(self) -> TableReading:
        """A reading of the table from its beginning."""
        api = console().api.for_account(self.account_id)
        return TableReading(api, self.table_id, self.query.upstream(self.columns))

    def file(self) -> TextFile:
        """A writer of its format."""
        return make_file(self.suffix, self.shown, self.hidden)


def may_export() -> bool:
    """Whether the person who asks may export tables: ``DASHBOARD_EXPORT_ROLE``."""
    return visitor().may(console().settings.dashboard_export_role)


@bp.get(f"{TABLE}/export.csv", endpoint="csv")
@bp.get(f"{TABLE}/export.jsonl", endpoint="jsonl")
@bp.get(f"{TABLE}/export.parquet", endpoint="parquet")
@requires("viewer")
def export(account_id: int, table_id: int) -> ResponseReturnValue:
    """A whole table for scripts. What fails after the first page cuts the connection: a file that ended well is whole."""
    refuse_others(account_id, table_id)
    suffix = request.path.rsplit(".", 1)[-1]
    asked = read_asked(account_id, table_id, suffix, request.args)
    headers = {"Content-Disposition": f'attachment; filename="table-{table_id}.{suffix}"'}
    if request.method == "HEAD":
        return Response(headers=headers, mimetype=FORMATS[suffix].mimetype)
    entry_id = audit.record(
        console().clock(), visitor().email, "export", audit.PENDING, account_id=account_id, detail=asked.in_words
    ).id
    sending = Sending(asked, entry_id)
    body = sending.begin()
    if suffix == "parquet":
        content = sending.as_parquet(body)
        headers["Content-Length"] = str(content.size)
        body = content.chunks()
    return Response(stream_with_context(body), headers=headers, mimetype=FORMATS[suffix].mimetype)


def refuse_others(account_id: int, table_id: int) -> None:
    """A 403 with a sentence, and an entry in the audit trail, for whoever may not export."""
    if may_export():
        return
    least = console().settings.dashboard_export_role
    detail = f"Table {table_id}: exports need the role {least}; has {visitor().user.role}."
    audit.record(console().clock(), visitor().email, "export", audit.REFUSED, account_id=account_id, detail=detail)
    abort(403, f"Exporting whole tables needs the role {least} here; yours is {visitor().user.role}.")


def read_asked(account_id: int, table_id: int, suffix: str, args: Any) -> Asked:
    """What is asked for, checked against the table's columns.

    Raises:
        BadQuery: a filter, sort or column that the table does not have.
        PeliqanError: its columns cannot be had.
    """
    get_account_or_404(account_id)
    columns = console().api.for_account(account_id).columns(table_id)
    query = read_table_query(args, args.getlist("column"), columns)
    hidden = tuple(sight(account_id, table_id, columns).hidden)
    return Asked(account_id, table_id, suffix, query, columns, query.shown(columns), hidden)


@dataclass(frozen=True)
class Whole:
    """A file that is whole, open and without a name: it is gone once it is closed."""

    file: Any
    size: int

    def chunks(self) -> Iterator[bytes]:
        """Its content; closed after it, or when nobody takes more."""
        with self.file:
            yield from iter(partial(self.file.read, CHUNK), b"")


class Sending:
    """One export while it is sent: its end, however it comes, is in the audit trail."""

    def __init__(self, asked: Asked, entry_id: int) -> None:
        self._asked, self._entry_id = asked, entry_id
        self._reading, self._file = asked.reading(), asked.file()

    def begin(self) -> Iterator[bytes]:
        """Read the first page now, so that what is wrong from the start is said with its status; the rest as it is taken.

        Raises:
            PeliqanError: the first page cannot be had.
        """
        pages = self._reading.pages()
        try:
            first = next(pages, ())
        except Exception as error:
            self._settle(audit.FAILED, _why(error))
            raise
        return self._body(first, pages)

    def as_parquet(self, body: Iterator[bytes]) -> Whole:
        """The whole file: its types are known only after the last row.

        Raises:
            PeliqanError, TableChanged, NotMade: it could not be read to its end, or not be written.
        """
        folder = console().settings.dashboard_data
        with tempfile.TemporaryDirectory(prefix="export-", dir=folder) as place:
            lines, target = Path(place) / "lines", Path(place) / "table.parquet"
            with lines.open("wb") as file:
                file.writelines(body)
            try:
                parquet.make(lines, target)
            except parquet.NotMade as error:
                self._settle(audit.FAILED, str(error))
                raise
            return Whole(target.open("rb"), target.stat().st_size)

    def _body(self, first: Any, pages: Iterator[Any]) -> Iterator[bytes]:
        hidden = self._asked.hidden
        result, why = audit.FAILED, "It was cut off by whoever asked for it."
        # An answer may take minutes to send; meanwhile others need the database's connection.
        db.session.rollback()
        try:
            yield self._file.head()
            yield self._file.lines([mask(row, hidden) for row in first])
            for rows in pages:
                yield self._file.lines([mask(row, hidden) for row in rows])
            result, why = audit.DONE, ""
        except Exception as error:
            why = _why(error)
            raise
        finally:
            self._settle(result, why)

    def _settle(self, result: str, why: str) -> None:
        told = self._reading.told
        said = [f"{told.read:,} rows.", why, *told.remarks, *self._file.remarks]
        exports.settle_entry(self._entry_id, result, " ".join(part for part in said if part), console().clock())


def _why(error: Exception) -> str:
    """What ended it, without anything of the rows."""
    if isinstance(error, peliqan.PeliqanError):
        return error.sentence
    return str(error) if isinstance(error, TableChanged) else f"{type(error).__name__}."
