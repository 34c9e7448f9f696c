"""Ending one's other sessions, after proving one's identity again."""

import re

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.users import passwords, sessions
from dashboard.users.authentication import visitor
from dashboard.users.limits import IDENTITY_CHECKS, RECENT_SIGN_IN
from dashboard.web.required_role import requires
from dashboard.web.security import limiter

bp = Blueprint("sessions", __name__)
_ID = re.compile(r"[0-9]{1,18}")


@bp.post("/me/sessions/end")
@requires("viewer")
@limiter.limit(IDENTITY_CHECKS, key_func=lambda: f"own {visitor().user.id}")
def end() -> ResponseReturnValue:
    """End one other session, or all others."""
    at, user, which = services().clock(), visitor().user, request.form.get("which", "")
    if not _proves_identity():
        audit.record(at, user.email, "end_sessions", audit.FAILED)
        flash(f"Nothing was ended. {_explanation(user.issuer)}", "danger")
        return redirect(url_for("people.me"), 303)
    if which == "others":
        sessions.end_all(user, at, except_key=visitor().get_id())
        ended, what, sentence = True, "all others", "You are signed in here alone now."
    else:
        ended, what, sentence = (
            sessions.end(user, _number(which), at),
            "one",
            "That session is ended.",
        )
    audit.record(at, user.email, "end_sessions", audit.DONE if ended else audit.FAILED, detail=what)
    flash(
        sentence if ended else "You have no such session: it may have ended meanwhile.",
        "success" if ended else "danger",
    )
    return redirect(url_for("people.me"), 303)


def _proves_identity() -> bool:
    user, at = visitor().user, services().clock()
    if user.issuer is None:
        return passwords.has_password(user, request.form.get("password", ""))
    mine = sessions.open_of(user, at, visitor().get_id())
    return any(each.is_here and at - each.started_at <= RECENT_SIGN_IN for each in mine)


def _number(text: str) -> int:
    """Return the id that a button sends; 0, the id of no session, if it is no number."""
    return int(text) if _ID.fullmatch(text) else 0


def _explanation(issuer: str | None) -> str:
    if issuer is None:
        return "That is not your password."
    return (
        "You came from your provider more than ten minutes ago:"
        " sign out, sign in again, and end it then."
    )
