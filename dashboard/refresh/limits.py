"""Limits of the refresh: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# An account is not read again earlier than this.
SHORTEST_WAIT: Final = timedelta(seconds=60)
# An account counts as open for this time after a page of it was opened.
WATCHED_FOR: Final = timedelta(minutes=10)
# Data of this age is not read again when a page opens.
FRESH_FOR: Final = timedelta(seconds=30)
# If a run was due but the status did not change, its runs are read again after this time.
RUNS_READ_EVERY: Final = timedelta(hours=6)
# A refresh without progress for this time has no worker.
IDLE_AFTER: Final = timedelta(seconds=90)
