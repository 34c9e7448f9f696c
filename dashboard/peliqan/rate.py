"""How fast the API may be asked: so many calls at once, so many a second over all processes that share a Redis."""

import time
from collections.abc import Callable
from threading import BoundedSemaphore, Lock
from typing import Final

from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter
from urllib3.exceptions import HTTPError

KEY: Final = "peliqan"
# Requests are spread a little wider than the limit: on its way one may come closer to the next.
SPREAD: Final = 1.03


class CountAway(HTTPError):
    """The count that all processes share cannot be reached."""

    def __init__(self) -> None:
        super().__init__("the shared count cannot be reached")


class Pace:
    """Who calls the API holds ``slot`` while the call is out, and calls ``wait`` before each request, retries too.

    Any second holds at most ``per_second`` requests (a moving window, so no burst where two seconds meet), and one process
    spreads its own evenly over the second, since what leaves in a burst may arrive beside the next one.
    """

    def __init__(
        self,
        concurrency: int,
        per_second: int | None = None,
        redis_url: str = "",
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``per_second`` None: no limit but the slots. ``redis_url`` empty: this process counts for itself."""
        self.slot = BoundedSemaphore(concurrency)
        self._per_second, self._now, self._sleep = per_second, now, sleep
        self._queue = Lock()
        self._next = 0.0
        if per_second is not None:
            storage = storage_from_string(redis_url or "memory://", wrap_exceptions=True)
            assert isinstance(storage, Storage)
            self._limiter = MovingWindowRateLimiter(storage)
            self._item = RateLimitItemPerSecond(per_second)

    def wait(self) -> None:
        """Return when one more request may be sent.

        Raises:
            CountAway: nothing is to be sent then, since the limit is a promise.
        """
        if self._per_second is None:
            return
        # One waits at the limit, the others behind it in the order in which they came.
        with self._queue:
            if (early := self._next - self._now()) > 0:
                self._sleep(early)
            try:
                while not self._limiter.hit(self._item, KEY):
                    self._sleep(1 / self._per_second)
            except StorageError:
                raise CountAway from None
            self._next = max(self._next, self._now()) + SPREAD / self._per_second
