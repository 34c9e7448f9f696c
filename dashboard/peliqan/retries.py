"""When a safe read is retried, and how long to wait before that."""

import random
import re
import time
from email.utils import parsedate_to_datetime
from typing import Final

from dashboard.peliqan.limits import LONGEST_RETRY_WAIT

LONGEST_HEADER: Final = 100  # characters; a date has 29
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
RETRIED: Final = frozenset({429, 502, 503, 504})


def next_wait(tries: int, retry_after: float | None, backoff: float) -> float | None:
    """Return the seconds to wait after ``tries`` tries; None if a page cannot wait that long.

    ``retry_after``: the server's wish. Without it the wait is 0 before the first retry, then
    ``backoff`` times 2, 4 and so on. Up to ``backoff`` random seconds are added, so that
    processes do not retry at the same moment.
    """
    if retry_after is not None:
        return retry_after if retry_after <= LONGEST_RETRY_WAIT else None
    grown = backoff * 2 ** (tries - 1) if tries > 1 else 0.0
    return min(LONGEST_RETRY_WAIT, grown + random.uniform(0, backoff))  # noqa: S311 - no secret


def retry_wait(header: str | None, now: float | None = None) -> float | None:
    """Return a Retry-After header (seconds or a date) in seconds; None if absent or unreadable."""
    if not header or len(header) > LONGEST_HEADER:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return float(header)
    try:
        return max(
            0.0, parsedate_to_datetime(header).timestamp() - (time.time() if now is None else now)
        )
    except (ValueError, TypeError, OverflowError):
        return None
