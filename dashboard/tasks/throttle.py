"""Limit of how often a function runs that is called very often."""

from collections.abc import Callable
from threading import Lock, Timer
from time import monotonic


class Throttle:
    """Throttled function: it runs soon after each call, at most once in ``every`` seconds.

    The function runs at least once after the last call. It runs in a thread of its own, so that
    callers do not wait.
    """

    def __init__(self, function: Callable[[], None], every: float) -> None:
        self._function, self._every = function, every
        self._lock = Lock()
        self._pending = False
        self._ran_at = -every

    def __call__(self) -> None:
        """Schedule a run of the function, unless one is pending."""
        with self._lock:
            if self._pending:
                return
            self._pending = True
            wait = max(0.0, self._ran_at + self._every - monotonic())
        timer = Timer(wait, self._run)
        timer.daemon = True
        timer.start()

    def _run(self) -> None:
        with self._lock:
            self._pending = False
            self._ran_at = monotonic()
        self._function()
