"""Sign in and out; one's own page with personal access tokens."""

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user
from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired, Length

from dashboard.app import console
from dashboard.store import audit, people
from dashboard.views.access import PUBLIC, Visitor, requires, safe_next, visitor
from dashboard.views.attempts import by_account
from dashboard.views.security import limiter

bp = Blueprint("people", __name__)


class LoginForm(FlaskForm):  # type: ignore[misc]
    """Who one is."""

    email = StringField("E-mail", [InputRequired(), Length(max=254)])
    password = PasswordField("Password", [InputRequired(), Length(max=1000)])
    next = HiddenField()


@bp.route("/login", methods=["GET", "POST"])
@requires(PUBLIC)
@limiter.limit("10 per minute; 100 per hour", methods=["POST"])
@limiter.limit("10 per minute; 50 per hour", methods=["POST"], key_func=by_account)
def login() -> ResponseReturnValue:
    """Sign in. Which half was wrong is not said."""
    target = safe_next(request.values.get("next"))
    if current_user.is_authenticated:
        return redirect(target)
    form = LoginForm()
    if not form.validate_on_submit():
        return render_template("pages/login.html", form=form, target=target, wrong=request.method == "POST")
    at = console().clock()
    user = people.check_password(form.email.data, form.password.data)
    if user is None:
        audit.record(at, form.email.data, "sign_in", audit.FAILED)
        return render_template("pages/login.html", form=form, target=target, wrong=True), 403
    # A new session for a new person: nothing that was in it before, nobody else's key either.
    session.clear()
    key = people.sign_in(user, at).value
    login_user(Visitor(user, key))
    audit.record(at, user.email, "sign_in", audit.DONE)
    return redirect(target)


@bp.post("/logout")
@requires("viewer")
def logout() -> ResponseReturnValue:
    """Sign out, here and for every copy of this cookie."""
    people.sign_out(visitor().get_id(), console().clock())
    audit.record(console().clock(), visitor().email, "sign_out", audit.DONE)
    logout_user()
    session.clear()
    return redirect(url_for(".login"))


@bp.get("/me")
@requires("viewer")
def me() -> ResponseReturnValue:
    """One's own page."""
    return render_template("pages/me.html", tokens=people.tokens_of(visitor().user), secret=None)


@bp.post("/me/tokens")
@requires("viewer")
def create_token() -> ResponseReturnValue:
    """A new token, shown in this answer and never again."""
    name = request.form.get("name", "")
    try:
        secret = people.new_token(visitor().user, name, console().clock())
    except people.PeopleError as error:
        flash(str(error), "danger")
        return redirect(url_for(".me"), 303)
    audit.record(console().clock(), visitor().email, "create_token", audit.DONE, detail=name[:80])
    return render_template("pages/me.html", tokens=people.tokens_of(visitor().user), secret=secret)


@bp.post("/me/tokens/<int:token_id>/revoke")
@requires("viewer")
def revoke_token(token_id: int) -> ResponseReturnValue:
    """Make one worthless."""
    done = people.revoke_token(visitor().user, token_id, console().clock())
    audit.record(console().clock(), visitor().email, "revoke_token", audit.DONE if done else audit.FAILED)
    flash("The token is revoked." if done else "You have no such token.", "success" if done else "danger")
    return redirect(url_for(".me"), 303)
