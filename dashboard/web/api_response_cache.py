"""A short-lived cache of API responses, for requests of one page that need the same.

Example: the name and columns of a table, which the page and its rows both need.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final, TypeVar

from flask import current_app

from dashboard.context import services

V = TypeVar("V")
LASTS: Final = timedelta(seconds=30)
MOST: Final = 200


class Recent:
    """Responses that a web process received, shared by its threads. Holds ``MOST`` at most."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, tuple[datetime, Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, at: datetime) -> Any:
        """Return the value of ``key`` if it is younger than ``LASTS``; else None."""
        with self._lock:
            stored_at, value = self._entries.get(key, (None, None))
        return value if stored_at is not None and timedelta() <= at - stored_at < LASTS else None

    def store(self, key: Hashable, at: datetime, value: Any) -> None:
        """Store a value for ``LASTS``."""
        with self._lock:
            self._entries[key] = (at, value)
            self._entries.move_to_end(key)
            if len(self._entries) > MOST:
                self._entries.popitem(last=False)


def cached_briefly(key: Hashable, make: Callable[[], V], *, refresh: bool) -> V:
    """Return ``make()``, or its result for the same key of at most ``LASTS`` ago.

    ``make`` must not return None. ``refresh``: call it in any case. The caller must ensure that all
    who can use a key may see its value.
    """
    recent: Recent = current_app.extensions.setdefault("recent", Recent())
    at = services().clock()
    found: V | None = None if refresh else recent.get(key, at)
    if found is None:
        found = make()
        recent.store(key, at, found)
    return found
