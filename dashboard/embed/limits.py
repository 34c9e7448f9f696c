"""Limits of the embedded widget: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# A token of the widget is valid for this time, if Peliqan does not say its end.
TOKEN_LIFE: Final = timedelta(minutes=30)
# Customers offered for completion; other external ids can be typed.
MOST_OFFERED: Final = 500
# Characters of the connectors to offer, which are part of the page's address.
LONGEST_CONNECTORS: Final = 1_000
