"""For administrators: the audit trail and the people."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.app import console
from dashboard.store import audit, people
from dashboard.store.database import db
from dashboard.store.lists import AUDIT, USERS, audit_item, user_item
from dashboard.store.models import User
from dashboard.views.access import requires, visitor
from dashboard.views.pages import answer_list

bp = Blueprint("admin", __name__)


@bp.get("/audit", endpoint="audit_index")
@bp.get("/audit.json", endpoint="audit_index_json")
@bp.get("/audit.csv", endpoint="audit_index_csv")
@requires("admin")
def audit_index() -> ResponseReturnValue:
    """Who did what, when, with which result."""
    return answer_list(AUDIT, audit_item, "pages/audit.html", "fragments/_audit.html")


@bp.get("/users", endpoint="users")
@bp.get("/users.json", endpoint="users_json")
@bp.get("/users.csv", endpoint="users_csv")
@requires("admin")
def users() -> ResponseReturnValue:
    """The people."""
    return answer_list(USERS, user_item, "pages/users.html", "fragments/_users.html", roles=people.ROLES)


@bp.post("/users")
@requires("admin")
def create_user() -> ResponseReturnValue:
    """Add a person; their first password is handed over by the administrator."""
    email, role = request.form.get("email", ""), request.form.get("role", "")
    try:
        user = people.create_user(email, role, request.form.get("password", ""), console().clock())
    except people.PeopleError as error:
        _note("create_user", audit.FAILED, email)
        return render_template("pages/user_new.html", roles=people.ROLES, email=email, role=role, problem=str(error)), 400
    _note("create_user", audit.DONE, f"{user.email} as {user.role}")
    flash(f"{user.email} can sign in now.", "success")
    return redirect(url_for(".users"), 303)


@bp.get("/users/new")
@requires("admin")
def new_user() -> ResponseReturnValue:
    """The form for a person."""
    return render_template("pages/user_new.html", roles=people.ROLES, email="", role="operator", problem=None)


@bp.post("/users/<int:user_id>")
@requires("admin")
def change_user(user_id: int) -> ResponseReturnValue:
    """Another role, shut out, or let in again. One cannot take one's own rights away: somebody must be left to undo it."""
    user = db.session.get(User, user_id)
    if user is None:
        abort(404, f"There is no user {user_id}.")
    if user.id == visitor().user.id:
        flash("Your own role stays as it is. Ask another administrator.", "danger")
        return redirect(url_for(".users"), 303)
    what, at = request.form.get("do", ""), console().clock()
    if what == "disable":
        people.disable(user, at)
    elif what == "enable":
        people.enable(user)
    elif what in people.ROLES:
        people.set_role(user, what, at)
    else:
        abort(400, "That change is unknown.")
    _note("change_user", audit.DONE, f"{user.email}: {what}")
    flash(f"{user.email} is changed; they have to sign in again.", "success")
    return redirect(url_for(".users"), 303)


def _note(what: str, result: str, detail: str) -> None:
    audit.record(console().clock(), visitor().email, what, result, detail=detail)
