"""Read one connection now, for a user's page or action, and update the snapshot."""

from datetime import datetime

from dashboard import peliqan
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings import evaluate
from dashboard.fleet import counters, queries
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.models import Account, Connection
from dashboard.refresh import queue as refresh_queue
from dashboard.refresh import writer
from dashboard.refresh.limits import FRESH_FOR
from dashboard.refresh.schedule import soon


def watch(services: Services, account_id: int) -> None:
    """Mark an account as watched, so that workers read it more often for a while. Commits."""
    refresh_queue.mark_watched(
        account_id, services.clock(), soon(services.settings.dashboard_refresh_interval)
    )


def read_if_old(api: peliqan.Peliqan, connection: Connection, at: datetime) -> None:
    """Read a connection for a page, unless its data is fresh or another request is reading it.

    Raises:
        peliqan.PeliqanError: the read failed; nothing is changed.
    """
    if at - connection.looked_at >= FRESH_FOR and writer.start_read(
        connection.account_id, connection.id, at
    ):
        try:
            read_connection(api, connection.account_id, connection.id, at)
        finally:
            writer.finish_read(connection.account_id, connection.id)


def read_connection(
    api: peliqan.Peliqan, account_id: int, connection_id: int, at: datetime
) -> Connection:
    """Read a connection's health and latest runs into the snapshot: two calls. Commits.

    Adds a connection that the snapshot does not have, such as one just made in the widget.

    Raises:
        peliqan.PeliqanError: the read failed; nothing is changed.
    """
    account = api.for_account(account_id)
    seen = account.connection(connection_id)
    runs = account.runs(connection_id)
    with counters.updating([account_id]):
        row = _save(account_id, seen, at)
    row.looked_at = at
    fleet_runs.save([(row, runs, at)])
    evaluate.evaluate([account_id], at)
    db.session.commit()
    return row


def _save(account_id: int, seen: peliqan.Connection, at: datetime) -> Connection:
    row = queries.connection_or_none(account_id, seen.id)
    if row is not None:
        # The answer for one connection has fewer fields than the list (the embedding page promises
        # id, name and health_status). Missing fields keep their stored values.
        stored = {
            name: getattr(row, name)
            for name in ("name", "connector", "run_interval", "auth_type")
            if not getattr(seen, name)
        }
        absent = {
            name: getattr(row, name)
            for name in ("is_warehouse", "is_target", "target_id", "scheduler_off")
            if name not in seen.model_fields_set
        }
        seen = seen.model_copy(update={**stored, **absent})
    return writer.save_connection(account_id, seen, row, at)


def find_or_add_account(api: peliqan.Peliqan, external_id: str, at: datetime) -> Account:
    """Return the account with an external id, read from the API and saved. Commits.

    The account may be a few minutes old and not in the snapshot yet.

    Raises:
        peliqan.PeliqanError: ``NotFound`` if Peliqan has no such account.
    """
    found = api.account(external_id)
    writer.save_accounts([found], at)
    return db.session.get_one(Account, found.id)
