"""The page to open after signing in: the one that was asked for, if it is the console's own."""

from urllib.parse import quote, unquote, urlsplit

from flask import request, url_for

# Most characters of the ``next`` parameter of the sign-in page. Links of the console are shorter;
# a longer address loses its query.
LONGEST_NEXT = 1_800


def safe_next(target: str | None) -> str:
    """Return the address to open after signing in: a page of this console, else the overview.

    Addresses begin at the host's root. A query that is too long is removed.
    """
    return short_address(_own_address(target)) or url_for("overview.show")


def _own_address(target: str | None) -> str:
    target, overview = target or "", url_for("overview.show")
    try:
        parts = urlsplit(target)
    except ValueError:
        return overview
    local = not parts.scheme and not parts.netloc and target[1:2] not in {"/", "\\"}
    clean = local and target.isprintable() and "\\" not in target
    # Browsers resolve “..” and “%2e%2e”, and another application may answer above this path.
    leaves = ".." in unquote(parts.path).split("/") or not target.startswith(overview)
    return target if clean and not leaves else overview


def short_address(target: str | None) -> str | None:
    """Return an address without its query if too long; None if the path alone is too long."""
    target = target or ""
    return next(
        (
            each
            for each in (target, target.partition("?")[0])
            if each and len(quote(each, safe="")) <= LONGEST_NEXT
        ),
        None,
    )


def requested_url() -> str:
    """Return path and query of this request, from the host's root."""
    return request.root_path + request.full_path.rstrip("?")
