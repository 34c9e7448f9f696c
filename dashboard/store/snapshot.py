"""The snapshot: what a pass over the fleet and the looks of agents write, and what the pages read.

Nothing is forgotten because one answer failed or was empty: an account or a connection is gone only after two complete
listings in a row without it, and comes back as soon as it is seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import contains_eager

from dashboard import peliqan
from dashboard.store.database import db
from dashboard.store.models import Account, Connection, HealthChange, Run

RUNS_KEPT = 20


def account_or_none(account_id: int) -> Account | None:
    """The account as last seen, gone ones included."""
    return db.session.get(Account, account_id) if account_id < 2**63 else None


def connection_or_none(account_id: int, connection_id: int) -> Connection | None:
    """The connection as last seen, with its account."""
    if max(account_id, connection_id) >= 2**63:
        return None
    with_account = select(Connection).join(Connection.account).options(contains_eager(Connection.account))
    return db.session.scalar(with_account.where(Connection.account_id == account_id, Connection.id == connection_id))


def connections_of(account_ids: Sequence[int]) -> dict[int, dict[int, Connection]]:
    """All connections known of these accounts, by account and id."""
    found: dict[int, dict[int, Connection]] = {account_id: {} for account_id in account_ids}
    for connection in db.session.scalars(select(Connection).where(Connection.account_id.in_(account_ids))):
        found[connection.account_id][connection.id] = connection
    return found


def save_accounts(accounts: Iterable[peliqan.Account], at: datetime) -> None:
    """Add new accounts, update changed ones, bring back those seen again. Commits."""
    seen = {account.id: account for account in accounts}
    known = {account.id: account for account in db.session.scalars(select(Account).where(Account.id.in_(seen)))}
    for account_id, account in seen.items():
        row = known.get(account_id)
        if row is None:
            db.session.add(Account(id=account_id, name=clean(account.name), external_id=account.external_id, first_seen_at=at))
            continue
        row.name, row.external_id = clean(account.name), account.external_id
        row.missing_at = row.gone_at = None
    db.session.commit()


def miss_accounts(seen: set[int], at: datetime) -> None:
    """After a complete listing: accounts that were not in it are missing, and gone at the second time. Commits."""
    for account in db.session.scalars(select(Account).where(Account.gone_at.is_(None))):
        if account.id not in seen:
            _miss(account, at)
    db.session.commit()


def save_reading(
    account_id: int, seen: Sequence[peliqan.Connection], runs: Mapping[int, Sequence[peliqan.Run]], at: datetime
) -> None:
    """One account was read completely: its connections, and the runs of some of them. Does not commit."""
    account = db.session.get_one(Account, account_id)
    account.checked_at = account.tried_at = at
    account.unreadable_reason = None
    known = connections_of([account_id])[account_id]
    for connection in seen:
        row = save_connection(account_id, connection, known.get(connection.id), at)
        if connection.id in runs:
            db.session.flush()
            save_runs(row, runs[connection.id], at)
    ids = {connection.id for connection in seen}
    for row in known.values():
        if row.id not in ids and row.gone_at is None:
            _miss(row, at)


def save_unreadable(account_id: int, reason: str, at: datetime) -> None:
    """One account could not be read: it keeps its last known state. Does not commit."""
    account = db.session.get_one(Account, account_id)
    account.tried_at, account.unreadable_reason = at, reason


def save_connection(account_id: int, seen: peliqan.Connection, row: Connection | None, at: datetime) -> Connection:
    """One connection as just seen. A changed status goes into the history. Does not commit."""
    severity = seen.severity.value
    if row is None:
        row = Connection(account_id=account_id, id=seen.id, first_seen_at=at, status_since=at, looked_at=at)
        db.session.add(row)
        db.session.add(_change(account_id, seen.id, at, None, None, seen.status, severity))
    elif row.status != clean(seen.status):
        db.session.add(_change(account_id, seen.id, at, row.status, row.severity, seen.status, severity))
        row.status_since = at
    row.status, row.severity = clean(seen.status), severity
    row.name, row.connector = clean(seen.name), clean(seen.connector)
    row.is_warehouse, row.is_target, row.target_id = seen.is_warehouse, seen.is_target, seen.target_id
    row.run_interval, row.scheduler_off, row.auth_type = seen.run_interval, seen.scheduler_off, seen.auth_type
    row.missing_at = row.gone_at = None
    return row


def save_runs(row: Connection, runs: Sequence[peliqan.Run], at: datetime) -> None:
    """The latest runs of a connection as just read, newest first. Keeps the newest few. Does not commit."""
    row.runs_read_at = at
    for run in runs:
        db.session.merge(
            Run(
                account_id=row.account_id,
                connection_id=row.id,
                id=run.id,
                status=clean(run.status),
                started_at=run.started_at,
                ended_at=run.ended_at,
                records=run.records,
                tables=[{"name": clean(table.name), "records": table.records} for table in run.tables],
                error=clean(run.error),
                source_exit_code=run.source_exit_code,
            )
        )
    if not runs:
        return
    latest = runs[0]
    row.running = latest.is_running
    row.last_run_status, row.last_run_at = clean(latest.status), latest.started_at
    row.last_error = clean(latest.error) or None
    successes = [run.ended_at or run.started_at for run in runs if run.succeeded and (run.ended_at or run.started_at)]
    row.last_success_at = max([time for time in (*successes, row.last_success_at) if time], default=None)
    _drop_old_runs(row)


def latest_runs(account_id: int, connection_id: int, most: int = 10) -> list[Run]:
    """The connection's latest runs that are known, newest first."""
    mine = select(Run).where(Run.account_id == account_id, Run.connection_id == connection_id)
    return list(db.session.scalars(mine.order_by(Run.id.desc()).limit(most)))


def newest_run_id(account_id: int, connection_id: int) -> int | None:
    """The newest run that is known of a connection."""
    mine = select(func.max(Run.id)).where(Run.account_id == account_id, Run.connection_id == connection_id)
    return db.session.scalar(mine)


def health_history(account_id: int, connection_id: int, since: datetime) -> list[HealthChange]:
    """The connection's status changes since a time, and the last one before it, oldest first."""
    mine = select(HealthChange).where(HealthChange.account_id == account_id, HealthChange.connection_id == connection_id)
    before = db.session.scalar(mine.where(HealthChange.at < since).order_by(HealthChange.at.desc()).limit(1))
    after = db.session.scalars(mine.where(HealthChange.at >= since).order_by(HealthChange.at, HealthChange.id).limit(500))
    return [*([before] if before else []), *after]


def clean(text: str) -> str:
    """Text that both databases take: without NUL, and without half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _drop_old_runs(row: Connection) -> None:
    mine = (Run.account_id == row.account_id, Run.connection_id == row.id)
    db.session.flush()
    oldest_kept = db.session.scalar(select(Run.id).where(*mine).order_by(Run.id.desc()).offset(RUNS_KEPT - 1).limit(1))
    if oldest_kept is not None:
        db.session.execute(delete(Run).where(*mine, Run.id < oldest_kept))


def _miss(row: Account | Connection, at: datetime) -> None:
    if row.missing_at is None:
        row.missing_at = at
    else:
        row.gone_at = at


def _change(
    account_id: int, connection_id: int, at: datetime, was: str | None, was_severity: str | None, became: str, severity: str
) -> HealthChange:
    return HealthChange(
        account_id=account_id,
        connection_id=connection_id,
        at=at,
        was=was,
        was_severity=was_severity,
        became=clean(became),
        became_severity=severity,
    )
