"""Limits of findings: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# For this time a finding or a cause has the state "new".
NEW_FOR: Final = timedelta(hours=24)
# After this time the smaller row count is the table's normal count.
DROP_LASTS: Final = timedelta(days=7)
# Older counts of the warehouse are no evidence of the present state.
DATA_LASTS: Final = timedelta(days=7)
# A table is stale if no row was received for this time of successful runs.
TABLE_STALE_AFTER: Final = timedelta(days=7)
# Rows for each key. Up to 1 % more rows than keys may be rows that changed while the warehouse
# counted.
DUPLICATE_KEYS_FROM: Final = 1.01
# Characters of an error text in evidence.
LONGEST_QUOTE: Final = 160
# Characters of a table's name in evidence.
LONGEST_TABLE_NAME: Final = 60
# Days for which a finding or cause can be suppressed.
SUPPRESSION_DAYS: Final = (1, 3, 7, 30)
