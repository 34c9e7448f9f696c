"""Sign-in, sign-out, and the user's own page with personal access tokens."""

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, logout_user

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.email_addresses import canonical
from dashboard.users import service as users
from dashboard.users import sessions, tokens, two_factor
from dashboard.users.authentication import log_in, visitor
from dashboard.users.errors import PeopleError
from dashboard.users.keys import Secret
from dashboard.users.limits import (
    ATTEMPTS_AT_AN_ACCOUNT,
    ATTEMPTS_OF_AN_ADDRESS,
    LONGEST_ADDRESS,
    LONGEST_PASSWORD,
)
from dashboard.users.views import oidc as provider
from dashboard.users.views import two_factor as second
from dashboard.web.login_attempt_keys import by_account
from dashboard.web.page_after_sign_in import safe_next
from dashboard.web.required_role import PUBLIC, requires
from dashboard.web.security import limiter

bp = Blueprint("people", __name__)
WRONG = "This e-mail address and password do not fit together."


@bp.route("/login", methods=["GET", "POST"])
@requires(PUBLIC)
@limiter.limit(ATTEMPTS_OF_AN_ADDRESS, methods=["POST"])
@limiter.limit(ATTEMPTS_AT_AN_ACCOUNT, methods=["POST"], key_func=by_account)
def login() -> ResponseReturnValue:
    """Sign in. The message does not say whether the address or the password was wrong."""
    target = safe_next(request.values.get("next"))
    if current_user.is_authenticated:
        return redirect(target)
    # Only this form field signs in, and ``by_account`` counts the same text.
    email, password = request.form.get("email", ""), request.form.get("password", "")
    if (
        not email
        or not password
        or len(email) > LONGEST_ADDRESS
        or len(password) > LONGEST_PASSWORD
    ):
        return provider.sign_in_page(
            target, email[:LONGEST_ADDRESS], WRONG if request.method == "POST" else ""
        )
    user = users.check_password(email, password)
    if user is None:
        audit.record(services().clock(), canonical(email), "sign_in", audit.FAILED)
        return provider.sign_in_page(target, email, WRONG), 403
    if user.totp_secret is not None:
        return second.ask_for_code(user, target)
    log_in(user)
    return redirect(target)


@bp.post("/logout")
@requires("viewer")
def logout() -> ResponseReturnValue:
    """End this session on the server; users of a provider are then signed out there as well."""
    has_provider = visitor().user.issuer is not None
    sessions.sign_out(visitor().get_id(), services().clock())
    audit.record(services().clock(), visitor().email, "sign_out", audit.DONE)
    logout_user()
    session.clear()
    return provider.sign_out_there() if has_provider else redirect(url_for(".login"))


@bp.get("/me")
@requires("viewer")
def me() -> ResponseReturnValue:
    """Show the user's own page."""
    return _me()


@bp.post("/me/tokens")
@requires("viewer")
def create_token() -> ResponseReturnValue:
    """Create a token, which only this response shows."""
    name = request.form.get("name", "")
    try:
        secret = tokens.new_token(visitor().user, name, services().clock())
    except PeopleError as error:
        flash(str(error), "danger")
        return redirect(url_for(".me"), 303)
    audit.record(services().clock(), visitor().email, "create_token", audit.DONE, detail=name[:80])
    return _me(secret)


@bp.post("/me/tokens/<int:token_id>/revoke")
@requires("viewer")
def revoke_token(token_id: int) -> ResponseReturnValue:
    """Revoke a token."""
    done = tokens.revoke_token(visitor().user, token_id, services().clock())
    audit.record(
        services().clock(), visitor().email, "revoke_token", audit.DONE if done else audit.FAILED
    )
    flash(
        "The token is revoked." if done else "You have no such token.",
        "success" if done else "danger",
    )
    return redirect(url_for(".me"), 303)


def _me(secret: Secret | None = None) -> str:
    user = visitor().user
    left = two_factor.codes_left(user) if user.totp_secret is not None else 0
    mine = sessions.open_of(user, services().clock(), visitor().get_id())
    return render_template(
        "users/me.html",
        tokens=tokens.tokens_of(user),
        secret=secret,
        codes_left=left,
        sessions=mine,
    )
