"""Pages of the second factor: the code after the password, set-up and removal."""

import segno
from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core.database import db
from dashboard.users import keys, passwords, two_factor
from dashboard.users.authentication import log_in, visitor
from dashboard.users.limits import (
    ATTEMPTS_AT_AN_ACCOUNT,
    ATTEMPTS_OF_AN_ADDRESS,
    CODE_WITHIN,
    IDENTITY_CHECKS,
)
from dashboard.users.models import User
from dashboard.web.login_attempt_keys import by_address, count_key
from dashboard.web.page_after_sign_in import safe_next
from dashboard.web.required_role import PUBLIC, requires
from dashboard.web.security import limiter

bp = Blueprint("second", __name__)


def ask_for_code(user: User, target: str) -> ResponseReturnValue:
    """Remember a user whose password was right, and redirect to the form of the code.

    The user is not signed in yet.
    """
    session.clear()
    session["half"] = [user.id, _mark(user), services().clock().timestamp(), target]
    return redirect(url_for("second.code"))


def _attempts_key() -> str:
    """Return the counting key of a user whose password was right, the same for all addresses."""
    half = session.get("half")
    return count_key(f"half {half[0]}") if half else by_address()


@bp.route("/login/code", methods=["GET", "POST"])
@requires(PUBLIC)
@limiter.limit(ATTEMPTS_OF_AN_ADDRESS, methods=["POST"])
@limiter.limit(ATTEMPTS_AT_AN_ACCOUNT, methods=["POST"], key_func=_attempts_key)
def code() -> ResponseReturnValue:
    """Complete the sign-in with a code."""
    user, target = _half_in()
    if user is None:
        session.pop("half", None)
        flash(
            "Sign in with your password first: it was more than five minutes ago, or has changed.",
            "info",
        )
        return redirect(url_for("people.login", next=target))
    if request.method == "GET":
        return render_template("users/login_code.html", wrong=False)
    vault = services().vault
    kind = two_factor.use_code(
        user,
        vault.decrypt(user.totp_secret),
        request.form.get("code", ""),
        services().clock(),
        vault.encrypt,
    )
    if kind is None:
        audit.record(
            services().clock(),
            user.email,
            "sign_in",
            audit.FAILED,
            detail="The password was right, the code was not.",
        )
        return render_template("users/login_code.html", wrong=True), 403
    log_in(user, f"With a {kind}.")
    if kind == "recovery code":
        flash(
            f"That recovery code is used up; you have {two_factor.codes_left(user)} left.", "info"
        )
    return redirect(target)


@bp.get("/me/second-factor")
@requires("viewer")
def new() -> ResponseReturnValue:
    """Show a new secret as a QR code; it is stored once a code of it is sent back."""
    if visitor().user.issuer is not None or visitor().user.totp_secret is not None:
        return redirect(url_for("people.me"))
    return _form(two_factor.new_secret())


@bp.post("/me/second-factor")
@requires("viewer")
@limiter.limit(IDENTITY_CHECKS, key_func=lambda: f"own {visitor().user.id}")
def switch_on() -> ResponseReturnValue:
    """Set up the second factor; requires the password and a code of the new secret."""
    user, vault, at = visitor().user, services().vault, services().clock()
    owner, _, secret = (vault.decrypt(request.form.get("sealed", "").encode()) or "").partition(":")
    if user.issuer is not None or user.totp_secret is not None or owner != str(user.id):
        flash("Nothing was changed: this form was made for another moment. Begin again.", "warning")
        return redirect(url_for("people.me"), 303)
    step = two_factor.step_of(secret, request.form.get("code", ""), at)
    if step is None or not passwords.has_password(user, request.form.get("password", "")):
        audit.record(at, user.email, "second_factor_on", audit.FAILED)
        return _form(
            secret,
            "The code or the password does not fit. Nothing was changed."
            " Wait for a new code and try again.",
        ), 403
    codes = two_factor.switch_on(user, secret, step, vault.encrypt)
    audit.record(at, user.email, "second_factor_on", audit.DONE)
    return render_template("users/recovery_codes.html", codes=codes)


@bp.post("/me/second-factor/remove")
@requires("viewer")
@limiter.limit(IDENTITY_CHECKS, key_func=lambda: f"own {visitor().user.id}")
def switch_off() -> ResponseReturnValue:
    """Remove the second factor; requires the password and a code."""
    user, vault, at = visitor().user, services().vault, services().clock()
    knows = passwords.has_password(user, request.form.get("password", ""))
    code = request.form.get("code", "")
    if (
        not knows
        or two_factor.use_code(user, vault.decrypt(user.totp_secret), code, at, vault.encrypt)
        is None
    ):
        audit.record(at, user.email, "second_factor_off", audit.FAILED)
        flash("The code or the password does not fit. Nothing was changed.", "danger")
        return redirect(url_for("people.me"), 303)
    two_factor.switch_off(user)
    audit.record(at, user.email, "second_factor_off", audit.DONE)
    if not visitor().needs_second_factor:
        flash("You sign in with your password alone again.", "success")
    return redirect(url_for("people.me"), 303)


def _form(secret: str, problem: str = "") -> str:
    user = visitor().user
    picture = segno.make(two_factor.address_of(secret, user.email), error="m").svg_inline(
        scale=4, light="#fff"
    )
    sealed = services().vault.encrypt(f"{user.id}:{secret}").decode()
    spaced = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    # Safe: segno made the picture, from an address that pyotp has quoted.
    shown = Markup(picture)  # noqa: S704
    return render_template(
        "users/two_factor_setup.html", picture=shown, secret=spaced, sealed=sealed, problem=problem
    )


def _half_in() -> tuple[User | None, str]:
    """Return the user whose password was right within ``CODE_WITHIN``, and where they go next.

    The user is None if the time is over or the password has changed since.
    """
    half = session.get("half")
    if not half:
        return None, safe_next(None)
    user_id, mark, at, target = half
    user, age = db.session.get(User, user_id), services().clock().timestamp() - at
    is_theirs = (
        user is not None
        and user.disabled_at is None
        and user.totp_secret is not None
        and _mark(user) == mark
    )
    in_time = is_theirs and 0 <= age <= CODE_WITHIN.total_seconds()
    return user if in_time else None, safe_next(target)


def half_signed_in_user() -> str:
    """Return the address of the user who entered the password, for the audit log; else ""."""
    user, _ = _half_in()
    return user.email if user is not None else ""


def _mark(user: User) -> str:
    """Return a value that changes with the password."""
    return keys.hashed(user.password_hash)[:16]
