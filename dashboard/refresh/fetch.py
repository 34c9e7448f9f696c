"""The calls of one account: connections, then runs where needed. Uses no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dashboard import peliqan
from dashboard.context import Clock
from dashboard.peliqan.statuses import Severity
from dashboard.refresh.limits import RUNS_READ_EVERY, SHORTEST_WAIT
from dashboard.refresh.schedule import next_reading
from dashboard.refresh.writer import AccountFetch, StoredConnection, is_news

NOT_WELL = {Severity.ERROR, Severity.ATTENTION, Severity.UNKNOWN, Severity.BUSY}


@dataclass(frozen=True)
class AccountToRead:
    """An account to read, and what is stored about it.

    ``known``: its stored connections by id. ``watched_until``: until then it is read more often.
    ``was_readable``: the last read succeeded.
    """

    account_id: int
    known: Mapping[int, StoredConnection]
    watched_until: datetime | None = None
    was_readable: bool = True


def read_account(
    api: peliqan.Peliqan, wanted: AccountToRead, clock: Clock, interval: float
) -> AccountFetch:
    """Read one account; an error is part of the result. ``interval``: seconds between refreshes."""
    account_id, known, watched_until = wanted.account_id, wanted.known, wanted.watched_until
    account = api.for_account(account_id)
    at = clock()
    try:
        connections = account.connections()
        if known and not connections:
            confirm_empty_listing(account, min(known))
        runs = {
            connection.id: account.runs(connection.id)
            for connection in connections
            if not connection.is_warehouse and needs_runs(connection, known.get(connection.id), at)
        }
    except peliqan.PeliqanError as error:
        return AccountFetch(
            account_id, at, next_reading(at, interval, [], watched_until), error=error
        )
    since = [
        known[each.id].status_since
        if each.id in known and known[each.id].status == each.status
        else at
        for each in connections
        if each.severity in NOT_WELL and not each.is_warehouse
    ]
    due_at = next_reading(at, interval, since, watched_until)
    return AccountFetch(
        account_id,
        at,
        due_at,
        connections,
        runs,
        news=bool(runs) or not wanted.was_readable or is_news(connections, known),
    )


def confirm_empty_listing(account: peliqan.AccountApi, connection_id: int) -> None:
    """Check that an account with an empty listing has really lost a connection that it had.

    Raises:
        peliqan.PeliqanError: the connection still exists, or could not be read.
    """
    try:
        account.connection_by_id(connection_id)
    except peliqan.NotFound:
        return
    raise peliqan.BrokenAnswer(
        "servers", note="it lists no connection any more, though one of them is still there"
    )


def needs_runs(seen: peliqan.Connection, known: StoredConnection | None, at: datetime) -> bool:
    """Return whether a connection's runs are worth a call.

    True for a new connection, for a changed status, and rarely if another run may have ended.
    """
    if known is None or known.runs_read_at is None or known.status != seen.status:
        return True
    age = at - known.runs_read_at
    if known.running:
        # After a quarter of the run's age, as ``next_reading`` does.
        return age >= max(SHORTEST_WAIT, (at - (known.last_run_at or known.runs_read_at)) / 4)
    expected = known.last_run_at is None or (
        known.run_expected_at is not None and known.run_expected_at <= at
    )
    return expected and age >= RUNS_READ_EVERY
