"""What the refresh read, for packages above this one; ``app.py`` connects them."""

from blinker import Signal

# Sent within the transaction that saves them. ``fetches``: of each account, what was read or why it could not be.
accounts_read = Signal()
