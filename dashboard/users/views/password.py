"""The page to change one's own password, which requires the current one."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.users import passwords
from dashboard.users.authentication import start_session, visitor
from dashboard.users.errors import PeopleError
from dashboard.users.limits import PASSWORD_CHANGES, SHORTEST_PASSWORD
from dashboard.web.required_role import requires
from dashboard.web.security import limiter

bp = Blueprint("passwords", __name__)


def _quota_key() -> str:
    return f"password of {visitor().user.id}"


@bp.get("/me/password")
@requires("viewer")
def show() -> ResponseReturnValue:
    """Show the form."""
    return render_template("users/password.html", problem="", least=SHORTEST_PASSWORD)


@bp.post("/me/password")
@requires("viewer")
@limiter.limit(PASSWORD_CHANGES, key_func=_quota_key)
def change() -> ResponseReturnValue:
    """Change the password, end the user's other sessions, and start a new one here."""
    at, user, new = services().clock(), visitor().user, request.form.get("new", "")
    try:
        if not passwords.has_password(user, request.form.get("current", "")):
            raise PeopleError("The password that you have now is another one.")
        if new == request.form.get("current", ""):
            raise PeopleError("The new one is the one that you have now: choose another.")
        if new != request.form.get("again", ""):
            raise PeopleError("The two new ones are not the same.")
        passwords.set_password(user, new, at)
    except PeopleError as error:
        audit.record(at, user.email, "change_password", audit.FAILED)
        return render_template(
            "users/password.html", problem=str(error), least=SHORTEST_PASSWORD
        ), 400
    audit.record(at, user.email, "change_password", audit.DONE)
    start_session(user)
    flash("Your password is changed. Wherever else you were signed in, you are no more.", "success")
    return redirect(url_for("people.me"), 303)
