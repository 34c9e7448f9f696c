"""Limits of exports: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# A file is deleted after this time.
KEPT_FOR: Final = timedelta(days=1)
# Exports of one user that may be waiting or running at a time.
MOST_OPEN: Final = 5
# Bytes of a file that is made within a request. The disk may be shared with an SQLite database. An
# export job, of which one runs at a time, writes larger files.
LARGEST: Final = 1_000_000_000
# Temporary errors in a row without a new page, after which an export fails.
MOST_TRIES: Final = 5
# Wait after a temporary error.
RETRY_WAIT: Final = timedelta(seconds=30)
# Seconds in which a Parquet file must be complete.
LONGEST_PARQUET_RUN: Final = 6 * 3600
