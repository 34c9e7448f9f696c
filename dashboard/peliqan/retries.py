"""When a safe read is tried again, and how long to wait before."""

import random
import re
import time
from email.utils import parsedate_to_datetime
from typing import Final

# Seconds. A server that asks for a longer wait is not waited for: the caller gets the wait as ``retry_after``.
LONGEST_WAIT: Final = 20.0
LONGEST_HEADER: Final = 100  # characters; a date has 29
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
RETRIED: Final = frozenset({429, 502, 503, 504})


def next_wait(tried: int, retry_after: float | None, backoff: float) -> float | None:
    """Return the seconds to wait before the next try, after so many tries; None if that is too long for a person at a page.

    ``retry_after``: what the server asked for. Otherwise nothing before the first retry, then ``backoff`` times 2, 4 and so on.
    A random part of up to ``backoff`` is added, so that processes do not retry in step.
    """
    if retry_after is not None:
        return retry_after if retry_after <= LONGEST_WAIT else None
    grown = backoff * 2 ** (tried - 1) if tried > 1 else 0.0
    return min(LONGEST_WAIT, grown + random.uniform(0, backoff))  # noqa: S311 - no secret


def retry_wait(header: str | None, now: float | None = None) -> float | None:
    """A Retry-After header in seconds, from seconds or a date; None when it is absent or unreadable."""
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
