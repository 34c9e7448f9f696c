"""Administration of users: create, change, restrict, hand over to a provider."""

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dashboard.audit import service as audit
from dashboard.audit.views import bp
from dashboard.context import services
from dashboard.core.database import db
from dashboard.users import customer_access, oidc_users, sessions, two_factor
from dashboard.users import service as people
from dashboard.users.authentication import visitor
from dashboard.users.errors import PeopleError
from dashboard.users.lists import USERS, serialize_user
from dashboard.users.models import User
from dashboard.users.views.oidc import ProviderUnavailable, provider
from dashboard.web.lists import render_list
from dashboard.web.required_role import requires


@bp.get("/users", endpoint="users")
@bp.get("/users.json", endpoint="users_json")
@bp.get("/users.csv", endpoint="users_csv")
@requires("admin")
def users() -> ResponseReturnValue:
    """List the users."""
    return render_list(
        USERS, serialize_user, "users/users.html", "users/_users.html", roles=people.ROLES
    )


@bp.post("/users")
@requires("admin")
def create_user() -> ResponseReturnValue:
    """Create a user. The administrator chooses the first password, which the user must replace."""
    email, role = request.form.get("email", ""), request.form.get("role", "")
    try:
        user = people.create_user(
            email, role, request.form.get("password", ""), services().clock(), given=True
        )
    except PeopleError as error:
        _audit("create_user", audit.FAILED, email)
        return render_template(
            "users/user_form.html", roles=people.ROLES, email=email, role=role, problem=str(error)
        ), 400
    _audit("create_user", audit.DONE, f"{user.email} as {user.role}")
    flash(
        f"{user.email} can sign in now, and has to choose a password of their own then.", "success"
    )
    return redirect(url_for(".users"), 303)


@bp.get("/users/new")
@requires("admin")
def new_user() -> ResponseReturnValue:
    """Show the form for a new user."""
    return render_template(
        "users/user_form.html", roles=people.ROLES, email="", role="operator", problem=None
    )


@bp.post("/users/<int:user_id>")
@requires("admin")
def change_user(user_id: int) -> ResponseReturnValue:
    """Change a user's role, disable or enable a user.

    Administrators cannot change themselves, so that one who can undo the change remains.
    """
    user = _user_or_404(user_id)
    if user.id == visitor().user.id:
        flash("Your own role stays as it is. Ask another administrator.", "danger")
        return redirect(url_for(".users"), 303)
    what, at = request.form.get("do", ""), services().clock()
    if what in people.ROLES and user.issuer is not None:
        flash(
            f"{user.email} has the role that {user.issuer} gives them."
            " Change it there; it holds from their next sign-in on.",
            "danger",
        )
        return redirect(url_for(".users"), 303)
    if what == "disable":
        people.disable(user, at)
    elif what == "enable":
        people.enable(user)
    elif what in people.ROLES:
        people.set_role(user, what, at)
    else:
        abort(400, "That change is unknown.")
    _audit("change_user", audit.DONE, f"{user.email}: {what}")
    flash(f"{user.email} is changed; they have to sign in again.", "success")
    return redirect(url_for(".users"), 303)


@bp.get("/users/<int:user_id>")
@requires("admin")
def user(user_id: int) -> ResponseReturnValue:
    """Show one user: visible customers, sign-in and sessions."""
    return _show(_user_or_404(user_id))


@bp.post("/users/<int:user_id>/customers")
@requires("admin")
def limit(user_id: int) -> ResponseReturnValue:
    """Let a user see all customers, or only the named ones."""
    person, which, text = (
        _user_or_404(user_id),
        request.form.get("which"),
        request.form.get("customers", ""),
    )
    if which not in {"all", "some"}:
        abort(400, "A person sees all customers or some.")
    try:
        customer_access.limit(person, customer_access.read(text) if which == "some" else None)
    except customer_access.BadScope as error:
        return _show(person, text, str(error)), 400
    _audit("change_customers", audit.DONE, customer_access.in_words(person))
    flash(f"It holds from {person.email}’s next page on.", "success")
    return redirect(url_for(".user", user_id=user_id), 303)


@bp.post("/users/<int:user_id>/provider")
@requires("admin")
def hand_over(user_id: int) -> ResponseReturnValue:
    """Hand a user over to the provider; their password works until the first sign-in there."""
    person, current = _user_or_404(user_id), provider()
    if current is None:
        abort(404, "No provider is set up.")
    if person.id == visitor().user.id:
        abort(400, "Somebody with a password must be left: ask another administrator.")
    try:
        current.metadata(refresh=True)
    except ProviderUnavailable as away:
        _audit("hand_over", audit.FAILED, f"{person.email} to {current.issuer}")
        flash(
            f"Nothing was changed: {current.name} cannot be asked ({away}),"
            f" so {person.email} could not sign in there.",
            "danger",
        )
        return redirect(url_for(".user", user_id=user_id), 303)
    oidc_users.hand_over(person, current.issuer)
    _audit("hand_over", audit.DONE, f"{person.email} to {current.issuer}")
    flash(
        f"{person.email} is handed over. As soon as they sign in with {current.name}"
        " it is their only way in; until then they sign in as before.",
        "success",
    )
    return redirect(url_for(".user", user_id=user_id), 303)


@bp.post("/users/<int:user_id>/second-factor/remove")
@requires("admin")
def remove_second_factor(user_id: int) -> ResponseReturnValue:
    """Remove the second factor of a user who lost telephone and recovery codes."""
    person = _user_or_404(user_id)
    two_factor.switch_off(person)
    _audit("second_factor_off", audit.DONE, person.email)
    flash(
        f"{person.email} signs in with their password alone, and can set up a second factor anew.",
        "success",
    )
    return redirect(url_for(".user", user_id=user_id), 303)


@bp.post("/users/<int:user_id>/sessions/end")
@requires("admin")
def end_sessions(user_id: int) -> ResponseReturnValue:
    """End all sessions of another user, who may sign in again."""
    person = _user_or_404(user_id)
    if person.id == visitor().user.id:
        flash("Your own sessions are on your own page.", "danger")
        return redirect(url_for("people.me"), 303)
    sessions.end_all(person, services().clock())
    _audit("end_sessions", audit.DONE, person.email)
    flash(f"{person.email} is signed out everywhere, and can sign in again.", "success")
    return redirect(url_for(".user", user_id=user_id), 303)


def _user_or_404(user_id: int) -> User:
    found = db.session.get(User, user_id)
    if found is None:
        abort(404, f"There is no user {user_id}.")
    return found


def _show(person: User, typed: str | None = None, problem: str = "") -> str:
    """Render the page of a user. ``typed``: invalid customers as they were entered."""
    mine = customer_access.scopes_of(person)
    limited = person.limited if typed is None else True
    text = customer_access.as_text(mine) if typed is None else typed
    count = customer_access.count(person) if person.limited else 0
    current = provider()
    open_ones = sessions.open_of(person, services().clock(), visitor().get_id())
    return render_template(
        "users/user.html",
        user=person,
        limited=limited,
        customers=text,
        count=count,
        problem=problem,
        provider=current,
        is_vouched_for=current is not None and person.email.rpartition("@")[2] in current.domains,
        sessions=open_ones,
    )


def _audit(what: str, result: str, detail: str) -> None:
    audit.record(services().clock(), visitor().email, what, result, detail=detail)
