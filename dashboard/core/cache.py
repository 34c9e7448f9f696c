"""A cache of values that are computed from the snapshot."""

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
MAX_ENTRIES = 500
# A value counts as slow when computing it takes this many seconds.
SLOW = 0.05
# An outdated slow value is served for this many times its computing time …
STALE_FACTOR = 20
# … but for at most this many seconds.
MAX_STALE = 10.0


class SnapshotCache:
    """Values by key and snapshot version. Shared by the threads of a process.

    A refresh of a large fleet changes the snapshot every second. So an outdated value that takes
    50 ms or more to compute is served for 20 times its computing time, at most 10 seconds, and
    one thread at a time computes it again. Otherwise the processor would do little but count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock that returns seconds from any fixed point."""
        self._clock = clock
        self._entries: OrderedDict[Hashable, CacheEntry] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, at: int, compute: Callable[[], V]) -> V:
        """Return the value for ``key`` in snapshot version ``at``, computing it if necessary."""
        started = self._clock()
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                if entry.version == at or entry.may_be_served(started):
                    found: V = entry.value
                    return found
                entry.is_computing = True
        try:
            value = compute()
        finally:
            if entry is not None:
                entry.is_computing = False
        now = self._clock()
        took = now - started
        with self._lock:
            usual = min(took, entry.took if entry is not None else 0)
            self._entries[key] = CacheEntry(value, at, now, took, usual)
            self._entries.move_to_end(key)
            if len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)
        return value


def cached(key: Hashable, compute: Callable[[], V]) -> V:
    """Return ``compute()``, or its last value while the snapshot has not changed.

    ``SnapshotCache`` describes when an outdated value is served. Each restricted user has values
    of their own.
    """
    cache: SnapshotCache = current_app.extensions.setdefault("snapshot cache", SnapshotCache())
    # The version is read first: if the snapshot changes meanwhile, the next reader computes again.
    return cache.get((row_access.restricted_user_id(), key), version(), compute)


@dataclass
class CacheEntry:
    """A value of one snapshot version.

    ``at``: clock seconds when it was computed. ``took``: seconds that computing it took.
    ``usual``: the shorter of the last two times, so that one slow lock does not make it slow.
    ``is_computing``: a thread computes it again.
    """

    value: Any
    version: int
    at: float
    took: float
    usual: float
    is_computing: bool = False

    def may_be_served(self, now: float) -> bool:
        """Return whether the value is served although the snapshot has changed since."""
        return self.usual >= SLOW and (
            self.is_computing or now - self.at < min(MAX_STALE, STALE_FACTOR * self.usual)
        )
