"""What people tell each other: notes, and who is on what."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.findings.models import Cause
from dashboard.fleet.models import Account
from dashboard.notes import service as together
from dashboard.notes.service import NoteTarget
from dashboard.users.access import visitor
from dashboard.web import htmx
from dashboard.web.access import requires
from dashboard.web.lookup import (
    get_account_or_404,
    get_cause_or_404,
    get_connection_or_404,
    get_visible_cause_or_403,
)

bp = Blueprint("together", __name__)
ACCOUNT, CAUSE = "/accounts/<int:account_id>", "/causes/<int:cause_id>"
CONNECTION = f"{ACCOUNT}/connections/<int:connection_id>"


@bp.post(f"{ACCOUNT}/notes")
@bp.post(f"{CONNECTION}/notes")
@bp.post(f"{CAUSE}/notes")
@requires("operator")
def add_note(**ids: int) -> ResponseReturnValue:
    """Write a note on an account, a connection or a cause."""
    place, at, problem = _place_or_404(ids), services().clock(), ""
    try:
        note = together.add_note(place, visitor().email, request.form.get("text", ""), at)
    except together.BadNote as error:
        problem = str(error)
    else:
        _record("note", audit.DONE, place, f"note {note.id} {place.words}")
    return _notes(place, problem)


@bp.post(f"{ACCOUNT}/notes/<int:note_id>/delete")
@bp.post(f"{CONNECTION}/notes/<int:note_id>/delete")
@bp.post(f"{CAUSE}/notes/<int:note_id>/delete")
@requires("operator")
def delete_note(note_id: int, **ids: int) -> ResponseReturnValue:
    """Forget a note of one's own; an administrator may forget any."""
    place, note = _place_or_404(ids), together.note_or_none(note_id)
    if note is None or note not in together.notes_on(place):
        abort(404, f"There is no note {note_id} here, or it has been deleted.")
    about, what = (
        together.target_of(note),
        f"note {note_id} of {note.who} {together.target_of(note).words}",
    )
    if note.who != visitor().email and not visitor().may("admin"):
        _record("delete_note", audit.REFUSED, about, what)
        abort(403, "It is somebody else’s note: only they or an administrator can delete it.")
    together.drop_note(note)
    _record("delete_note", audit.DONE, about, what)
    return _notes(place)


@bp.post(f"{ACCOUNT}/owner")
@bp.post(f"{CAUSE}/owner")
@requires("operator")
def own(**ids: int) -> ResponseReturnValue:
    """Say that one is on it, in nobody's or another's place; or let it go, where one was."""
    row: Account | Cause = (
        get_visible_cause_or_403(ids["cause_id"])
        if "cause_id" in ids
        else get_account_or_404(ids["account_id"])
    )
    place, at, me, before = NoteTarget(**ids), services().clock(), visitor().email, row.owner
    what, problem = request.form.get("do", ""), ""
    if what == "take":
        seen = request.form.get("instead_of") or None
        if before != me and not together.assign(row, me, seen, at):
            problem = (
                f"{row.owner} is on it since a moment ago."
                if row.owner
                else "It was let go meanwhile. Look again."
            )
        elif before != me:
            _record(
                "own",
                audit.DONE,
                place,
                " ".join(filter(None, [place.words, f"in place of {before}" if before else ""])),
            )
    elif what == "let_go":
        if before not in (None, me) and not visitor().may("admin"):
            _record("let_go", audit.REFUSED, place, f"{place.words} {before} is on it")
            abort(
                403,
                f"{before} is on it: only they or an administrator can let it go. You can take it over.",
            )
        if before is not None:
            together.unassign(row)
            _record(
                "let_go",
                audit.DONE,
                place,
                " ".join(filter(None, [place.words, f"of {before}" if before != me else ""])),
            )
    else:
        abort(400, "That change is unknown.")
    if htmx.is_htmx():
        return render_template("notes/_assignee.html", owned=row, place=place, problem=problem)
    if problem:
        flash(problem, "warning")
    return redirect(_page(place), 303)


def _place_or_404(ids: dict[str, int]) -> NoteTarget:
    if "cause_id" in ids:
        get_cause_or_404(ids["cause_id"])
    elif "connection_id" in ids:
        get_connection_or_404(ids["account_id"], ids["connection_id"])
    else:
        get_account_or_404(ids["account_id"])
    return NoteTarget(**ids)


def _page(place: NoteTarget) -> str:
    if place.cause_id is not None:
        return url_for("causes.show", cause_id=place.cause_id)
    if place.connection_id is not None:
        return url_for(
            "connections.show", account_id=place.account_id, connection_id=place.connection_id
        )
    return url_for("accounts.show", account_id=place.account_id)


def _notes(place: NoteTarget, problem: str = "") -> ResponseReturnValue:
    """The notes for htmx, else back to the page. A note that was not kept comes back, so that it can be mended."""
    if htmx.is_htmx():
        draft = request.form.get("text", "") if problem else ""
        notes = together.notes_on(place)
        return render_template(
            "notes/_notes.html", notes=notes, place=place, problem=problem, draft=draft
        )
    if problem:
        flash(problem, "danger")
    return redirect(f"{_page(place)}#notes", 303)


def _record(what: str, result: str, place: NoteTarget, detail: str) -> None:
    ids = {"account_id": place.account_id, "connection_id": place.connection_id}
    audit.record(services().clock(), visitor().email, what, result, **ids, detail=detail.strip())
