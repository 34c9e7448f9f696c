"""Answers kept as long as the snapshot stays the same."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from flask import current_app

from dashboard.core import row_access
from dashboard.core.snapshot_version import version

V = TypeVar("V")


REMEMBERED = 500


# In seconds: what takes long, and how many times as long, at most how long, it may be shown after the snapshot moved on.
LONG, LASTS, LONGEST = 0.05, 20, 10.0


class SnapshotCache:
    """What was worked out from the snapshot, for as long as the snapshot stays the same. Shared by a process's threads.

    A pass over a large fleet changes the snapshot every second. What takes long to work out (50 ms) is then shown for twenty
    times as long, ten seconds at most, and one thread at a time works it out: else the processor would do little but count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: in seconds, from wherever."""
        self._clock = clock
        self._kept: OrderedDict[Hashable, CacheEntry] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, at: int, work_out: Callable[[], V]) -> V:
        """The value for ``key`` in the snapshot's version ``at``."""
        began = self._clock()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                if kept.version == at or kept.lasts(began):
                    found: V = kept.value
                    return found
                kept.under_way = True
        try:
            value = work_out()
        finally:
            if kept is not None:
                kept.under_way = False
        now = self._clock()
        took = now - began
        with self._lock:
            self._kept[key] = CacheEntry(
                value, at, now, took, min(took, kept.took if kept is not None else 0)
            )
            self._kept.move_to_end(key)
            if len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
        return value


def cached(key: Hashable, work_out: Callable[[], V]) -> V:
    """Return ``work_out()``, or its last value while the snapshot has not changed (``SnapshotCache`` has the exceptions).

    Each restricted user has values of their own.
    """
    kept: SnapshotCache = current_app.extensions.setdefault("remembered", SnapshotCache())
    # The version is read first: a change that comes between makes the next reader work it out anew.
    return kept.get((row_access.restricted_user_id(), key), version(), work_out)


@dataclass
class CacheEntry:
    """A value of one version, and when it was there. ``took``: in seconds, the last time; ``usual``: the quicker of the last two,
    or one that had to wait for something would be taken for one that takes long. ``under_way``: it is worked out anew."""

    value: Any
    version: int
    at: float
    took: float
    usual: float
    under_way: bool = False

    def lasts(self, now: float) -> bool:
        """Whether it is shown though the snapshot moved on."""
        return self.usual >= LONG and (
            self.under_way or now - self.at < min(LONGEST, LASTS * self.usual)
        )
