"""Limits of alert rules and messages: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# Rules of one console.
MOST_RULES: Final = 50
# A cause or recovery is reported when it has lasted this long.
SEND_AFTER: Final = timedelta(minutes=5)
# Waits after the first, second and third failed attempt; after the fourth, the message is given
# up.
RETRY_WAITS: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
# An older recovery, from a time without a worker, is not sent.
RECOVERIES_SENT_FOR: Final = timedelta(days=2)
# A digest that is later than this is skipped.
DIGEST_WITHIN: Final = timedelta(hours=12)
# Causes that a message lists; the number of others is given.
MOST_LINES: Final = 10
# Characters of a subject.
LONGEST_SUBJECT: Final = 200
# Characters of an address to which alerts are sent.
LONGEST_ADDRESS: Final = 2000
# Seconds to connect to a service, and to wait for its response.
SEND_TIMEOUT: Final = 10.0
# One task sends for this long; the next one continues.
SEND_FOR: Final = timedelta(seconds=45)
