"""The snapshot: what a pass over the fleet and the looks of agents write, and what the pages read.

Nothing is forgotten because one answer failed or was empty: an account or a connection is gone only after two complete
listings in a row without it, and comes back as soon as it is seen. A listing in which none is left does not even count as
complete while one of them answers when asked for by itself (``refresh.fetch``, ``refresh.reader``).
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
from dashboard.fleet import runs as fleet_runs
from dashboard.fleet.models import Account, AccountRefreshState, Connection, HealthChange
from dashboard.peliqan.statuses import ASSUMED_INTERVAL
from dashboard.refresh import signals

LOOK = timedelta(seconds=15)


@dataclass(frozen=True)
class StoredConnection:
    """What the snapshot knows of a connection: enough to tell whether a reading brings news."""

    shown: tuple[Any, ...]
    status: str
    status_since: datetime
    running: bool
    last_run_at: datetime | None
    runs_read_at: datetime | None
    run_expected_at: datetime | None


def facts_of(seen: peliqan.Connection) -> dict[str, Any]:
    """What a reading says of a connection, by the names of the columns that keep it."""
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
    """Whether the caller is to ask for a connection's live state: for a few seconds nobody else does. Commits."""
    free = or_(Connection.looking_until.is_(None), Connection.looking_until < at)
    here = (Connection.account_id == account_id, Connection.id == connection_id)
    taken = change(update(Connection).where(*here, free).values(looking_until=at + LOOK))
    db.session.commit()
    return bool(taken)


def finish_read(account_id: int, connection_id: int) -> None:
    """The caller has its answer, or none. Commits."""
    change(
        update(Connection)
        .where(Connection.account_id == account_id, Connection.id == connection_id)
        .values(looking_until=None)
    )
    db.session.commit()


def known_of(account_ids: Collection[int]) -> dict[int, dict[int, StoredConnection]]:
    """What is known of these accounts' connections, by account and id, without those that are gone."""
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
            # One that was missing and is back is news, whatever it says.
            () if row.missing_at else tuple(row[-len(_FACTS) :]),
            row.status,
            row.status_since,
            row.running,
            row.last_run_at,
            # What an event told since is to be read, as if nothing had been.
            row.runs_read_at
            if row.event_at is None or row.runs_read_at is None or row.event_at <= row.runs_read_at
            else None,
            expected,
        )
    return found


def is_news(seen: Sequence[peliqan.Connection], known: Mapping[int, StoredConnection]) -> bool:
    """Whether a complete reading of an account's connections differs from what is known."""
    return len(seen) != len(known) or any(
        each.id not in known or known[each.id].shown != tuple(facts_of(each).values())
        for each in seen
    )


def save_accounts(accounts: Iterable[peliqan.Account], at: datetime) -> None:
    """Add new accounts, due at once; update changed ones; bring back those seen again. Commits."""
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
        said = (clean(account.name), account.external_id)
        return (
            row is not None
            and row.due_at is not None
            and (row.name, row.external_id) == said
            and row.missing_at is None
        )

    news = [account for account in seen.values() if not is_known(account)]
    if not news:
        db.session.rollback()
        return
    lock_snapshot()
    rows = {
        row.id: row
        for row in db.session.scalars(
            select(Account).where(Account.id.in_([account.id for account in news]))
        )
    }
    for account in news:
        row = rows.get(account.id)
        if row is None:
            row = Account(id=account.id, first_seen_at=at, check=AccountRefreshState(due_at=at))
            db.session.add(row)
        row.name, row.external_id = clean(account.name), account.external_id
        row.missing_at = row.gone_at = None
        row.check.due_at = row.check.due_at or at
    db.session.commit()


def miss_accounts(seen: Collection[int], at: datetime) -> None:
    """After a complete listing: accounts that were not in it are missing, and gone at the second time. Commits."""
    alive = select(Account.id).where(Account.gone_at.is_(None))
    # A large partner's are not held twice over.
    missing = [
        account_id
        for account_id in db.session.scalars(alive).yield_per(1000)
        if account_id not in seen
    ]
    for account_id in missing:
        lock_snapshot()
        account = db.session.get_one(Account, account_id)
        _miss(account, at)
        account.check.due_at = None
        if account.gone_at is not None:
            mine = select(Connection).where(
                Connection.account_id == account_id, Connection.gone_at.is_(None)
            )
            for connection in db.session.scalars(mine):
                connection.gone_at = at
        evaluate.evaluate([account_id], at)
    db.session.commit()


@dataclass(frozen=True)
class AccountFetch:
    """What one account's calls gave; ``error`` instead of ``connections`` when it could not be read.

    ``due_at`` is when to read it next; ``news`` whether anything differs from what is known.
    """

    account_id: int
    at: datetime
    due_at: datetime
    connections: Sequence[peliqan.Connection] = ()
    runs: Mapping[int, Sequence[peliqan.Run]] = field(default_factory=dict)
    error: peliqan.PeliqanError | None = None
    news: bool = True


def save_readings(readings: Sequence[AccountFetch], tokens: Mapping[int, bytes]) -> None:
    """Readings of some accounts, in one transaction: what brings no news costs no write but the time of the reading.

    ``tokens``: new ones of these accounts, encrypted. An account that could not be read keeps its last known state. Commits.
    """
    if any(reading.news or reading.error for reading in readings):
        lock_snapshot()
    for reading in readings:
        if reading.error is not None:
            failed = update(Account).where(Account.id == reading.account_id)
            change(failed.values(unreadable_reason=reading.error.explained))
    _save_news([reading for reading in readings if reading.news and reading.error is None])
    _note_checks(readings)
    signals.accounts_read.send(fetches=readings)
    well_again = [
        reading.account_id for reading in readings if reading.news and reading.error is None
    ]
    if well_again:
        unreadable = update(Account).where(
            Account.id.in_(well_again), Account.unreadable_reason.is_not(None)
        )
        change(unreadable.values(unreadable_reason=None))
    keeping = (
        update(Account).where(Account.id == bindparam("which")).values(token=bindparam("kept"))
    )
    change_many(
        keeping, [{"which": account_id, "kept": kept} for account_id, kept in tokens.items()]
    )
    news = [reading for reading in readings if reading.news or reading.error]
    if news:
        evaluate.evaluate(
            [reading.account_id for reading in news], max(reading.at for reading in news)
        )
    db.session.commit()


def _note_checks(readings: Sequence[AccountFetch]) -> None:
    """A statement for each time that they are due at, which for almost all is the same: with the next pass."""
    groups: dict[tuple[datetime, bool], list[AccountFetch]] = {}
    for each in readings:
        groups.setdefault((each.due_at, each.error is None), []).append(each)
    for (due_at, went_well), group in groups.items():
        # The earliest of theirs: what is shown is never older than it says.
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
    for row in db.session.scalars(mine) if ids else ():
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
    """One connection as just seen. A changed status goes into the history. Does not commit."""
    severity = seen.severity.value
    if row is None:
        row = Connection(
            account_id=account_id, id=seen.id, first_seen_at=at, status_since=at, looked_at=at
        )
        db.session.add(row)
        db.session.add(_change(account_id, seen.id, at, None, None, seen.status, severity))
    elif row.status != clean(seen.status):
        db.session.add(
            _change(account_id, seen.id, at, row.status, row.severity, seen.status, severity)
        )
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


def _change(
    account_id: int,
    connection_id: int,
    at: datetime,
    was: str | None,
    was_severity: str | None,
    became: str,
    severity: str,
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
