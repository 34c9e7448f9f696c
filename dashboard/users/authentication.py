"""Authentication and the role check before each request.

A view declares the lowest role that may open it. A view without a declaration is closed to all.
"""

from datetime import datetime
from typing import cast

from flask import Flask, Request, abort, flash, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user
from limits import parse

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core import row_access
from dashboard.users import browser_names, sessions, tokens
from dashboard.users import service as users
from dashboard.users.limits import IDLE_TIMEOUT, LONGEST_SESSION, SIGN_INS_OF_A_USER
from dashboard.users.models import User
from dashboard.web import htmx
from dashboard.web.page_after_sign_in import requested_url, short_address
from dashboard.web.required_role import PUBLIC, is_for_scripts, role_of_view, view_mark
from dashboard.web.security import limiter

# Endpoint of a step that a user must complete after signing in, before any other page opens:
# the endpoints that open until then, and the message for scripts.
REQUIRED_STEPS = {
    "passwords.show": (
        {"passwords.show", "passwords.change", "people.logout"},
        "Somebody else chose your password. Sign in in a browser and choose your own first.",
    ),
    "second.new": (
        {"second.new", "second.switch_on", "people.logout"},
        "Your role needs a second factor. Sign in in a browser and set it up first.",
    ),
}
login_manager = LoginManager()
MOST_SIGN_INS = parse(SIGN_INS_OF_A_USER)


class SessionUser(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The signed-in user of a request, as Flask-Login holds it.

    ``key``: the session's key, which Flask-Login uses instead of a user id; empty for an access
    token. ``ends_at``: when the session ends however much it is used; None for a new session.
    ``idle``: seconds without use after which a session ends.
    """

    idle = int(IDLE_TIMEOUT.total_seconds())

    def __init__(self, user: User, key: str = "", ends_at: datetime | None = None) -> None:
        self.user = user
        self._key = key
        self._ends_at = ends_at

    def get_id(self) -> str:
        """Return the session key, which Flask-Login writes into the session cookie."""
        return self._key

    def lasts(self) -> int:
        """Return the seconds until the session ends however much it is used."""
        left = self._ends_at - services().clock() if self._ends_at is not None else LONGEST_SESSION
        return max(int(left.total_seconds()), 0)

    @property
    def email(self) -> str:
        """Return the user's e-mail address, for the audit log."""
        return self.user.email

    def may(self, role: str) -> bool:
        """Return whether the user has this role or a higher one."""
        return users.ROLES.index(self.user.role) >= users.ROLES.index(role)

    def first(self) -> str | None:
        """Return the endpoint that the user must complete first; None if there is none.

        Users of an identity provider have no step, since the provider checks their credentials.
        Requests with an access token have none, since no password is involved.
        """
        if not self._key or self.user.issuer is not None:
            return None
        if self.user.password_given:
            return "passwords.show"
        return "second.new" if self.needs_second_factor and self.user.totp_secret is None else None

    @property
    def needs_second_factor(self) -> bool:
        """Return whether the user's role requires a second factor."""
        return self.user.role in services().settings.second_factor_roles


def visitor() -> SessionUser:
    """Return the signed-in user. Only for views that require a role."""
    return cast(SessionUser, current_user)


def init_app(app: Flask) -> None:
    """Register Flask-Login and the role check."""
    login_manager.init_app(app)
    login_manager.user_loader(_by_session)
    login_manager.request_loader(_by_token)
    app.before_request(_check_access)


def log_in(user: User, detail: str = "") -> None:
    """Start a session in this browser and record it in the audit log. Commits.

    Aborts with 429 above ``MOST_SIGN_INS``, since each sign-in is an audit entry that is kept.
    """
    if limiter.enabled and not limiter.limiter.hit(MOST_SIGN_INS, "signed in", str(user.id)):
        abort(
            429,
            "You have signed in a hundred times within an hour."
            " Wait until it is over, or use a session that is open.",
        )
    start_session(user)
    audit.record(services().clock(), user.email, "sign_in", audit.DONE, detail=detail)


def start_session(user: User) -> None:
    """Replace this browser's session by a new one with a new key. Commits."""
    session.clear()
    browser = browser_names.in_words(request.user_agent.string)
    login_user(SessionUser(user, sessions.sign_in(user, services().clock(), browser).value))


def _by_session(key: str) -> SessionUser | None:
    found = sessions.signed_in(key, services().clock(), counts_as_use=not view_mark("poll", False))
    return (
        _with_row_access(SessionUser(found.user, key, found.started_at + LONGEST_SESSION))
        if found
        else None
    )


def _by_token(incoming: Request) -> SessionUser | None:
    """Return the owner of a personal access token; these open JSON and CSV only, for reading."""
    scheme, _, token = incoming.headers.get("Authorization", "").partition(" ")
    is_read = incoming.method in {"GET", "HEAD"}
    if scheme.lower() != "bearer" or not is_for_scripts() or not is_read:
        return None
    user = tokens.owner_of_token(token.strip(), services().clock())
    return _with_row_access(SessionUser(user)) if user else None


def _with_row_access(session_user: SessionUser) -> SessionUser:
    """Restrict the queries of this request to the accounts that the user may see."""
    if session_user.user.sees_some:
        row_access.restrict_to(session_user.user.id)
    return session_user


def recheck_access() -> ResponseReturnValue | None:
    """Load the user again and repeat the role check, for a response that took long to prepare.

    Returns the response to send instead if the user is no longer signed in; None if access is
    still allowed. Aborts with 403 like the check itself.
    """
    g.pop("_login_user", None)
    return _check_access()


def _check_access() -> ResponseReturnValue | None:
    if request.endpoint is None or request.endpoint == "static":
        return None
    role = role_of_view()
    if role == PUBLIC:
        return None
    if not current_user.is_authenticated:
        return _sign_in_first()
    step = visitor().first()
    if step is not None and request.endpoint not in REQUIRED_STEPS[step][0]:
        return _redirect_to_step(step)
    if role is None or not visitor().may(role):
        args = request.view_args or {}
        audit.record(
            services().clock(),
            visitor().email,
            request.endpoint,
            audit.REFUSED,
            account_id=args.get("account_id"),
            connection_id=args.get("connection_id"),
            detail=f"Needs the role {role}; has {visitor().user.role}.",
        )
        abort(403, f"This needs the role {role}; yours is {visitor().user.role}.")
    return None


def _redirect_to_step(step: str) -> ResponseReturnValue:
    if is_for_scripts():
        abort(403, REQUIRED_STEPS[step][1])
    return htmx.go_to(url_for(step), status=403) if htmx.is_htmx() else redirect(url_for(step), 303)


def _sign_in_first() -> ResponseReturnValue:
    had_session = "_user_id" in session
    session.pop("_user_id", None)
    if is_for_scripts():
        abort(401, "Sign in, or send a personal access token: Authorization: Bearer <token>.")
    if htmx.is_htmx():
        return htmx.go_to(
            url_for("people.login", next=short_address(htmx.path_of_page())), status=401
        )
    if had_session:
        flash("Your session has ended. Sign in again.", "info")
    # A form is not submitted by signing in, so a POST returns to the page that has the form.
    target = requested_url() if request.method == "GET" else htmx.path_here(request.referrer)
    return redirect(url_for("people.login", next=short_address(target)))
