"""Limits of API calls: concurrent ones in a process, requests a second over all."""

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
# The share of the limit that is not used: requests sent 1 s apart may arrive closer together.
MARGIN: Final = 0.05
SHARES: Final = 10


class CounterUnavailable(HTTPError):
    """The counter that all processes share cannot be reached."""

    def __init__(self) -> None:
        super().__init__("the shared count cannot be reached")


class RateLimiter:
    """A limiter. Callers hold ``slot`` during a call, and call ``wait`` before each request.

    A moving window allows at most ``per_second`` requests in any second. Requests are also spread
    over the second: each tenth of it has a share, and a process spaces its own requests.
    Otherwise a delayed burst could arrive together with the next one.
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
        """Take the limits.

        ``per_second`` None: no limit but the slots. ``redis_url`` empty: this process counts alone.
        """
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
        """Wait until one more request may be sent.

        Raises:
            CounterUnavailable: the shared counter is unavailable, so nothing may be sent.
        """
        if self._per_second is None:
            return
        # One thread waits at the limit; the others queue behind it in order.
        with self._queue:
            if (early := self._next - self._now()) > 0:
                self._sleep(early)
            try:
                while not self._limiter.hit(
                    self._share, KEY, str(share := int(self._today() * self._shares))
                ):
                    self._sleep(max(0.0, (share + 1) / self._shares - self._today()))
                while not self._limiter.hit(self._second, KEY):
                    self._sleep(self._spacing)
            except StorageError:
                raise CounterUnavailable from None
            self._next = max(self._next, self._now()) + self._spacing
