"""Limits of the stored fleet: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from typing import Final

# Runs of a connection that are stored.
MOST_RUNS_STORED: Final = 20
# How many earlier runs show what is usual.
ENOUGH_RUNS: Final = 3
