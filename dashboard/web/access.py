"""What a view requires of a visitor: a role, or nothing at all."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit

from flask import current_app, request, url_for
from flask_login import UserMixin, current_user

from dashboard.context import console
from dashboard.users import service as people
from dashboard.users.access import LONGEST_NEXT
from dashboard.users.models import User

View = TypeVar("View", bound=Callable[..., Any])


PUBLIC = "public"


class Visitor(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The person behind a request, as Flask-Login keeps it: known by the sign-in's key, never by a user id.

    ``idle``: so many seconds without use end their session; ``ends_at``: when it ends in any case, None where it has just begun.
    """

    idle = int(people.IDLE.total_seconds())

    def __init__(self, user: User, key: str = "", ends_at: datetime | None = None) -> None:
        self.user = user
        self._key = key
        self._ends_at = ends_at

    def get_id(self) -> str:
        """What goes into the session cookie."""
        return self._key

    def lasts(self) -> int:
        """Seconds until their session ends in any case."""
        left = self._ends_at - console().clock() if self._ends_at is not None else people.ABSOLUTE
        return max(int(left.total_seconds()), 0)

    @property
    def email(self) -> str:
        """Their address, for the audit trail."""
        return self.user.email

    def may(self, role: str) -> bool:
        """Whether their role is this one or a higher."""
        return people.ROLES.index(self.user.role) >= people.ROLES.index(role)

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
        return self.user.role in console().settings.second_factor_roles


def visitor() -> Visitor:
    """The signed-in person; only in views that ask for a role."""
    return cast(Visitor, current_user)


def requires(role: str, *, poll: bool = False) -> Callable[[View], View]:
    """Declare a view's least role (``PUBLIC`` for none). A ``poll`` never keeps anybody signed in, nor signs them in."""

    def mark(view: View) -> View:
        view.__dict__.update(role=role, poll=poll)
        return view

    return mark


def safe_next(target: str | None) -> str:
    """Where to go after signing in: an address of this console, from its host's root on, or its overview; cut to what fits."""
    return _short(_own_address(target)) or url_for("overview.show")


def _own_address(target: str | None) -> str:
    target, overview = target or "", url_for("overview.show")
    try:
        parts = urlsplit(target)
    except ValueError:
        return overview
    local = not parts.scheme and not parts.netloc and target[1:2] not in {"/", "\\"}
    clean = local and target.isprintable() and "\\" not in target
    # Browsers resolve “..” and “%2e%2e”: below a path, another application may be there.
    leaves = ".." in unquote(parts.path).split("/") or not target.startswith(overview)
    return target if clean and not leaves else overview


def _view_mark(name: str, otherwise: Any = None) -> Any:
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, name, otherwise)


def role_of_view() -> str | None:
    """The least role that what is asked for declares; None where it declares none, or is nothing."""
    found: str | None = _view_mark("role")
    return found


def is_for_scripts() -> bool:
    """Whether data is asked for rather than a page, by the path's ending."""
    return request.path.endswith((".json", ".csv", ".jsonl", ".parquet"))


def _short(target: str | None) -> str | None:
    """A path with its query, or without it where that is too long for an address; None where the path is, too."""
    target = target or ""
    return next((each for each in (target, target.partition("?")[0]) if each and len(quote(each, safe="")) <= LONGEST_NEXT), None)
