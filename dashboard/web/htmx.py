"""The only reader and writer of htmx's headers."""

from urllib.parse import urlsplit

from flask import Response, request, url_for


def is_htmx() -> bool:
    """Whether a fragment is asked for rather than a page."""
    return (
        request.headers.get("HX-Request") == "true"
        and request.headers.get("HX-History-Restore-Request") != "true"
    )


def target() -> str:
    """The id of what the answer is put into; empty where it has none."""
    return request.headers.get("HX-Target", "") if is_htmx() else ""


def path_of_page() -> str | None:
    """Path and query of the page that asks, where it is one of ours."""
    return path_here(request.headers.get("HX-Current-URL"))


def path_here(url: str | None) -> str | None:
    """Path and query of an address of this console; None for any other."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    # Behind a proxy that passes no Host on, the browser knows the console by its external address alone.
    if parts.netloc not in {
        request.host,
        urlsplit(url_for("overview.show", _external=True)).netloc,
    }:
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def say_settled(answer: str) -> Response:
    """A fragment that has come to its end: what stands around it (``hx-trigger="settled"``) reads itself anew, once."""
    return Response(answer, headers={"HX-Trigger": "settled"})


def say_moved(answer: str) -> Response:
    """A fragment that tells what else on the page should read itself anew (``hx-trigger="moved from:body"``)."""
    return Response(answer, headers={"HX-Trigger": "moved"})


def go_to(url: str, status: int = 204) -> Response:
    """Make htmx load another page; followed on any status."""
    return Response(status=status, headers={"HX-Redirect": url})
