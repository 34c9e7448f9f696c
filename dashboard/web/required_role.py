"""The role that a view requires, declared by a decorator."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, request

View = TypeVar("View", bound=Callable[..., Any])


PUBLIC = "public"


def requires(role: str, *, poll: bool = False) -> Callable[[View], View]:
    """Declare the lowest role that may open a view; ``PUBLIC`` for everyone.

    ``poll``: requests to the view do not count as use of the session, and start none.
    """

    def mark(view: View) -> View:
        view.__dict__.update(role=role, poll=poll)
        return view

    return mark


def view_mark(name: str, otherwise: Any = None) -> Any:
    """Return a mark that ``requires`` set on the view of this request."""
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, name, otherwise)


def role_of_view() -> str | None:
    """Return the role that the requested view declares; None without a view or declaration."""
    found: str | None = view_mark("role")
    return found


def is_for_scripts() -> bool:
    """Return whether the path's ending asks for data, and not for a page."""
    return request.path.endswith((".json", ".csv", ".jsonl", ".parquet"))
