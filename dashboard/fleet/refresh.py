"""One pass over the fleet: list the accounts, read each one's connections, read the runs of those that moved.

Calls run in threads; every write is made by the thread that called, in batches, so that SQLite has one writer.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from dashboard import peliqan
from dashboard.store import snapshot
from dashboard.store.database import db
from dashboard.store.models import Account, Connection, Refresh

Clock = Callable[[], datetime]
BATCH = 50
ABANDONED_AFTER = timedelta(seconds=60)
# So many accounts in a row unreachable, none readable between: that is Peliqan being away, not those accounts.
OUTAGE_AFTER = 10
OUTAGE = (peliqan.Unreachable, peliqan.TimedOut, peliqan.ServerError)


class AlreadyRunning(Exception):
    """Another pass is under way."""


@dataclass(frozen=True)
class Known:
    """What the snapshot knows of a connection, as far as it decides whether to read its runs."""

    status: str
    running: bool
    run_expected_at: datetime | None

    @classmethod
    def of(cls, connection: Connection) -> "Known":
        """From the snapshot's row."""
        expected = None
        if connection.last_run_at and connection.run_interval and not connection.scheduler_off:
            expected = connection.last_run_at + timedelta(seconds=connection.run_interval)
        return cls(connection.status, connection.running, expected)


@dataclass(frozen=True)
class Reading:
    """What one account's calls gave; ``error`` instead of ``connections`` when it could not be read."""

    account_id: int
    at: datetime
    connections: Sequence[peliqan.Connection] = ()
    runs: Mapping[int, Sequence[peliqan.Run]] = field(default_factory=dict)
    error: peliqan.PeliqanError | None = None


@dataclass(frozen=True)
class Result:
    """How a pass ended. ``unreadable`` maps account ids to the reason; ``error`` is set when nothing could be read."""

    accounts: int
    unreadable: dict[int, str]
    error: str | None


def refresh_fleet(
    api: peliqan.Peliqan,
    clock: Clock,
    concurrency: int,
    *,
    only: int | None = None,
    progress: Callable[[int, int], None] = lambda done, accounts: None,
) -> Result:
    """One pass, or one account (``only``). ``progress(done, accounts)`` is called as accounts are read.

    Raises:
        AlreadyRunning: another pass is alive; one that died is closed and replaced.
    """
    if only is not None:
        return _pass_over([only], None, api, clock, concurrency, progress)
    current = _open(clock())
    try:
        try:
            listed = list(api.accounts())
        except peliqan.PeliqanError as error:
            return _close(current, clock(), Result(0, {}, error.explained))
        snapshot.save_accounts(listed, clock())
        ids = list(dict.fromkeys(account.id for account in listed))
        snapshot.miss_accounts(set(ids), clock())
        db.session.execute(update(Refresh).where(Refresh.id == current).values(accounts=len(ids)))
        db.session.commit()
        return _close(current, clock(), _pass_over(ids, current, api, clock, concurrency, progress))
    except BaseException:
        db.session.rollback()
        _close(current, clock(), Result(0, {}, "The pass was interrupted."))
        raise


def _pass_over(
    ids: Sequence[int],
    refresh_id: int | None,
    api: peliqan.Peliqan,
    clock: Clock,
    concurrency: int,
    progress: Callable[[int, int], None],
) -> Result:
    unreadable: dict[int, str] = {}
    suspects: list[Reading] = []
    batch: list[Reading] = []
    done = 0

    def write(readings: list[Reading]) -> None:
        for reading in readings:
            if reading.error is None:
                snapshot.save_reading(reading.account_id, reading.connections, reading.runs, reading.at)
            else:
                unreadable[reading.account_id] = reading.error.explained
                snapshot.save_unreadable(reading.account_id, reading.error.explained, reading.at)
        if refresh_id is not None:
            db.session.execute(
                update(Refresh).where(Refresh.id == refresh_id).values(done=done, unreadable=len(unreadable), alive_at=clock())
            )
        db.session.commit()
        db.session.expunge_all()
        progress(done, len(ids))

    for reading in _readings(ids, api, clock, concurrency):
        done += 1
        if isinstance(reading.error, OUTAGE):
            suspects.append(reading)
            if len(suspects) >= OUTAGE_AFTER:
                done -= len(suspects)
                write(batch)
                return Result(done, unreadable, f"{reading.error.explained} The pass stopped after {done} accounts.")
            continue
        batch += [*suspects, reading]
        suspects = []
        if len(batch) >= BATCH or done == 1:
            write(batch)
            batch = []
    all_away = bool(suspects) and len(suspects) == len(ids) and refresh_id is not None
    if all_away:
        assert suspects[0].error is not None
        return Result(0, {}, suspects[0].error.explained)
    write([*batch, *suspects])
    return Result(len(ids), unreadable, None)


def _readings(ids: Sequence[int], api: peliqan.Peliqan, clock: Clock, concurrency: int) -> Iterator[Reading]:
    """Readings as they come, with ``concurrency`` calls in flight and a short queue behind them."""
    left = deque(ids)
    flying: set[Future[Reading]] = set()
    with ThreadPoolExecutor(concurrency, thread_name_prefix="refresh") as pool:
        try:
            while left or flying:
                wanted = [left.popleft() for _ in range(min(len(left), 2 * concurrency - len(flying)))]
                known = snapshot.connections_of(wanted) if wanted else {}
                for account_id in wanted:
                    state = {row.id: Known.of(row) for row in known[account_id].values()}
                    flying.add(pool.submit(read_account, api, account_id, state, clock))
                finished, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for future in flying:
                future.cancel()


def read_account(api: peliqan.Peliqan, account_id: int, known: dict[int, Known], clock: Clock) -> Reading:
    """One account's calls, no database: its connections, then the runs of those that moved."""
    account = api.for_account(account_id)
    at = clock()
    try:
        connections = account.connections()
        runs = {
            connection.id: account.runs(connection.id)
            for connection in connections
            if not connection.is_warehouse and needs_runs(connection, known.get(connection.id), at)
        }
    except peliqan.PeliqanError as error:
        return Reading(account_id, at, error=error)
    return Reading(account_id, at, connections, runs)


def needs_runs(seen: peliqan.Connection, known: Known | None, at: datetime) -> bool:
    """Whether a connection's runs are worth a call: it is new, its status moved, it was running, or a run was due."""
    if known is None or known.running or known.status != seen.status:
        return True
    return known.run_expected_at is not None and known.run_expected_at <= at


def latest_refresh() -> Refresh | None:
    """The pass under way, or the last one."""
    return db.session.scalar(select(Refresh).order_by(Refresh.id.desc()).limit(1))


def is_due(at: datetime, interval: float) -> bool:
    """Whether ``interval`` seconds have gone by since the last pass began, and none is alive."""
    last = latest_refresh()
    if last is None:
        return True
    if last.ended_at is None:
        return last.alive_at < at - ABANDONED_AFTER
    return last.started_at + timedelta(seconds=interval) <= at


def _open(at: datetime) -> int:
    db.session.execute(
        update(Refresh)
        .where(Refresh.active == 1, Refresh.alive_at < at - ABANDONED_AFTER)
        .values(active=None, ended_at=at, error="The pass was interrupted.")
    )
    current = Refresh(active=1, started_at=at, alive_at=at)
    db.session.add(current)
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        raise AlreadyRunning("A pass over the fleet is already under way.") from None
    return current.id


def _close(current: int, at: datetime, result: Result) -> Result:
    db.session.execute(
        update(Refresh)
        .where(Refresh.id == current)
        .values(active=None, ended_at=at, error=result.error, unreadable=len(result.unreadable), done=result.accounts)
    )
    db.session.commit()
    return result


def unknown_account(account_id: int) -> bool:
    """Whether the store does not know the account, so that ``only`` needs a full pass first."""
    return db.session.get(Account, account_id) is None
