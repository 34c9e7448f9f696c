"""Exports of complete tables as files.

For scripts the file is made within the request (``table_files``); for users a worker makes it, with
its progress on a page. Both are sent with their length once they are complete.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.wsgi import wrap_file

from dashboard import peliqan
from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.text import clean
from dashboard.exports import service as exports
from dashboard.exports.formats import FORMATS, TextFile, make_file
from dashboard.exports.jobs import folder_of
from dashboard.exports.models import Export
from dashboard.exports.table_files import ClientLeft, make_complete_file
from dashboard.exports.tasks import write_export
from dashboard.fleet.models import Account
from dashboard.masking.presenters import masking_context
from dashboard.tables import short_links
from dashboard.tables.filters import KINDS
from dashboard.tables.presenters import read_query
from dashboard.tables.query import TableQuery
from dashboard.tables.reader import TableReading
from dashboard.users.authentication import recheck_access, visitor
from dashboard.web import htmx
from dashboard.web.lookup import get_account_or_404
from dashboard.web.required_role import requires

bp = Blueprint("exports", __name__)
TABLE = "/accounts/<int:account_id>/tables/<int:table_id>"
CHUNK = 256 * 1024


@dataclass(frozen=True)
class ExportRequest:
    """A requested export. ``hidden``: names of the columns that are masked for the user."""

    account_id: int
    table_id: int
    suffix: str
    query: TableQuery
    columns: tuple[peliqan.Column, ...]
    shown: tuple[peliqan.Column, ...]
    hidden: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """The request as a sentence for the audit trail: table, format, query and masked columns.

        Values that masked columns are compared with are left out.
        """
        parts = [f"Table {self.table_id} as {FORMATS[self.suffix].title}"]
        for each in self.query.conditions:
            words = (
                f"{each.column} {KINDS[each.kind].words} a value"
                if each.column in self.query.compared
                else each.in_words
            )
            parts.append(f"filter: {words}")
        named = {
            "search": self.query.q,
            "sort": self.query.sort,
            "columns": ", ".join(self.query.columns),
        }
        named["masked"] = ", ".join(self.hidden)
        parts += [f"{name}: {value}" for name, value in named.items() if value]
        return clean("; ".join(parts))[:1200] + "."

    def reading(self) -> TableReading:
        """Return a reading of the table from its first page."""
        api = services().api.for_account(self.account_id)
        return TableReading(api, self.table_id, self.query.upstream(self.columns))

    def file(self) -> TextFile:
        """Return a writer of the file's format."""
        return make_file(self.suffix, self.shown, self.hidden)


@dataclass(frozen=True)
class ExportPage:
    """The context of an export's page and of its polled fragment.

    ``here``: whether the file is on this machine. ``refusal``: why the user does not get the file;
    empty if they do.
    """

    export: Export
    account: Account
    here: bool
    refusal: str

    @property
    def moves(self) -> bool:
        """Whether the export is waiting or running."""
        return self.export.state in exports.OPEN


@bp.app_template_global()
def may_export() -> bool:
    """Return whether the user's role may export tables (``DASHBOARD_EXPORT_ROLE``)."""
    return visitor().may(services().settings.dashboard_export_role)


@bp.get(f"{TABLE}/export.csv", endpoint="csv")
@bp.get(f"{TABLE}/export.jsonl", endpoint="jsonl")
@bp.get(f"{TABLE}/export.parquet", endpoint="parquet")
@requires("viewer")
def export(account_id: int, table_id: int) -> ResponseReturnValue:
    """Send a complete table as a file with its length.

    An error results in an error status and no file.
    """
    check_export_role(account_id, table_id)
    suffix = request.path.rsplit(".", 1)[-1]
    wanted = read_export_request(account_id, table_id, suffix, request.args)
    headers = {"Content-Disposition": f'attachment; filename="table-{table_id}.{suffix}"'}
    response = Response(headers=headers, mimetype=FORMATS[suffix].mimetype)
    if request.method == "HEAD":
        # The length is known only after the file is made.
        response.automatically_set_content_length = False
        return response
    entry_id = audit.record(
        services().clock(),
        visitor().email,
        "export",
        audit.PENDING,
        account_id=account_id,
        detail=wanted.in_words,
    ).id
    try:
        made = make_complete_file(wanted, entry_id)
    except ClientLeft:
        # nginx's status in logs for a client that closed its connection, which gets no response.
        return Response(status=499)
    try:
        ended = _check_again(wanted)
    except BaseException:
        made.close()
        raise
    if ended is not None:
        made.close()
        return ended
    response.content_length = os.fstat(made.fileno()).st_size
    response.response, response.direct_passthrough = wrap_file(request.environ, made, CHUNK), True
    return response


@bp.post(f"{TABLE}/exports")
@requires("viewer")
def begin(account_id: int, table_id: int) -> ResponseReturnValue:
    """Start an export of the table, with the page's filters, sort and columns."""
    check_export_role(account_id, table_id)
    suffix = request.form.get("format", "")
    if suffix not in FORMATS:
        abort(400, f"A table can be had as {', '.join(each.title for each in FORMATS.values())}.")
    wanted = read_export_request(account_id, table_id, suffix, request.form)
    new = exports.NewExport(
        account_id=account_id,
        table_id=table_id,
        table_name=clean(services().api.for_account(account_id).table(table_id).name),
        suffix=suffix,
        asked=wanted.query.upstream(wanted.columns),
        columns=[(column.name, column.result_type, column.decimals) for column in wanted.shown],
        hidden=wanted.hidden,
        in_words=wanted.in_words,
        disclosed=_disclosed(wanted),
    )
    try:
        export = exports.open_export(visitor().user, new, services().clock())
    except exports.TooManyExports as error:
        flash(str(error), "warning")
        return redirect(url_for(".index"), 303)
    write_export.enqueue_when_due(export)
    return redirect(url_for(".show", export_id=export.id), 303)


@bp.get("/exports")
@requires("viewer")
def index() -> ResponseReturnValue:
    """Show the user's exports."""
    return render_template("exports/exports.html", exports=exports.latest_of(visitor().email))


@bp.get("/exports/<int:export_id>")
@requires("viewer")
def show(export_id: int) -> ResponseReturnValue:
    """Show the progress of an export, and its file."""
    return render_template("exports/export.html", page=get_export_or_404(export_id))


@bp.get("/exports/<int:export_id>/progress")
@requires("viewer", poll=True)
def progress(export_id: int) -> ResponseReturnValue:
    """Show the progress as a fragment, which the page polls until the export has ended."""
    page = get_export_or_404(export_id)
    if not htmx.is_htmx():
        return redirect(url_for(".show", export_id=export_id))
    return render_template("exports/_progress.html", page=page)


@bp.post("/exports/<int:export_id>/cancel")
@requires("viewer")
def cancel(export_id: int) -> ResponseReturnValue:
    """Cancel an export."""
    page = get_export_or_404(export_id)
    exports.cancel(page.export, visitor().email, services().clock())
    if htmx.is_htmx():
        return render_template("exports/_progress.html", page=page)
    return redirect(url_for(".show", export_id=export_id), 303)


@bp.get("/exports/<int:export_id>/file")
@requires("viewer")
def file(export_id: int) -> ResponseReturnValue:
    """Send the complete file with its length, to the user who exported it or an administrator."""
    page = get_export_or_404(export_id)
    export = page.export
    check_export_role(export.account_id, export.table_id)
    if export.state != exports.DONE:
        abort(404, "There is no file of this export: it is not ready, or was deleted after a day.")
    if not page.here:
        abort(
            404,
            "The file is on the machine whose worker made it."
            " Machines that serve need a common exports folder.",
        )
    _check_disclosure(export.account_id, page.refusal, export.in_words)
    audit.record(
        services().clock(),
        visitor().email,
        "export_file",
        audit.DONE,
        account_id=export.account_id,
        detail=export.in_words,
    )
    name = f"table-{export.table_id}.{export.suffix}"
    return send_file(
        _path(export),
        mimetype=FORMATS[export.suffix].mimetype,
        as_attachment=True,
        download_name=name,
    )


def get_export_or_404(export_id: int) -> ExportPage:
    """Return an export of the user, or of anyone for an administrator; abort with 404 otherwise.

    Not for other users, because what is masked for them can be unmasked in the file.
    """
    export = exports.export_or_none(export_id)
    if export is None or not (export.who == visitor().email or visitor().may("admin")):
        abort(404, f"You have no export {export_id}.")
    account = get_account_or_404(export.account_id)
    refusal = _refusal(export.account_id, export.table_id, export.disclosed)
    return ExportPage(export, account, _path(export).is_file(), refusal)


def _check_again(wanted: ExportRequest) -> ResponseReturnValue | None:
    """Check the user's rights again, since they can change while the file is made.

    Returns the response if the session has ended; None if the file may be sent. Aborts otherwise.
    """
    ended = recheck_access()
    if ended is None:
        check_export_role(wanted.account_id, wanted.table_id)
        get_account_or_404(wanted.account_id)
        refusal = _refusal(wanted.account_id, wanted.table_id, _disclosed(wanted))
        _check_disclosure(wanted.account_id, refusal, wanted.in_words)
    return ended


def _disclosed(wanted: ExportRequest) -> list[dict[str, Any]]:
    """Return the columns that a user must see unmasked to get the file, for a later check."""
    return [column.for_masking() for column in wanted.query.disclosed(wanted.columns)]


def _refusal(account_id: int, table_id: int, disclosed: Sequence[Any] | None) -> str:
    """Return why the user does not get a file that discloses these columns; empty if they do."""
    if visitor().may("admin"):
        return ""
    if disclosed is None:
        return (
            "This file was made by an earlier version of the console, which did not record who may"
            " get it. Export the table again."
        )
    hidden = masking_context(
        account_id, table_id, [peliqan.Column.model_validate(each) for each in disclosed]
    ).hidden
    if not hidden:
        return ""
    names = ", ".join(f"“{name[:60]}”" for name in list(hidden)[:5])
    more = f" and {len(hidden) - 5} more" if len(hidden) > 5 else ""
    return (
        f"This file was made while you saw {names}{more} unmasked, and now you see that masked, so"
        " the file is kept back. Export the table again, or show its masked columns first: the"
        " table's page asks for a reason."
    )


def _check_disclosure(account_id: int, refusal: str, in_words: str) -> None:
    """Abort with 410 and an audit entry if there is a refusal."""
    if refusal:
        detail = f"Shows columns that are masked now. {in_words}"
        audit.record(
            services().clock(),
            visitor().email,
            "export_file",
            audit.REFUSED,
            account_id=account_id,
            detail=detail,
        )
        abort(410, refusal)


def _path(export: Export) -> Path:
    return folder_of(services().settings.dashboard_data).resolve() / export.name


def check_export_role(account_id: int, table_id: int) -> None:
    """Abort with 403 and an audit entry if the user's role may not export."""
    if may_export():
        return
    least = services().settings.dashboard_export_role
    detail = f"Table {table_id}: exports need the role {least}; has {visitor().user.role}."
    audit.record(
        services().clock(),
        visitor().email,
        "export",
        audit.REFUSED,
        account_id=account_id,
        detail=detail,
    )
    abort(
        403, f"Exporting whole tables needs the role {least} here; yours is {visitor().user.role}."
    )


def read_export_request(account_id: int, table_id: int, suffix: str, args: Any) -> ExportRequest:
    """Return the requested export, checked against the table's columns.

    Raises:
        BadQuery: a filter, sort or column does not fit the table.
        PeliqanError: the table's columns cannot be read.
    """
    get_account_or_404(account_id)
    columns = services().api.for_account(account_id).columns(table_id)
    args = short_links.read(account_id, table_id, args).args
    query, context = read_query(account_id, table_id, args, args.getlist("column"), columns)
    return ExportRequest(
        account_id, table_id, suffix, query, columns, query.shown(columns), tuple(context.hidden)
    )
