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
# Kept back of the limit: what leaves a second apart may arrive a little closer.
MARGIN: Final = 0.05
SHARES: Final = 10


class CounterUnavailable(HTTPError):
    """The count that all processes share cannot be reached."""

    def __init__(self) -> None:
        super().__init__("the shared count cannot be reached")


class RateLimiter:
    """Who calls the API holds ``slot`` while the call is out, and calls ``wait`` before each request, retries too.

    Any second holds at most ``per_second`` requests, by a moving window. They are also spread over it, or what leaves in a burst
    and is late on its way would arrive with the next: each tenth of a second has its share, and a process spaces its own.
    """

    def __init__(
        self,
        concurrency: int,
        per_second: int | None = None,
        redis_url: str = "",
        *,
        now: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``per_second`` None: no limit but the slots. ``redis_url`` empty: this process counts for itself."""
        self.slot = BoundedSemaphore(concurrency)
        self._per_second, self._now, self._today, self._sleep = per_second, now, today, sleep
        self._queue = Lock()
        self._next = 0.0
        if per_second is not None:
            storage = storage_from_string(redis_url or "memory://", wrap_exceptions=True)
            assert isinstance(storage, Storage)
            self._limiter = MovingWindowRateLimiter(storage)
            allowed = per_second - int(per_second * MARGIN)
            self._shares = max(1, min(SHARES, allowed // 4))
            self._share = RateLimitItemPerSecond(-(-allowed // self._shares))
            self._second = RateLimitItemPerSecond(allowed)
            self._spacing = 1 / allowed

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
                while not self._limiter.hit(
                    self._share, KEY, str(place := int(self._today() * self._shares))
                ):
                    self._sleep(max(0.0, (place + 1) / self._shares - self._today()))
                while not self._limiter.hit(self._second, KEY):
                    self._sleep(self._spacing)
            except StorageError:
                raise CounterUnavailable from None
            self._next = max(self._next, self._now()) + self._spacing
