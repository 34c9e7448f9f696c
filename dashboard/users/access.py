"""Who may see what. A view declares the least role it asks for; one that declares none is shut to everybody."""

from datetime import datetime
from typing import cast

from flask import Flask, Request, abort, flash, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user
from limits import parse

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core import row_access
from dashboard.users import browsers
from dashboard.users import service as users
from dashboard.users.models import User
from dashboard.web import htmx
from dashboard.web.access import (
    PUBLIC,
    address_asked_for,
    is_for_scripts,
    role_of_view,
    short_address,
    view_mark,
)
from dashboard.web.security import limiter

# What has to be done after signing in before anything else opens, by its page: what opens until then, and why.
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
MOST_SIGN_INS = parse("100 per hour")


class SessionUser(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The person behind a request, as Flask-Login keeps it: known by the sign-in's key, never by a user id.

    ``idle``: so many seconds without use end their session; ``ends_at``: when it ends in any case, None where it has just begun.
    """

    idle = int(users.IDLE.total_seconds())

    def __init__(self, user: User, key: str = "", ends_at: datetime | None = None) -> None:
        self.user = user
        self._key = key
        self._ends_at = ends_at

    def get_id(self) -> str:
        """What goes into the session cookie."""
        return self._key

    def lasts(self) -> int:
        """Seconds until their session ends in any case."""
        left = self._ends_at - services().clock() if self._ends_at is not None else users.ABSOLUTE
        return max(int(left.total_seconds()), 0)

    @property
    def email(self) -> str:
        """Their address, for the audit trail."""
        return self.user.email

    def may(self, role: str) -> bool:
        """Whether their role is this one or a higher."""
        return users.ROLES.index(self.user.role) >= users.ROLES.index(role)

    def first(self) -> str | None:
        """The page that they have to be done with before anything else opens; None where there is none.

        Signing in at a provider is the provider's matter, and an access token opens what it does: neither is a password of here.
        """
        if not self._key or self.user.issuer is not None:
            return None
        if self.user.password_given:
            return "passwords.show"
        return "second.new" if self.needs_second_factor and self.user.totp_secret is None else None

    @property
    def needs_second_factor(self) -> bool:
        """Whether their role is one that must have one."""
        return self.user.role in services().settings.second_factor_roles


def visitor() -> SessionUser:
    """The signed-in person; only in views that ask for a role."""
    return cast(SessionUser, current_user)


def init_app(app: Flask) -> None:
    """Wire Flask-Login and the guard."""
    login_manager.init_app(app)
    login_manager.user_loader(_by_session)
    login_manager.request_loader(_by_token)
    app.before_request(_guard)


def log_in(user: User, detail: str = "") -> None:
    """Begin a sign-in in this browser, and write it into the audit trail. Commits.

    Aborts with 429 above ``MOST_SIGN_INS``: each is a row of the audit trail that stays.
    """
    if limiter.enabled and not limiter.limiter.hit(MOST_SIGN_INS, "signed in", str(user.id)):
        abort(
            429,
            "You have signed in a hundred times within an hour. Wait until it is over, or use a session that is open.",
        )
    begin_session(user)
    audit.record(services().clock(), user.email, "sign_in", audit.DONE, detail=detail)


def begin_session(user: User) -> None:
    """A new session for a person: nothing that was in it before, nobody else's key either. Commits."""
    session.clear()
    browser = browsers.in_words(request.user_agent.string)
    login_user(SessionUser(user, users.sign_in(user, services().clock(), browser).value))


def _by_session(key: str) -> SessionUser | None:
    found = users.signed_in(key, services().clock(), counts_as_use=not view_mark("poll", False))
    return (
        _seeing(SessionUser(found.user, key, found.started_at + users.ABSOLUTE)) if found else None
    )


def _by_token(asked: Request) -> SessionUser | None:
    """Personal access tokens open the twins for scripts, and nothing else."""
    scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not is_for_scripts() or asked.method not in {"GET", "HEAD"}:
        return None
    user = users.owner_of_token(token.strip(), services().clock())
    return _seeing(SessionUser(user)) if user else None


def _seeing(person: SessionUser) -> SessionUser:
    """From here on the store shows what this person may see."""
    if person.user.sees_some:
        row_access.restrict_to(person.user.id)
    return person


def guard_again() -> ResponseReturnValue | None:
    """Load the person anew and check their role again, for an answer that took long to make.

    Returns what to answer instead where they are not signed in any more; None where they may have it. Aborts as the guard does.
    """
    g.pop("_login_user", None)
    return _guard()


def _guard() -> ResponseReturnValue | None:
    if request.endpoint is None or request.endpoint == "static":
        return None
    role = role_of_view()
    if role == PUBLIC:
        return None
    if not current_user.is_authenticated:
        return _sign_in_first()
    first = visitor().first()
    if first is not None and request.endpoint not in REQUIRED_STEPS[first][0]:
        return _lead_to(first)
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


def _lead_to(first: str) -> ResponseReturnValue:
    if is_for_scripts():
        abort(403, REQUIRED_STEPS[first][1])
    return (
        htmx.go_to(url_for(first), status=403) if htmx.is_htmx() else redirect(url_for(first), 303)
    )


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
    # What a form would have done is not done by signing in; its page is where to press again.
    target = address_asked_for() if request.method == "GET" else htmx.path_here(request.referrer)
    return redirect(url_for("people.login", next=short_address(target)))
