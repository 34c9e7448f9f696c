"""Poll times of actions, and the read of the connection after an action."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from dashboard import peliqan
from dashboard.actions.models import Action
from dashboard.fleet import queries
from dashboard.refresh.live import read_connection

# After an event of a connection, more events are expected for this time.
EVENTS_COME = timedelta(minutes=10)


class Polled(Protocol):
    """What is polled at Peliqan: an action or a delivery."""

    @property
    def account_id(self) -> int:
        """The account's id."""

    @property
    def connection_id(self) -> int:
        """The connection's id."""

    @property
    def looks(self) -> int:
        """The number of polls."""

    @property
    def looked_at(self) -> datetime | None:
        """The time of the last poll."""


def read_after(api: peliqan.Peliqan, action: Action, at: datetime) -> None:
    """Read the connection after an action, for its outcome. Errors leave the last known state."""
    if not action.connection_id:
        # An invite has no connection yet.
        return
    with suppress(peliqan.PeliqanError):
        read_connection(api, action.account_id, action.connection_id, at)


def next_poll(action: Polled, at: datetime, interval: float) -> datetime:
    """Return when to poll the action again.

    Polls 1-4: every ``interval`` seconds; 5-10: 2 times that; later: 4 times (15, 30, 60 s by
    default). If Peliqan sent an event of this connection in the last 10 minutes: always 4 times,
    since the event at the end of a run makes the action due. An event that arrived during the poll
    needs another poll after 1 second at most.
    """
    event_at = queries.event_at(action.account_id, action.connection_id)
    if event_at is not None and action.looked_at is not None and event_at > action.looked_at:
        return at + timedelta(seconds=min(interval, 1))
    gets_events = event_at is not None and at - event_at < EVENTS_COME
    factor = 1 if action.looks < 4 else 2 if action.looks < 10 else 4
    return at + timedelta(seconds=interval * (4 if gets_events else factor))
