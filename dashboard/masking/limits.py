"""Limits of masked columns: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# A masked column stays readable for this time after a reason was given.
REVEALED_FOR: Final = timedelta(minutes=15)
# Characters of the reason.
SHORTEST_REASON: Final = 5
# Characters of the reason.
LONGEST_REASON: Final = 500
# Characters of a column's name. A longer name is masked without a check: no column of Peliqan has
# one.
LONGEST_NAME: Final = 1_000
