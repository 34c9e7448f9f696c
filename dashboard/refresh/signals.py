"""Signals of the refresh for packages above this one; ``app.py`` connects them."""

from blinker import Signal

# Sent in the transaction that saves the reads. ``fetches``: the result for each account.
accounts_read = Signal()
