"""Limits of SQL queries: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# Statements and results are deleted after this time.
KEPT_FOR: Final = timedelta(days=1)
# Queries of one user that may be waiting or running at a time.
MOST_OPEN: Final = 300
# Rows of a result.
MOST_ROWS: Final = 10_000
# Bytes of a result.
MOST_BYTES: Final = 8_000_000
# Seconds that a query may take.
QUERY_SECONDS: Final = 60
# Seconds to connect to a warehouse.
CONNECT_SECONDS: Final = 10
# Seconds to wait for a table that somebody else locked.
LOCK_SECONDS: Final = 5
