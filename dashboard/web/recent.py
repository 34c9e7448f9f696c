"""What a page asked the API for a moment ago: a table's name and columns, which the rows that it then asks for need as well."""

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
    """Answers that one web process got, shared by its threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[datetime, Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, at: datetime) -> Any:
        """What was kept for ``key`` no half minute ago; else None."""
        with self._lock:
            kept_at, value = self._kept.get(key, (None, None))
        return value if kept_at is not None and timedelta() <= at - kept_at < LASTS else None

    def keep(self, key: Hashable, at: datetime, value: Any) -> None:
        """For whoever asks within half a minute."""
        with self._lock:
            self._kept[key] = (at, value)
            self._kept.move_to_end(key)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)


def remember_for_a_moment(key: Hashable, how: Callable[[], V], *, anew: bool) -> V:
    """``how()``, which is nothing that is None, or what it gave a moment ago. Who may see the one may see the other: that is the
    caller's to know. ``anew``: ask it, whatever is kept.
    """
    recent: Recent = current_app.extensions.setdefault("recent", Recent())
    at = services().clock()
    found: V | None = None if anew else recent.get(key, at)
    if found is None:
        found = how()
        recent.keep(key, at, found)
    return found
