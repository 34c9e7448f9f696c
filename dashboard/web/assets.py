"""Static files with a fingerprint in their address, and compression of responses.

A browser may cache a file with a fingerprint for one year.

Compression could reveal a page's content by its length only to a site that can request the page
with the session cookie, which is SameSite.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, g, request, url_for
from flask_compress import Compress

A_YEAR = 31_536_000


def init_app(app: Flask) -> None:
    """Add the fingerprint to each ``url_for("static", ...)`` and the cache header to responses."""
    app.config.update(COMPRESS_ALGORITHM=["br", "gzip"], COMPRESS_BR_LEVEL=1, COMPRESS_LEVEL=4)
    Compress(app)
    app.url_defaults(_fingerprint)
    app.jinja_env.globals.update(icons_url=icons_url)
    app.after_request(_keep)


def icons_url() -> str:
    """Return the address of the icons. Kept for a request: one for each icon took 4 of 16 ms."""
    if "icons_url" not in g:
        g.icons_url = url_for("static", filename="vendor/icons.svg")
    found: str = g.icons_url
    return found


def _fingerprint(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static" and "filename" in values and current_app.static_folder is not None:
        values["v"] = _of_file(current_app.static_folder, values["filename"])


@cache
def _of_file(folder: str, name: str) -> str | None:
    """Return a file's fingerprint. Cached, since each icon needs it and files change by restart."""
    path = Path(folder, name)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else None


def _keep(response: Response) -> Response:
    if (
        request.endpoint == "static"
        and response.status_code in {200, 304}
        and request.args.get("v")
    ):
        response.headers["Cache-Control"] = f"public, max-age={A_YEAR}, immutable"
    return response
