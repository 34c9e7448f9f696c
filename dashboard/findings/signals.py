"""Signals about findings for features above this one; ``app.py`` connects them."""

from blinker import Signal

# Sent within the transaction. ``connections``: set of (account id, connection id or None) of the
# recovered findings; ``at``: time of the evaluation.
recovered = Signal()
