"""Quotas of one user, over sessions and access tokens together.

They stop a script from taking or creating an unlimited amount, and are far above manual use. Lists
on pages are not counted, since they come from the snapshot and cost little.
"""

import logging
from functools import cache
from typing import Final

from flask import Flask, abort, request
from flask_login import current_user
from limits import parse_many
from redis.exceptions import RedisError

from dashboard.telemetry.outage_log import AWAY
from dashboard.users.authentication import visitor
from dashboard.users.limits import CHANGES_OF_A_USER, FILES_OF_A_USER, READS_OF_A_USER
from dashboard.web.required_role import PUBLIC, role_of_view
from dashboard.web.security import limiter

FILES: Final = (".csv", ".jsonl", ".parquet")
# Limit by kind, and the kind's name in the error message.
AMOUNTS: Final = {
    "files": (FILES_OF_A_USER, "files"),
    "reads": (READS_OF_A_USER, "pages of rows and lists for scripts"),
    "changes": (CHANGES_OF_A_USER, "changes"),
}
_parsed = cache(parse_many)


def init_app(app: Flask) -> None:
    """Count requests after the role check, so that refused ones do not count."""
    app.before_request(_count)


def _kind() -> str | None:
    if request.method not in {"GET", "HEAD", "OPTIONS"}:
        return "changes"
    if request.path.endswith(FILES):
        return "files"
    return "reads" if request.path.endswith(".json") or request.blueprint == "tables" else None


def _count() -> None:
    kind = _kind()
    if (
        not limiter.enabled
        or kind is None
        or role_of_view() in {None, PUBLIC}
        or not current_user.is_authenticated
    ):
        return
    amount, label = AMOUNTS[kind]
    try:
        fits = all(
            limiter.limiter.hit(each, kind, str(visitor().user.id)) for each in _parsed(amount)
        )
    except RedisError as error:
        # Requests that do not need Redis otherwise continue without it, uncounted.
        logging.getLogger(__name__).warning(
            "Amounts are not counted: %s", type(error).__name__, extra={AWAY: error}
        )
        return
    if not fits:
        abort(429, f"One person may have {amount.replace('; ', ' and ')} of {label}.")
