"""Read one connection now, because somebody looks at it or did something to it; the answer updates the snapshot."""

from datetime import datetime, timedelta

from dashboard import peliqan
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.findings import evaluate
from dashboard.fleet import queries
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.models import Account, Connection
from dashboard.refresh import queue as refresh_queue
from dashboard.refresh import writer
from dashboard.refresh.schedule import soon

# Fresh enough not to be asked for again when somebody opens the page.
FRESH = timedelta(seconds=30)


def watch(services: Services, account_id: int) -> None:
    """Somebody has a page of this account open: the fleet's workers read it more often for a while."""
    refresh_queue.mark_watched(
        account_id, services.clock(), soon(services.settings.dashboard_refresh_interval)
    )


def read_if_old(api: peliqan.Peliqan, connection: Connection, at: datetime) -> None:
    """Read a connection that somebody looks at, unless it is fresh or another viewer is asking: one call, however many look.

    Raises:
        peliqan.PeliqanError: nothing is changed then.
    """
    if at - connection.looked_at >= FRESH and writer.start_read(
        connection.account_id, connection.id, at
    ):
        try:
            read_connection(api, connection.account_id, connection.id, at)
        finally:
            writer.finish_read(connection.account_id, connection.id)


def read_connection(
    api: peliqan.Peliqan, account_id: int, connection_id: int, at: datetime
) -> Connection:
    """Its health and latest runs, from the API into the snapshot: two calls, one commit.

    A connection that the snapshot did not know yet (just made in the widget) is added.

    Raises:
        peliqan.PeliqanError: nothing is changed then.
    """
    account = api.for_account(account_id)
    seen = account.connection(connection_id)
    runs = account.runs(connection_id)
    lock_snapshot()
    row = queries.connection_or_none(account_id, connection_id)
    if row is not None:
        # One connection asked for by itself answers with less than the list does (the embedding page promises id, name
        # and health_status): what it leaves out is not news.
        kept = {
            name: getattr(row, name)
            for name in ("name", "connector", "run_interval", "auth_type")
            if not getattr(seen, name)
        }
        unsaid = {
            name: getattr(row, name)
            for name in ("is_warehouse", "is_target", "target_id", "scheduler_off")
        }
        unsaid = {
            name: value for name, value in unsaid.items() if name not in seen.model_fields_set
        }
        seen = seen.model_copy(update={**kept, **unsaid})
    row = writer.save_connection(account_id, seen, row, at)
    row.looked_at = at
    fleet_runs.save([(row, runs, at)])
    evaluate.evaluate([account_id], at)
    db.session.commit()
    return row


def find_or_add_account(api: peliqan.Peliqan, external_id: str, at: datetime) -> Account:
    """The account with an external id, asked for at the API and put into the snapshot: it may be minutes old.

    Raises:
        peliqan.PeliqanError: ``NotFound`` when Peliqan has no such account.
    """
    found = api.account(external_id)
    writer.save_accounts([found], at)
    return db.session.get_one(Account, found.id)
