"""Limits of probes: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# The readiness probe calls data of this age stale.
STALE_AFTER: Final = timedelta(minutes=30)
# The worker claims the minute task every 50 seconds; after three claims missing, no worker runs.
WORKER_SEEN_WITHIN: Final = timedelta(seconds=150)
