"""Limits of actions: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# A sync without a result is given up after this time.
GIVE_UP_AFTER: Final = timedelta(hours=24)
# The outcome of an action is known after this time at the latest.
OUTCOME_WITHIN: Final = timedelta(hours=24)
# Added to a connection's interval before the outcome is assessed.
OUTCOME_GRACE: Final = timedelta(minutes=30)
