"""Limits of pulls: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# Schedules of one console.
MOST_SCHEDULES: Final = 50
# Failures, and remarks, that are stored of a run.
MOST_REMARKS_STORED: Final = 100
# Failed tables that the list of runs names; the number of others is given.
FAILURES_NAMED: Final = 5
# Each so many runs, a table is copied in full.
FULL_EVERY: Final = 20
# Loaders set the time before the row is visible, so rows from this long before are read again.
OVERLAP: Final = timedelta(minutes=15)
# Of two rows that are inserted together, the higher number may be visible first, so this many
# numbers are read again.
NUMBERS_AGAIN: Final = 1000
# Seconds to wait for a lock on SQLite's file, or on a table in PostgreSQL.
LOCK_SECONDS: Final = 30
