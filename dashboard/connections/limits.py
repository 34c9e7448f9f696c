"""Limits of the pages of connections and accounts: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from typing import Final

# Days of the health strip.
STRIP_DAYS: Final = 30
# The latest changes of health that the page of a connection lists under the strip.
HEALTH_CHANGES_SHOWN: Final = 6
