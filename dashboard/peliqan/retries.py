"""When a safe read is tried again, and how long is waited: urllib3's Retry, with the waits that a person would bear."""

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import HTTPError

LONGEST_WAIT: Final = 20.0
RETRIED: Final = (429, 502, 503, 504)


class PatientRetry(Retry):
    """urllib3's Retry, but a Retry-After beyond ``LONGEST_WAIT`` is not slept through: the caller is told the wait.

    ``before`` is called before each further try, as the caller calls it before the first; what it raises ends the tries.
    ``told`` is given the answer, or None where there was none, of each try that another follows.
    """

    before: Callable[[], None] = staticmethod(lambda: None)
    told: Callable[[BaseHTTPResponse | None], None] = staticmethod(lambda _: None)

    def new(self, **changes: Any) -> Self:
        """The next try's, with the same two."""
        following = super().new(**changes)
        following.before, following.told = self.before, self.told
        return following

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether the status is one to try again."""
        return method == "GET" and status_code in RETRIED and bool(self.total)

    def increment(self, *args: Any, **more: Any) -> Self:
        """Hang up on the answer that is tried again: urllib3 would read it to its end, however slowly that comes."""
        if (response := more.get("response")) is not None:
            response.close()
        following = super().increment(*args, **more)
        self.told(response)
        return following

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """The wait, or None where the header is nonsense, on which urllib3 would give up."""
        return retry_wait(response.headers.get("Retry-After"))

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait as Retry-After says, if that is bearable."""
        if response is not None and (self.get_retry_after(response) or 0) > LONGEST_WAIT:
            raise TooLongToWait(response)
        super().sleep(response)
        self.before()


class TooLongToWait(HTTPError):
    """The server asks for a longer wait than anybody at a page would bear."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self.status = response.status
        self.wait = retry_wait(response.headers.get("Retry-After"))
        super().__init__("Retry-After is too long to wait for")


def retry_wait(header: str | None, now: float | None = None) -> float | None:
    """A Retry-After header in seconds, from seconds or a date; None when it is absent or unreadable."""
    if not header:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", header):
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - (time.time() if now is None else now))
    except (ValueError, TypeError, OverflowError):
        return None
