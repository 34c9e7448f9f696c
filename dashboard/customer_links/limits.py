"""Limits of customer links: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# After this time an unused link needs a reminder: it is valid for 4 more hours.
REMIND_AFTER: Final = timedelta(hours=20)
# A link that nobody used is given up after this time.
GIVE_UP_AFTER: Final = timedelta(hours=24)
# A renewed bank consent stays in the review for this time.
SHOWN_AFTER_RENEWAL: Final = timedelta(days=7)
# Connections that need their customer, on the page of links.
SHOWN_NEEDED: Final = 6
# Characters of a link that opens the mail program. Some mail programs cut longer addresses,
# and with them the message.
LONGEST_MAILTO: Final = 2000
# Characters of a name in a message.
LONGEST_NAME: Final = 120
