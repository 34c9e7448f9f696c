"""Limits of the audit trail: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from typing import Final

# Rows of failures and refusals an hour: for each user, and for all clients who are no users.
MOST_ROWS: Final = 100
