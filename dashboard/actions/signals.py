"""Signals of actions."""

from blinker import Signal

# Sent with ``action_id`` when an action's outcome has been committed.
action_completed = Signal()
