"""Limits of bulk jobs: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from typing import Final

# Failures in a row after which a job stops and asks.
STOP_AFTER_FAILURES: Final = 5
# Connections of one job.
MOST_CONNECTIONS: Final = 1_000_000
# Connections that the page offers to try first.
MOST_OFFERED: Final = 200
