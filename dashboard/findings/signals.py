"""What happened to findings, for packages above this one; ``app.py`` connects them."""

from blinker import Signal

# Sent within the transaction. ``connections``: account and connection ids of the findings that recovered, ``at``: when.
recovered = Signal()
