"""Static files by their content: an address that carries a file's fingerprint may be kept for a year. All answers packed.

A packed page's length tells what else is in it only to who can have it asked for with a cookie: the session's is SameSite.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request
from flask_compress import Compress

A_YEAR = 31_536_000


def init_app(app: Flask) -> None:
    """Every ``url_for("static", ...)`` gets the fingerprint, every answer that was asked for by it may be kept."""
    app.config.update(COMPRESS_ALGORITHM=["br", "gzip"], COMPRESS_BR_LEVEL=1, COMPRESS_LEVEL=4)
    Compress(app)
    app.url_defaults(_fingerprint)
    app.after_request(_keep)


def _fingerprint(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static" and "filename" in values and current_app.static_folder is not None:
        values["v"] = _of_file(current_app.static_folder, values["filename"])


@cache
def _of_file(folder: str, name: str) -> str | None:
    """Worked out once: a page asks for the sprite with every icon, and a new version of the files comes with a restart."""
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
