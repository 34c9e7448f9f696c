"""How often to look at something that is under way: gently, and ever more gently, as Peliqan's SDK does."""

from datetime import datetime, timedelta

from dashboard.store.models import Action


def next_look(action: Action, at: datetime, interval: float) -> datetime:
    """``interval`` seconds for the first four looks, twice that up to the tenth, then four times (15, 30, 60 s by default)."""
    factor = 1 if action.looks < 4 else 2 if action.looks < 10 else 4
    return at + timedelta(seconds=interval * factor)
