"""When an action that runs at Peliqan is polled again, and what its connection is then."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from dashboard import peliqan
from dashboard.actions.models import Action
from dashboard.fleet import queries
from dashboard.refresh.live import read_connection

# So long after an event of a connection more are expected.
EVENTS_COME = timedelta(minutes=10)


class Polled(Protocol):
    """What is polled at Peliqan: an action, or a delivery."""

    @property
    def account_id(self) -> int:
        """The account's id."""

    @property
    def connection_id(self) -> int:
        """The connection's id."""

    @property
    def looks(self) -> int:
        """How often it was polled."""

    @property
    def looked_at(self) -> datetime | None:
        """When it was polled last."""


def read_after(api: peliqan.Peliqan, action: Action, at: datetime) -> None:
    """How the connection stands after an action, however it ended: that is judged by it. Unreadable, the last reading counts."""
    if not action.connection_id:
        # An invite is for a connection that there is not yet.
        return
    with suppress(peliqan.PeliqanError):
        read_connection(api, action.account_id, action.connection_id, at)


def next_poll(action: Polled, at: datetime, interval: float) -> datetime:
    """``interval`` seconds for the first four looks, twice that up to the tenth, then four times (15, 30, 60 s by default).

    While Peliqan sends events of the connection it is four times from the first: the end of a run is told, and then the action
    is due at once. What was told while somebody looked is looked at right after.
    """
    told_at = queries.event_at(action.account_id, action.connection_id)
    if told_at is not None and action.looked_at is not None and told_at > action.looked_at:
        return at + timedelta(seconds=min(interval, 1))
    told = told_at is not None and at - told_at < EVENTS_COME
    factor = 1 if action.looks < 4 else 2 if action.looks < 10 else 4
    return at + timedelta(seconds=interval * (4 if told else factor))
