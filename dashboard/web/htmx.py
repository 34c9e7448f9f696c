"""Headers of htmx: read and written by this module only."""

from urllib.parse import urlsplit

from flask import Response, request, url_for


def is_htmx() -> bool:
    """Return whether the request asks for a fragment, and not for a page."""
    return (
        request.headers.get("HX-Request") == "true"
        and request.headers.get("HX-History-Restore-Request") != "true"
    )


def target() -> str:
    """Return the id of the element that the response replaces; empty if it has none."""
    return request.headers.get("HX-Target", "") if is_htmx() else ""


def path_of_page() -> str | None:
    """Return path and query of the page that sent the request; None if it is another site's."""
    return path_here(request.headers.get("HX-Current-URL"))


def path_here(url: str | None) -> str | None:
    """Return path and query of an address of this console; None for any other address."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    # If a proxy does not pass the Host header on, the browser knows only the external address.
    if parts.netloc not in {
        request.host,
        urlsplit(url_for("overview.show", _external=True)).netloc,
    }:
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def final_fragment(html: str) -> Response:
    """Return a fragment that is final; listeners of ``settled`` around it reload once."""
    return Response(html, headers={"HX-Trigger": "settled"})


def say_moved(answer: str) -> Response:
    """Return a fragment that makes listeners of ``moved from:body`` on the page reload."""
    return Response(answer, headers={"HX-Trigger": "moved"})


def go_to(url: str, status: int = 204) -> Response:
    """Return a response that makes htmx load another page, whatever its status."""
    return Response(status=status, headers={"HX-Redirect": url})
