"""Limits of webhooks: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# Bytes of a body.
LARGEST_BODY: Final = 256 * 1024
# The read of an account is requested again after this time, then after twice that, and so on: in
# all, for about 20 minutes.
RETRY_WAIT: Final = timedelta(seconds=5)
# Reads of an account for one event, after which the event fails.
MOST_TRIES: Final = 8
# Events are deleted after this time; `jobs.TOO_LATE` says it to users.
EVENTS_KEPT_FOR: Final = timedelta(days=14)
