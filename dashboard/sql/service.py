"""Query runs, with one result for each account, saved queries, and addresses of warehouses.

A result is ``waiting``, ``running``, and then ``done``, ``failed``, ``cancelled`` or ``incomplete``
(the query failed after some rows, which are stored). A result whose worker died has failed: only
the user decides whether to run the query again. After a day the statement and the results are
deleted: rows, column names, counts and errors. What remains contains no values.
"""

import json
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import delete as delete_from
from sqlalchemy import func, or_, select, update

from dashboard.audit import service as audit
from dashboard.core import leases, row_access
from dashboard.core.database import add_if_new, change, db, upsert
from dashboard.core.sql_text import without_literals
from dashboard.core.text import clean, comparable
from dashboard.fleet.models import Account
from dashboard.masking.limits import REVEALED_FOR
from dashboard.masking.service import checked_reason
from dashboard.sql.limits import KEPT_FOR, MOST_OPEN
from dashboard.sql.models import QueryResult, QueryRun, SavedQuery, WarehouseDsn
from dashboard.users.models import User

WAITING, RUNNING, DONE, FAILED, CANCELLED, INCOMPLETE = (
    "waiting",
    "running",
    "done",
    "failed",
    "cancelled",
    "incomplete",
)
OPEN: Final = (WAITING, RUNNING)
# The third part of a stored column. The previous version masks by it; this one does not read it.
MASKED_BEFORE: Final = "an answer in SQL"
LEASE = timedelta(seconds=180)
INTERRUPTED: Final = "The worker that asked was stopped. Nothing was changed by that: ask again."


class TooManyQueries(ValueError):
    """The user has too many queries waiting or running. The message is a sentence."""


class NotOwner(ValueError):
    """The user may not do this with another user's query. The message is a sentence."""


@dataclass(frozen=True)
class NewRun:
    """A requested query run. ``text``: the encrypted statement.

    ``title`` and ``detail``, the statement for the audit trail, contain none of its values.
    ``reason``: why the user needs the results; empty if none was given.
    """

    title: str
    text: bytes
    accounts: Collection[int]
    detail: str
    reason: str = ""


def start_run(user: User, new: NewRun, at: datetime) -> QueryRun:
    """Store a query run at the accounts' warehouses, due at once, with one audit entry. Commits.

    A reason is written to the audit trail before the queries are run.

    Raises:
        TooManyQueries: too many queries of the user are waiting or running.
        reveals.BadReason: the given reason is too short or too long.
    """
    accounts = new.accounts
    waits = (
        select(func.count())
        .select_from(QueryResult)
        .join(QueryRun)
        .where(QueryRun.who == user.email, QueryResult.state.in_(OPEN))
    )
    if (db.session.scalar(waits) or 0) + len(accounts) > MOST_OPEN:
        raise TooManyQueries(
            f"At most {MOST_OPEN} answers to your questions can be under way."
            " Wait for some of them, or cancel them."
        )
    reason = checked_reason(new.reason) if new.reason.strip() else ""
    only = next(iter(accounts)) if len(accounts) == 1 else None
    detail = f"{'' if only else f'{len(accounts)} accounts: '}{clean(new.detail)}"[:1900]
    entry = audit.start(at, user.email, "sql", account_id=only, detail=detail)
    run = QueryRun(
        who=user.email, title=clean(new.title)[:200], text=new.text, asked_at=at, audit_id=entry.id
    )
    db.session.add(run)
    db.session.flush()
    direct = set(db.session.scalars(select(WarehouseDsn.account_id)))
    for account_id in sorted(accounts):
        result = QueryResult(
            question_id=run.id,
            account_id=account_id,
            direct=account_id in direct,
            state=WAITING,
            due_at=at,
        )
        db.session.add(result)
    if reason:
        _reveal(run, reason, only, at)
    db.session.commit()
    return run


def run_or_none(run_id: int) -> QueryRun | None:
    """Return a query run; None if there is none with this id."""
    return db.session.get(QueryRun, run_id)


def result_or_none(result_id: int) -> QueryResult | None:
    """Return a result; None if there is none with this id."""
    return db.session.get(QueryResult, result_id)


def results_of(run_id: int) -> list[QueryResult]:
    """Return the results of a query run, by account id."""
    return list(
        db.session.scalars(
            select(QueryResult)
            .where(QueryResult.question_id == run_id)
            .order_by(QueryResult.account_id)
        )
    )


def latest_of(user_email: str, account_id: int, most: int = 10) -> list[QueryResult]:
    """Return a user's results at one account, the latest first."""
    mine = (
        select(QueryResult)
        .join(QueryResult.question)
        .where(QueryRun.who == user_email, QueryResult.account_id == account_id)
    )
    return list(db.session.scalars(mine.order_by(QueryResult.id.desc()).limit(most)))


def due(at: datetime, most: int = 50) -> list[int]:
    """Return the ids of the results that wait for a worker, the oldest first."""
    return leases.ready_ids(QueryResult, at, most, QueryResult.state == WAITING)


def lease(result_id: int, at: datetime) -> QueryResult | None:
    """Return the result, leased for ``LEASE``; None if it is not waiting any more. Commits."""
    waits = QueryResult.state == WAITING
    return leases.lease(QueryResult, result_id, at, LEASE, [waits], state=RUNNING, due_at=None)


def extend_lease(result_id: int, at: datetime) -> bool:
    """Return whether the query is still running, and extend its lease. Commits.

    The lease is extended once half of it is over.
    """
    found = db.session.execute(
        select(QueryResult.state, QueryResult.leased_until).where(QueryResult.id == result_id)
    ).one_or_none()
    runs = found is not None and found.state == RUNNING
    if found is not None and runs and found.leased_until < at + LEASE / 2:
        change(
            update(QueryResult)
            .where(QueryResult.id == result_id, QueryResult.state == RUNNING)
            .values(leased_until=at + LEASE)
        )
    db.session.commit()
    return runs


def finish(result: QueryResult, state: str, at: datetime, message: str = "", **values: Any) -> bool:
    """Finish a result; return False if it was finished already. Commits.

    With a run's last result its audit entry is completed. ``message``: why the query failed or what
    is missing. ``values``: ``columns``, ``rows`` and ``count`` of the result.
    """
    mine = update(QueryResult).where(QueryResult.id == result.id, QueryResult.state.in_(OPEN))
    ended = change(
        mine.values(
            state=state,
            ended_at=at,
            due_at=None,
            leased_until=None,
            told=clean(message)[:2000],
            **values,
        )
    )
    if ended:
        _complete_audit_entry(result.question_id, at)
    db.session.commit()
    db.session.refresh(result)
    return bool(ended)


def fail_lost(at: datetime) -> int:
    """Fail the results of dead workers, by their expired leases; return how many. Commits."""
    lost = select(QueryResult).where(QueryResult.state == RUNNING, QueryResult.leased_until < at)
    return sum(finish(result, FAILED, at, INTERRUPTED) for result in db.session.scalars(lost).all())


def delete_old(at: datetime) -> int:
    """Delete statements and results older than ``KEPT_FOR``. Commits.

    The run's title, time and audit entry remain. Returns the number of results that had rows.
    """
    old = select(QueryRun.id).where(QueryRun.asked_at < at - KEPT_FOR)
    emptied = change(
        update(QueryResult)
        .where(QueryResult.question_id.in_(old), QueryResult.rows.is_not(None))
        .values(rows=None)
    )
    has_message_or_count = or_(QueryResult.told != "", QueryResult.count.is_not(None))
    ended = update(QueryResult).where(
        QueryResult.question_id.in_(old), QueryResult.state.not_in(OPEN), has_message_or_count
    )
    change(ended.values(columns=[], count=None, told=""))
    change(update(QueryRun).where(QueryRun.id.in_(old), QueryRun.text != b"").values(text=b""))
    db.session.commit()
    return emptied


def reveal(run: QueryRun, user: User, why: str, at: datetime) -> None:
    """Show the results of a run to its user for 15 minutes; the reason is audited. Commits.

    Raises:
        reveals.BadReason: the reason is missing, too short or too long.
        NotOwner: another user ran the query; a reason is valid only for the user who gave it.
    """
    why = checked_reason(why)
    if run.who != user.email:
        raise NotOwner(f"{run.who} asked this question, and has to say why they need the answers.")
    accounts = set(
        db.session.scalars(select(QueryResult.account_id).where(QueryResult.question_id == run.id))
    )
    _reveal(run, why, next(iter(accounts)) if len(accounts) == 1 else None, at)
    db.session.commit()


def is_revealed(run: QueryRun, at: datetime) -> bool:
    """Return whether the user's reason to see the results is still valid."""
    return run.revealed_until is not None and run.revealed_until > at


def _reveal(run: QueryRun, why: str, account_id: int | None, at: datetime) -> None:
    detail = f"answers to question {run.id}, for 15 minutes: {why}"
    entry = audit.start(at, run.who, "reveal", account_id=account_id, detail=detail)
    entry.result, entry.settled_at = audit.DONE, at
    run.revealed_until = at + REVEALED_FOR


def pack(rows: Sequence[Any], keys: MultiFernet, check: Callable[[], None] = lambda: None) -> bytes:
    """Return rows compressed and encrypted, as they are stored.

    ``check`` is called after each row; it may raise to stop the work.
    """
    compressor, parts = zlib.compressobj(), list[bytes]()
    for number, row in enumerate(rows):
        text = ("," if number else "[") + json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        parts.append(compressor.compress(text.encode("utf-8", "replace")))
        check()
    parts.append(compressor.compress(b"]" if rows else b"[]"))
    return keys.encrypt(b"".join(parts) + compressor.flush())


def unpack(stored: bytes | None, keys: MultiFernet) -> list[list[Any]] | None:
    """Return stored rows; None if they were deleted or no current key decrypts them."""
    if not stored:
        return None
    try:
        found: list[list[Any]] = json.loads(zlib.decompress(keys.decrypt(stored)))
    except InvalidToken:
        return None
    return found


def encrypted(text: str, keys: MultiFernet) -> bytes:
    """Return a text encrypted, as it is stored."""
    return keys.encrypt(text.encode())


def decrypted(stored: bytes, keys: MultiFernet) -> str | None:
    """Return a stored text; None if it was deleted or no current key decrypts it."""
    try:
        return keys.decrypt(stored).decode() if stored else None
    except InvalidToken:
        return None


def dsn_or_none(account_id: int) -> WarehouseDsn | None:
    """Return the address for direct connections to an account's warehouse; None if not set."""
    return db.session.get(WarehouseDsn, account_id)


def save_dsn(user: User, account: Account, address: bytes | None, shown: str, at: datetime) -> None:
    """Store the address for direct connections to an account's warehouse, audited. Commits.

    ``address``: encrypted; None removes it, and queries run through Peliqan's API again.
    ``shown``: the address without user and password.
    """
    detail = (
        f"asked directly, at {shown}"
        if address is not None
        else "asked through Peliqan's API again"
    )
    audit.record(at, user.email, "warehouse", audit.DONE, account_id=account.id, detail=detail)
    if address is None:
        change(delete_from(WarehouseDsn).where(WarehouseDsn.account_id == account.id))
    else:
        row = {
            "account_id": account.id,
            "address": address,
            "shown": shown,
            "who": user.email,
            "at": at,
        }
        upsert(WarehouseDsn, [row])
    db.session.commit()


def saved_queries() -> list[SavedQuery]:
    """Return the saved queries, by name."""
    return list(
        db.session.scalars(select(SavedQuery).order_by(SavedQuery.name_folded, SavedQuery.id))
    )


def saved_query_or_none(query_id: int) -> SavedQuery | None:
    """Return a saved query; None if there is none with this id."""
    return db.session.get(SavedQuery, query_id)


@dataclass(frozen=True)
class QueryInput:
    """The content of a saved query. ``parameters``: the type of each parameter, by name."""

    name: str
    text: str
    parameters: dict[str, str]


def save(user: User, query: SavedQuery | None, new: QueryInput, at: datetime) -> SavedQuery:
    """Store a saved query; None creates one, otherwise ``query`` is changed. Commits.

    Raises:
        NotOwner: another user saved it, and this one is not an administrator.
        ValueError: it has no name, or the name of another query. The message is a sentence.
    """
    if query is not None:
        check_change(user, query)
    name = clean(new.name).strip()[:200]
    if not name:
        raise ValueError("Give it a name.")
    # Names are unique over all queries, including those that a restricted user does not see.
    with row_access.unrestricted():
        other = db.session.scalar(
            select(SavedQuery.id).where(SavedQuery.name_folded == comparable(name))
        )
    if other is not None and (query is None or other != query.id):
        raise ValueError(
            f"There is a saved question “{name}” already: choose another name, or change that one."
        )
    content: dict[str, Any] = {
        "name": name,
        "text": new.text,
        "parameters": new.parameters,
        "who": user.email,
        "at": at,
    }
    if query is None:
        query = add_if_new(SavedQuery(**content))
        if query is None:
            # Another request saved the same name in the meantime.
            raise ValueError(f"There is a saved question “{name}” already: choose another name.")
    for column, value in content.items():
        setattr(query, column, value)
    detail = f"“{name}”: {clean(without_literals(new.text))}"[:2000]
    audit.record(at, user.email, "saved query", audit.DONE, detail=detail)
    db.session.commit()
    return query


def delete(user: User, query: SavedQuery, at: datetime) -> None:
    """Delete a saved query; the deletion is audited. Commits.

    Raises:
        NotOwner: another user saved it, and this one is not an administrator.
    """
    check_change(user, query)
    audit.record(at, user.email, "saved query", audit.DONE, detail=f"“{query.name}” deleted")
    db.session.delete(query)
    db.session.commit()


def may_change(user: User, query: SavedQuery) -> bool:
    """Return whether a user may change or delete a saved query.

    The user who saved it last may, and administrators.
    """
    return query.who == user.email or user.role == "admin"


def check_change(user: User, query: SavedQuery) -> None:
    """Raise ``NotOwner`` if a user may not change or delete a saved query."""
    if not may_change(user, query):
        rule = "only they and administrators change or delete it. Save one of your own instead."
        raise NotOwner(f"“{query.name}” was saved by {query.who}: {rule}")


def _complete_audit_entry(run_id: int, at: datetime) -> None:
    """Complete a run's audit entry if all its results are finished. Does not commit."""
    counting = (
        select(QueryResult.state, func.count())
        .where(QueryResult.question_id == run_id)
        .group_by(QueryResult.state)
    )
    # Results that the user may not see any more are counted as well.
    with row_access.unrestricted():
        states = dict(db.session.execute(counting).all())
    if set(states) & set(OPEN):
        return
    result = audit.DONE if set(states) == {DONE} else audit.FAILED
    summary = (
        f"({', '.join(f'{count} {state}' for state, count in sorted(states.items()))})"
        if sum(states.values()) > 1
        else ""
    )
    audit.complete(db.session.get_one(QueryRun, run_id).audit_id, result, summary, at)
