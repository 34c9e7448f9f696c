"""One account's calls: its connections, then the runs of those that moved. Asks no database, writes to none."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from dashboard import peliqan
from dashboard.context import Clock
from dashboard.peliqan.statuses import Severity
from dashboard.refresh.schedule import SHORTEST, next_reading
from dashboard.refresh.writer import AccountFetch, StoredConnection, is_news

# Where the schedule says that a run was due but the status did not move, its time is still worth knowing: this rarely.
RUNS_AGE = timedelta(hours=6)
NOT_WELL = {Severity.ERROR, Severity.ATTENTION, Severity.UNKNOWN, Severity.BUSY}


def read_account(
    api: peliqan.Peliqan,
    account_id: int,
    known: Mapping[int, StoredConnection],
    clock: Clock,
    interval: float,
    *,
    watched_until: datetime | None = None,
    was_readable: bool = True,
) -> AccountFetch:
    """Read one account. ``interval``: seconds between two passes, by which the next reading is paced."""
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
        news=bool(runs) or not was_readable or is_news(connections, known),
    )


def confirm_empty_listing(account: peliqan.AccountApi, connection_id: int) -> None:
    """A listing that has shrunk to nothing is not believed while a connection answers when asked for by itself.

    Raises:
        peliqan.PeliqanError: it is not believed, or that cannot be told.
    """
    try:
        account.connection_by_id(connection_id)
    except peliqan.NotFound:
        return
    raise peliqan.BrokenAnswer(
        "servers", note="it lists no connection any more, though one of them is still there"
    )


def needs_runs(seen: peliqan.Connection, known: StoredConnection | None, at: datetime) -> bool:
    """Whether a connection's runs are worth a call: it is new or its status moved; rarely, for what else may have ended."""
    if known is None or known.runs_read_at is None or known.status != seen.status:
        return True
    age = at - known.runs_read_at
    if known.running:
        # After a quarter of its age, as a break is.
        return age >= max(SHORTEST, (at - (known.last_run_at or known.runs_read_at)) / 4)
    expected = known.last_run_at is None or (
        known.run_expected_at is not None and known.run_expected_at <= at
    )
    return expected and age >= RUNS_AGE
