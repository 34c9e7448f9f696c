"""Notes and assignees: the forms on the pages of accounts, connections and causes."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.findings.models import Cause
from dashboard.fleet.models import Account
from dashboard.notes import service as note_service
from dashboard.notes.service import NoteTarget
from dashboard.users.authentication import visitor
from dashboard.web import htmx
from dashboard.web.lookup import (
    get_account_or_404,
    get_cause_or_404,
    get_connection_or_404,
    get_visible_cause_or_403,
)
from dashboard.web.required_role import requires

bp = Blueprint("together", __name__)
ACCOUNT, CAUSE = "/accounts/<int:account_id>", "/causes/<int:cause_id>"
CONNECTION = f"{ACCOUNT}/connections/<int:connection_id>"


@bp.post(f"{ACCOUNT}/notes")
@bp.post(f"{CONNECTION}/notes")
@bp.post(f"{CAUSE}/notes")
@requires("operator")
def add_note(**ids: int) -> ResponseReturnValue:
    """Add a note to an account, a connection or a cause."""
    target, at, problem = _target_or_404(ids), services().clock(), ""
    try:
        note = note_service.add_note(target, visitor().email, request.form.get("text", ""), at)
    except note_service.BadNote as error:
        problem = str(error)
    else:
        _record("note", audit.DONE, target, f"note {note.id} {target.words}")
    return _notes(target, problem)


@bp.post(f"{ACCOUNT}/notes/<int:note_id>/delete")
@bp.post(f"{CONNECTION}/notes/<int:note_id>/delete")
@bp.post(f"{CAUSE}/notes/<int:note_id>/delete")
@requires("operator")
def delete_note(note_id: int, **ids: int) -> ResponseReturnValue:
    """Delete one's own note; administrators may delete any."""
    target, note = _target_or_404(ids), note_service.note_or_none(note_id)
    if note is None or note not in note_service.notes_on(target):
        abort(404, f"There is no note {note_id} here, or it has been deleted.")
    about = note_service.target_of(note)
    what = f"note {note_id} of {note.who} {about.words}"
    if note.who != visitor().email and not visitor().may("admin"):
        _record("delete_note", audit.REFUSED, about, what)
        abort(403, "It is somebody else’s note: only they or an administrator can delete it.")
    note_service.delete_note(note)
    _record("delete_note", audit.DONE, about, what)
    return _notes(target)


@bp.post(f"{ACCOUNT}/owner")
@bp.post(f"{CAUSE}/owner")
@requires("operator")
def own(**ids: int) -> ResponseReturnValue:
    """Assign an account or cause to the user, or remove the assignee."""
    row: Account | Cause = (
        get_visible_cause_or_403(ids["cause_id"])
        if "cause_id" in ids
        else get_account_or_404(ids["account_id"])
    )
    target, do, problem = NoteTarget(**ids), request.form.get("do", ""), ""
    if do == "take":
        problem = _assign(row, target)
    elif do == "let_go":
        _unassign(row, target)
    else:
        abort(400, "That change is unknown.")
    if htmx.is_htmx():
        return render_template("notes/_assignee.html", owned=row, place=target, problem=problem)
    if problem:
        flash(problem, "warning")
    return redirect(_page(target), 303)


def _assign(row: Account | Cause, target: NoteTarget) -> str:
    """Assign to the user; return why not if the assignee changed since the user saw it."""
    me, before = visitor().email, row.owner
    if before == me:
        return ""
    if not note_service.assign(row, me, request.form.get("instead_of") or None, services().clock()):
        if row.owner:
            return f"{row.owner} is on it since a moment ago."
        return "It was released meanwhile. Try again."
    detail = [target.words, f"in place of {before}" if before else ""]
    _record("own", audit.DONE, target, " ".join(filter(None, detail)))
    return ""


def _unassign(row: Account | Cause, target: NoteTarget) -> None:
    """Remove the assignee; 403 if it is another user and this one is no administrator."""
    me, before = visitor().email, row.owner
    if before is None:
        return
    if before != me and not visitor().may("admin"):
        _record("let_go", audit.REFUSED, target, f"{target.words} {before} is on it")
        abort(
            403,
            f"{before} is on it: only they or an administrator can let it go."
            " You can take it over.",
        )
    note_service.unassign(row)
    detail = [target.words, f"of {before}" if before != me else ""]
    _record("let_go", audit.DONE, target, " ".join(filter(None, detail)))


def _target_or_404(ids: dict[str, int]) -> NoteTarget:
    if "cause_id" in ids:
        get_cause_or_404(ids["cause_id"])
    elif "connection_id" in ids:
        get_connection_or_404(ids["account_id"], ids["connection_id"])
    else:
        get_account_or_404(ids["account_id"])
    return NoteTarget(**ids)


def _page(target: NoteTarget) -> str:
    if target.cause_id is not None:
        return url_for("causes.show", cause_id=target.cause_id)
    if target.connection_id is not None:
        return url_for(
            "connections.show", account_id=target.account_id, connection_id=target.connection_id
        )
    return url_for("accounts.show", account_id=target.account_id)


def _notes(target: NoteTarget, problem: str = "") -> ResponseReturnValue:
    """Return the notes for htmx, else redirect to the page.

    A rejected note is returned in the form, so that the user can correct it.
    """
    if htmx.is_htmx():
        draft = request.form.get("text", "") if problem else ""
        notes = note_service.notes_on(target)
        return render_template(
            "notes/_notes.html", notes=notes, place=target, problem=problem, draft=draft
        )
    if problem:
        flash(problem, "danger")
    return redirect(f"{_page(target)}#notes", 303)


def _record(what: str, result: str, target: NoteTarget, detail: str) -> None:
    ids = {"account_id": target.account_id, "connection_id": target.connection_id}
    audit.record(services().clock(), visitor().email, what, result, **ids, detail=detail.strip())
