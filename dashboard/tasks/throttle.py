"""Hints that are asked for far more often than they need to be given."""

from collections.abc import Callable
from threading import Lock, Timer
from time import monotonic


class Seldom:
    """Gives a hint soon after it was asked for, and at most once in ``every`` seconds however often that is.

    Nothing that was asked for stays without a hint after it. It is given in a thread of its own: whoever asks does not wait.
    """

    def __init__(self, hint: Callable[[], None], every: float) -> None:
        self._hint, self._every = hint, every
        self._lock = Lock()
        self._pending = False
        self._given_at = -every

    def __call__(self) -> None:
        """Ask for it."""
        with self._lock:
            if self._pending:
                return
            self._pending = True
            wait = max(0.0, self._given_at + self._every - monotonic())
        timer = Timer(wait, self._give)
        timer.daemon = True
        timer.start()

    def _give(self) -> None:
        with self._lock:
            self._pending = False
            self._given_at = monotonic()
        self._hint()
