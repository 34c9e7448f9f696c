"""Write the snapshot, which the refresh and live reads update and the pages read.

A failed or empty answer removes nothing. An account or connection is removed after two complete
listings in a row omit it, and restored as soon as it is listed. An empty listing is not complete
while one of its former members can still be read (``refresh.fetch``, ``refresh.reader``).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, or_, select, update

from dashboard import peliqan
from dashboard.core.database import change, change_many, db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.core.text import clean
from dashboard.findings import evaluate
from dashboard.fleet import counters, visibility
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.models import Account, AccountRefreshState, Connection, HealthChange
from dashboard.peliqan.statuses import ASSUMED_INTERVAL
from dashboard.refresh import signals

# The lease of a live read of one connection.
READ_LEASE = timedelta(seconds=15)


@dataclass(frozen=True)
class StoredConnection:
    """A connection in the snapshot: enough to tell whether a read changes it."""

    shown: tuple[Any, ...]
    status: str
    status_since: datetime
    running: bool
    last_run_at: datetime | None
    runs_read_at: datetime | None
    run_expected_at: datetime | None


def facts_of(seen: peliqan.Connection) -> dict[str, Any]:
    """Return the columns that a read of a connection determines, with their values."""
    return {
        "name": clean(seen.name),
        "connector": clean(seen.connector),
        "status": clean(seen.status),
        "is_warehouse": seen.is_warehouse,
        "is_target": seen.is_target,
        "target_id": seen.target_id,
        "schema_name": clean(seen.schema_name),
        "run_interval": seen.run_interval,
        "scheduler_off": seen.scheduler_off,
        "auth_type": seen.auth_type,
        "consent_expires_at": seen.consent_expires_at,
    }


_FACTS = tuple(facts_of(peliqan.Connection(id=0)))
_TIMES = (
    Connection.missing_at,
    Connection.status_since,
    Connection.running,
    Connection.last_run_at,
    Connection.runs_read_at,
    Connection.event_at,
)


def start_read(account_id: int, connection_id: int, at: datetime) -> bool:
    """Lease the live read of a connection; return whether the caller got it. Commits."""
    free = or_(Connection.looking_until.is_(None), Connection.looking_until < at)
    same_connection = (Connection.account_id == account_id, Connection.id == connection_id)
    leased = change(
        update(Connection).where(*same_connection, free).values(looking_until=at + READ_LEASE)
    )
    db.session.commit()
    return bool(leased)


def finish_read(account_id: int, connection_id: int) -> None:
    """Release the lease of a live read. Commits."""
    change(
        update(Connection)
        .where(Connection.account_id == account_id, Connection.id == connection_id)
        .values(looking_until=None)
    )
    db.session.commit()


def known_of(account_ids: Collection[int]) -> dict[int, dict[int, StoredConnection]]:
    """Return these accounts' stored connections by account and id, without removed ones."""
    found: dict[int, dict[int, StoredConnection]] = {account_id: {} for account_id in account_ids}
    columns = (*_TIMES, *(getattr(Connection, name) for name in _FACTS))
    query = select(Connection.account_id, Connection.id, *columns)
    for row in db.session.execute(
        query.where(Connection.account_id.in_(account_ids), Connection.gone_at.is_(None))
    ):
        expected = None
        if row.last_run_at and not row.scheduler_off:
            expected = row.last_run_at + timedelta(seconds=row.run_interval or ASSUMED_INTERVAL)
        found[row.account_id][row.id] = StoredConnection(
            # A connection that was missing once and is listed again counts as changed.
            () if row.missing_at else tuple(row[-len(_FACTS) :]),
            row.status,
            row.status_since,
            row.running,
            row.last_run_at,
            # After an event the runs have to be read, as if they never were.
            row.runs_read_at
            if row.event_at is None or row.runs_read_at is None or row.event_at <= row.runs_read_at
            else None,
            expected,
        )
    return found


def is_news(seen: Sequence[peliqan.Connection], known: Mapping[int, StoredConnection]) -> bool:
    """Return whether a complete read of an account's connections differs from the snapshot."""
    return len(seen) != len(known) or any(
        each.id not in known or known[each.id].shown != tuple(facts_of(each).values())
        for each in seen
    )


def save_accounts(accounts: Iterable[peliqan.Account], at: datetime) -> None:
    """Add new accounts, due now; update changed ones; restore removed ones. Commits."""
    seen = {account.id: account for account in accounts}
    query = select(
        Account.id,
        Account.name,
        Account.external_id,
        Account.missing_at,
        AccountRefreshState.due_at,
    ).join(Account.check)
    known = {row.id: row for row in db.session.execute(query.where(Account.id.in_(seen)))}

    def is_known(account: peliqan.Account) -> bool:
        row = known.get(account.id)
        names = (clean(account.name), account.external_id)
        return (
            row is not None
            and row.due_at is not None
            and (row.name, row.external_id) == names
            and row.missing_at is None
        )

    news = [account for account in seen.values() if not is_known(account)]
    if not news:
        db.session.rollback()
        return
    ids = [account.id for account in news]
    with counters.updating(ids):
        rows = {
            row.id: row for row in db.session.scalars(select(Account).where(Account.id.in_(ids)))
        }
        for account in news:
            row = rows.get(account.id)
            if row is None:
                row = Account(id=account.id, first_seen_at=at, check=AccountRefreshState(due_at=at))
                db.session.add(row)
            row.name, row.external_id = clean(account.name), account.external_id
            row.missing_at = row.gone_at = None
            row.check.due_at = row.check.due_at or at
    visibility.rebuild_visible_accounts(db.session(), account_ids=ids)
    db.session.commit()


def miss_accounts(seen: Collection[int], at: datetime) -> None:
    """Mark accounts that a complete listing omits: missing, or removed the second time. Commits."""
    alive = select(Account.id).where(Account.gone_at.is_(None))
    # Rows are streamed, so that a large partner's ids are not in memory twice.
    missing = [
        account_id
        for account_id in db.session.scalars(alive).yield_per(1000)
        if account_id not in seen
    ]
    for account_id in missing:
        with counters.updating([account_id]):
            _miss_account(db.session.get_one(Account, account_id), at)
        evaluate.evaluate([account_id], at)
    db.session.commit()


def _miss_account(account: Account, at: datetime) -> None:
    _miss(account, at)
    account.check.due_at = None
    if account.gone_at is not None:
        mine = select(Connection).where(
            Connection.account_id == account.id, Connection.gone_at.is_(None)
        )
        for connection in db.session.scalars(mine):
            connection.gone_at = at


@dataclass(frozen=True)
class AccountFetch:
    """The result of reading one account: ``connections``, or ``error`` if that failed.

    ``due_at``: when to read it next. ``news``: anything differs from the snapshot.
    """

    account_id: int
    at: datetime
    due_at: datetime
    connections: Sequence[peliqan.Connection] = ()
    runs: Mapping[int, Sequence[peliqan.Run]] = field(default_factory=dict)
    error: peliqan.PeliqanError | None = None
    news: bool = True


def save_readings(readings: Sequence[AccountFetch], tokens: Mapping[int, bytes]) -> None:
    """Save the reads of some accounts in one transaction. Commits.

    A read without changes writes only its time. ``tokens``: new ones of these accounts, encrypted.
    An unreadable account keeps its last known state.
    """
    if any(reading.news or reading.error for reading in readings):
        lock_snapshot()
    for reading in readings:
        if reading.error is not None:
            failed = update(Account).where(Account.id == reading.account_id)
            change(failed.values(unreadable_reason=reading.error.explained))
    changed = [reading for reading in readings if reading.news and reading.error is None]
    if changed:
        with counters.updating([reading.account_id for reading in changed]):
            _save_news(changed)
    _save_times(readings)
    signals.accounts_read.send(fetches=readings)
    if changed:
        unreadable = update(Account).where(
            Account.id.in_([reading.account_id for reading in changed]),
            Account.unreadable_reason.is_not(None),
        )
        change(unreadable.values(unreadable_reason=None))
    storing = (
        update(Account).where(Account.id == bindparam("which")).values(token=bindparam("stored"))
    )
    change_many(
        storing, [{"which": account_id, "stored": token} for account_id, token in tokens.items()]
    )
    news = [reading for reading in readings if reading.news or reading.error]
    if news:
        evaluate.evaluate(
            [reading.account_id for reading in news], max(reading.at for reading in news)
        )
    db.session.commit()


def _save_times(readings: Sequence[AccountFetch]) -> None:
    """Save the times of reads with one statement for each ``due_at``, which most accounts share."""
    groups: dict[tuple[datetime, bool], list[AccountFetch]] = {}
    for each in readings:
        groups.setdefault((each.due_at, each.error is None), []).append(each)
    for (due_at, went_well), group in groups.items():
        # The earliest time of the group: shown data is never older than it claims.
        tried_at = min(each.at for each in group)
        checked = {"checked_at": tried_at} if went_well else {}
        these = AccountRefreshState.account_id.in_([each.account_id for each in group])
        change(
            update(AccountRefreshState)
            .where(these, AccountRefreshState.due_at.is_not(None))
            .values(tried_at=tried_at, due_at=due_at, **checked)
        )


def _save_news(readings: Sequence[AccountFetch]) -> None:
    ids = [reading.account_id for reading in readings]
    known: dict[int, dict[int, Connection]] = {account_id: {} for account_id in ids}
    mine = (
        select(Connection)
        .where(Connection.account_id.in_(ids))
        .execution_options(populate_existing=True)
    )
    for row in db.session.scalars(mine):
        known[row.account_id][row.id] = row
    with_runs = []
    for reading in readings:
        rows = known[reading.account_id]
        seen = {each.id for each in reading.connections}
        for each in reading.connections:
            row = save_connection(reading.account_id, each, rows.get(each.id), reading.at)
            if each.id in reading.runs:
                with_runs.append((row, reading.runs[each.id], reading.at))
        for row in rows.values():
            if row.id not in seen and row.gone_at is None:
                _miss(row, reading.at)
    fleet_runs.save(with_runs)


def save_connection(
    account_id: int, seen: peliqan.Connection, row: Connection | None, at: datetime
) -> Connection:
    """Save a connection as read; record a changed status in the history. Does not commit."""
    severity = seen.severity.value
    if row is None:
        row = Connection(
            account_id=account_id, id=seen.id, first_seen_at=at, status_since=at, looked_at=at
        )
        db.session.add(row)
        db.session.add(_health_change(seen, account_id, at, None))
    elif row.status != clean(seen.status):
        db.session.add(_health_change(seen, account_id, at, row))
        row.status_since = at
    for name, value in facts_of(seen).items():
        setattr(row, name, value)
    row.severity = severity
    row.missing_at = row.gone_at = None
    return row


def _miss(row: Account | Connection, at: datetime) -> None:
    if row.missing_at is None:
        row.missing_at = at
    else:
        row.gone_at = at


def _health_change(
    seen: peliqan.Connection, account_id: int, at: datetime, row: Connection | None
) -> HealthChange:
    return HealthChange(
        account_id=account_id,
        connection_id=seen.id,
        at=at,
        was=row.status if row is not None else None,
        was_severity=row.severity if row is not None else None,
        became=clean(seen.status),
        became_severity=seen.severity.value,
    )
