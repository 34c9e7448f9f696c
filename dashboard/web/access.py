"""What a view requires of a visitor: a role, or nothing at all."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from flask import current_app, request, url_for

# Characters of where to go after signing in, as it stands in the address of the sign-in page. What the console links to is
# shorter; of a longer one the path stays.
LONGEST_NEXT = 1_800

View = TypeVar("View", bound=Callable[..., Any])


PUBLIC = "public"


def requires(role: str, *, poll: bool = False) -> Callable[[View], View]:
    """Declare a view's least role (``PUBLIC`` for none). A ``poll`` never keeps anybody signed in, nor signs them in."""

    def mark(view: View) -> View:
        view.__dict__.update(role=role, poll=poll)
        return view

    return mark


def safe_next(target: str | None) -> str:
    """Where to go after signing in: an address of this console, from its host's root on, or its overview; cut to what fits."""
    return short_address(_own_address(target)) or url_for("overview.show")


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


def view_mark(name: str, otherwise: Any = None) -> Any:
    """Return what the view of this request was marked with (``requires``)."""
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, name, otherwise)


def role_of_view() -> str | None:
    """The least role that what is asked for declares; None where it declares none, or is nothing."""
    found: str | None = view_mark("role")
    return found


def is_for_scripts() -> bool:
    """Whether data is asked for rather than a page, by the path's ending."""
    return request.path.endswith((".json", ".csv", ".jsonl", ".parquet"))


def short_address(target: str | None) -> str | None:
    """A path with its query, or without it where that is too long for an address; None where the path is, too."""
    target = target or ""
    return next(
        (
            each
            for each in (target, target.partition("?")[0])
            if each and len(quote(each, safe="")) <= LONGEST_NEXT
        ),
        None,
    )


def address_asked_for() -> str:
    """Path and query of this request, from its host's root on."""
    return request.root_path + request.full_path.rstrip("?")
