"""A whole table as a file. For scripts it is made within the request (``table_files``); for people a job makes it, with its
progress on a page. Either is sent with its length once it is whole."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wsgi import wrap_file

from dashboard import peliqan
from dashboard.app import console
from dashboard.data.files import FORMATS, TextFile, make_file
from dashboard.data.query import TableQuery, read_table_query
from dashboard.data.reading import TableReading
from dashboard.fleet.exports import folder_of
from dashboard.store import audit, exports
from dashboard.store.models import Account, Export
from dashboard.store.text import clean
from dashboard.views import htmx
from dashboard.views.access import requires, visitor
from dashboard.views.accounts import get_account_or_404
from dashboard.views.masking import sight
from dashboard.views.table_files import ClientLeft, make_whole_file

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


@dataclass(frozen=True)
class ExportPage:
    """An export as its page and the polled part of it show it. ``here``: whether its file is on this machine."""

    export: Export
    account: Account
    here: bool

    @property
    def moves(self) -> bool:
        """Whether anything changes by itself."""
        return self.export.state in exports.OPEN


@bp.app_template_global()
def may_export() -> bool:
    """Whether the person who asks may export tables: ``DASHBOARD_EXPORT_ROLE``."""
    return visitor().may(console().settings.dashboard_export_role)


@bp.get(f"{TABLE}/export.csv", endpoint="csv")
@bp.get(f"{TABLE}/export.jsonl", endpoint="jsonl")
@bp.get(f"{TABLE}/export.parquet", endpoint="parquet")
@requires("viewer")
def export(account_id: int, table_id: int) -> ResponseReturnValue:
    """Answer with a whole table, made first and sent with its length; with an error status and no file where that fails."""
    refuse_others(account_id, table_id)
    suffix = request.path.rsplit(".", 1)[-1]
    asked = read_asked(account_id, table_id, suffix, request.args)
    headers = {"Content-Disposition": f'attachment; filename="table-{table_id}.{suffix}"'}
    answer = Response(headers=headers, mimetype=FORMATS[suffix].mimetype)
    if request.method == "HEAD":
        # How long it would be is known only when it is made.
        answer.automatically_set_content_length = False
        return answer
    entry_id = audit.record(
        console().clock(), visitor().email, "export", audit.PENDING, account_id=account_id, detail=asked.in_words
    ).id
    try:
        made = make_whole_file(asked, entry_id)
    except ClientLeft:
        # nginx's number in a log for a client that closed its connection: nobody reads this answer.
        return Response(status=499)
    answer.content_length = os.fstat(made.fileno()).st_size
    answer.response, answer.direct_passthrough = wrap_file(request.environ, made, CHUNK), True
    return answer


@bp.post(f"{TABLE}/exports")
@requires("viewer")
def begin(account_id: int, table_id: int) -> ResponseReturnValue:
    """Have the worker make a file of the table, with the page's filters, sort and columns."""
    refuse_others(account_id, table_id)
    suffix = request.form.get("format", "")
    if suffix not in FORMATS:
        abort(400, f"A table can be had as {', '.join(each.title for each in FORMATS.values())}.")
    asked = read_asked(account_id, table_id, suffix, request.form)
    try:
        export = exports.open_export(
            visitor().user,
            account_id,
            table_id,
            clean(console().api.for_account(account_id).table(table_id).name),
            suffix,
            asked.query.upstream(asked.columns),
            [(column.name, column.result_type, column.decimals) for column in asked.shown],
            asked.hidden,
            asked.in_words,
            console().clock(),
        )
    except exports.TooManyExports as error:
        flash(str(error), "warning")
        return redirect(url_for(".index"), 303)
    console().work.make_file(export)
    return redirect(url_for(".show", export_id=export.id), 303)


@bp.get("/exports")
@requires("viewer")
def index() -> ResponseReturnValue:
    """The person's own exports."""
    return render_template("pages/exports.html", exports=exports.latest_of(visitor().email))


@bp.get("/exports/<int:export_id>")
@requires("viewer")
def show(export_id: int) -> ResponseReturnValue:
    """How far an export is, and its file."""
    return render_template("pages/export.html", page=get_export_or_404(export_id))


@bp.get("/exports/<int:export_id>/progress")
@requires("viewer", poll=True)
def progress(export_id: int) -> ResponseReturnValue:
    """The progress alone, asked for until it is over."""
    page = get_export_or_404(export_id)
    if not htmx.is_htmx():
        return redirect(url_for(".show", export_id=export_id))
    return render_template("fragments/_export_progress.html", page=page)


@bp.post("/exports/<int:export_id>/cancel")
@requires("viewer")
def cancel(export_id: int) -> ResponseReturnValue:
    """Stop an export."""
    page = get_export_or_404(export_id)
    exports.cancel(page.export, visitor().email, console().clock())
    if htmx.is_htmx():
        return render_template("fragments/_export_progress.html", page=page)
    return redirect(url_for(".show", export_id=export_id), 303)


@bp.get("/exports/<int:export_id>/file")
@requires("viewer")
def file(export_id: int) -> ResponseReturnValue:
    """The whole file, with its length, for whoever asked for it."""
    page = get_export_or_404(export_id)
    export = page.export
    refuse_others(export.account_id, export.table_id)
    _ensure_masked(export)
    if export.state != exports.DONE:
        abort(404, "There is no file of this export: it is not ready, or was deleted after a day.")
    if not page.here:
        abort(404, "The file is on the machine whose worker made it. Machines that serve need a common exports folder.")
    audit.record(
        console().clock(), visitor().email, "export_file", audit.DONE, account_id=export.account_id, detail=export.in_words
    )
    name = f"table-{export.table_id}.{export.suffix}"
    return send_file(_path(export), mimetype=FORMATS[export.suffix].mimetype, as_attachment=True, download_name=name)


def get_export_or_404(export_id: int) -> ExportPage:
    """An export of the person who asks; administrators see everybody's. What is masked for one need not be for another."""
    export = exports.export_or_none(export_id)
    if export is None or not (export.who == visitor().email or visitor().may("admin")):
        abort(404, f"You have no export {export_id}.")
    return ExportPage(export, get_account_or_404(export.account_id), _path(export).is_file())


def _ensure_masked(export: Export) -> None:
    """Answer 403 where the file shows a column that is masked for the person now: their role or a mask has changed since."""
    columns = [peliqan.Column(name=name, type=kind) for name, kind, _ in export.columns]
    hidden = sight(export.account_id, export.table_id, columns).hidden
    if shown := [each.name for each in columns if each.name in hidden and each.name not in export.hidden]:
        names = ", ".join(shown)
        abort(
            403, f"This file has columns that are masked for you now: {names}. Show them on the table's page, or export it again."
        )


def _path(export: Export) -> Path:
    return folder_of(console().settings.dashboard_data).resolve() / export.name


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
