"""Questions in SQL, one answer an account: what was asked, how far each answer is, and the end of it in the audit trail.

An answer is ``waiting``, ``running`` and then ``done``, ``failed``, ``cancelled`` or ``incomplete`` (it broke off: what came is
kept). One whose worker was killed has failed: to ask once more is a person's to decide. After a day the statement and all that
was answered are gone: rows, names of columns, counts and errors. What stays has no values in it.
"""

import json
import zlib
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import delete as delete_from
from sqlalchemy import func, or_, select, update

from dashboard.audit import service as audit
from dashboard.core import row_access
from dashboard.core.database import add_if_new, change, db, upsert
from dashboard.core.sql_text import without_literals
from dashboard.core.text import clean, comparable
from dashboard.fleet.models import Account
from dashboard.masking.service import LASTS, checked_reason
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
# The third part of a column: the version before this one masks by it. This one does not read it.
MASKED_BEFORE: Final = "an answer in SQL"
LEASE, KEPT = timedelta(seconds=180), timedelta(days=1)
MOST_OPEN: Final = 300
INTERRUPTED: Final = "The worker that asked was stopped. Nothing was changed by that: ask again."


class TooMany(ValueError):
    """A sentence: the person has enough questions under way."""


class NotTheirs(ValueError):
    """A sentence: somebody else may give the reason or make the change, and this person may not."""


def start_run(
    user: User,
    title: str,
    text: bytes,
    accounts: Collection[int],
    told: str,
    at: datetime,
    reason: str = "",
) -> QueryRun:
    """Write down a question to each of these accounts' warehouses, with one audit entry for all; due now. Commits.

    ``text`` is encrypted; ``title`` and ``told``, the question as the audit trail has it, hold none of its values. ``reason``:
    why the answers are needed, written into the audit trail before anything is asked.

    Raises:
        TooMany: of this person's questions too many wait for their answers.
        reveals.BadReason: a reason was given, and is too short or too long.
    """
    waits = (
        select(func.count())
        .select_from(QueryResult)
        .join(QueryRun)
        .where(QueryRun.who == user.email, QueryResult.state.in_(OPEN))
    )
    if (db.session.scalar(waits) or 0) + len(accounts) > MOST_OPEN:
        raise TooMany(
            f"Of your questions {MOST_OPEN} answers at most can be under way. Wait for some to come, or cancel them."
        )
    why = checked_reason(reason) if reason.strip() else ""
    only = next(iter(accounts)) if len(accounts) == 1 else None
    detail = f"{'' if only else f'{len(accounts)} accounts: '}{clean(told)}"[:1900]
    entry = audit.begin(at, user.email, "sql", account_id=only, detail=detail)
    question = QueryRun(
        who=user.email, title=clean(title)[:200], text=text, asked_at=at, audit_id=entry.id
    )
    db.session.add(question)
    db.session.flush()
    direct = set(db.session.scalars(select(WarehouseDsn.account_id)))
    for account_id in sorted(accounts):
        answer = QueryResult(
            question_id=question.id,
            account_id=account_id,
            direct=account_id in direct,
            state=WAITING,
            due_at=at,
        )
        db.session.add(answer)
    if why:
        _reveal(question, why, only, at)
    db.session.commit()
    return question


def question_or_none(question_id: int) -> QueryRun | None:
    """One question."""
    return db.session.get(QueryRun, question_id)


def answer_or_none(answer_id: int) -> QueryResult | None:
    """One answer."""
    return db.session.get(QueryResult, answer_id)


def answers(question_id: int) -> list[QueryResult]:
    """The answers to a question, by account."""
    return list(
        db.session.scalars(
            select(QueryResult)
            .where(QueryResult.question_id == question_id)
            .order_by(QueryResult.account_id)
        )
    )


def latest_of(who: str, account_id: int, most: int = 10) -> list[QueryResult]:
    """A person's latest answers from one account."""
    mine = (
        select(QueryResult)
        .join(QueryResult.question)
        .where(QueryRun.who == who, QueryResult.account_id == account_id)
    )
    return list(db.session.scalars(mine.order_by(QueryResult.id.desc()).limit(most)))


def due(at: datetime, most: int = 50) -> list[int]:
    """Ids of answers that wait for somebody to ask."""
    ready = select(QueryResult.id).where(QueryResult.state == WAITING, QueryResult.due_at <= at)
    return list(db.session.scalars(ready.order_by(QueryResult.due_at, QueryResult.id).limit(most)))


def lease(answer_id: int, at: datetime) -> QueryResult | None:
    """The answer, if nobody has asked for it yet. Commits."""
    mine = update(QueryResult).where(QueryResult.id == answer_id, QueryResult.state == WAITING)
    taken = change(mine.values(state=RUNNING, due_at=None, leased_until=at + LEASE))
    db.session.commit()
    if not taken:
        return None
    answer = db.session.get_one(QueryResult, answer_id)
    db.session.refresh(answer)
    return answer


def extend_lease(answer_id: int, at: datetime) -> bool:
    """Whether the answer is still wanted; the lease is longer by that, where half of it is over. Commits."""
    found = db.session.execute(
        select(QueryResult.state, QueryResult.leased_until).where(QueryResult.id == answer_id)
    ).one_or_none()
    wanted = found is not None and found.state == RUNNING
    if found is not None and wanted and found.leased_until < at + LEASE / 2:
        change(
            update(QueryResult)
            .where(QueryResult.id == answer_id, QueryResult.state == RUNNING)
            .values(leased_until=at + LEASE)
        )
    db.session.commit()
    return wanted


def finish(answer: QueryResult, state: str, at: datetime, told: str = "", **values: Any) -> bool:
    """Its end; the audit entry's too where it is the last. False when it was over already. Commits."""
    over = update(QueryResult).where(QueryResult.id == answer.id, QueryResult.state.in_(OPEN))
    ended = change(
        over.values(
            state=state,
            ended_at=at,
            due_at=None,
            leased_until=None,
            told=clean(told)[:2000],
            **values,
        )
    )
    if ended:
        _settle(answer.question_id, at)
    db.session.commit()
    db.session.refresh(answer)
    return bool(ended)


def fail_lost(at: datetime) -> int:
    """Those whose worker was killed have failed; how many. Commits."""
    lost = select(QueryResult).where(QueryResult.state == RUNNING, QueryResult.leased_until < at)
    return sum(finish(answer, FAILED, at, INTERRUPTED) for answer in db.session.scalars(lost).all())


def delete_old(at: datetime) -> int:
    """Delete what was asked and answered a day ago, all but that it was; return how many answers had rows. Commits."""
    old = select(QueryRun.id).where(QueryRun.asked_at < at - KEPT)
    emptied = change(
        update(QueryResult)
        .where(QueryResult.question_id.in_(old), QueryResult.rows.is_not(None))
        .values(rows=None)
    )
    said = or_(QueryResult.told != "", QueryResult.count.is_not(None))
    over = update(QueryResult).where(
        QueryResult.question_id.in_(old), QueryResult.state.not_in(OPEN), said
    )
    change(over.values(columns=[], count=None, told=""))
    change(update(QueryRun).where(QueryRun.id.in_(old), QueryRun.text != b"").values(text=b""))
    db.session.commit()
    return emptied


def reveal(question: QueryRun, user: User, why: str, at: datetime) -> None:
    """Show the answers to the person who asked for a quarter of an hour; in the audit trail first. Commits.

    Raises:
        reveals.BadReason: no reason was given, or one of more than 500 characters.
        NotTheirs: somebody else asked the question: a reason holds for the person who gave it.
    """
    why = checked_reason(why)
    if question.who != user.email:
        raise NotTheirs(
            f"{question.who} asked this question, and has to say why they need the answers."
        )
    accounts = set(
        db.session.scalars(
            select(QueryResult.account_id).where(QueryResult.question_id == question.id)
        )
    )
    _reveal(question, why, next(iter(accounts)) if len(accounts) == 1 else None, at)
    db.session.commit()


def is_revealed(question: QueryRun, at: datetime) -> bool:
    """Return whether the person who asked gave a reason for which the answers are shown at this time."""
    return question.revealed_until is not None and question.revealed_until > at


def _reveal(question: QueryRun, why: str, account_id: int | None, at: datetime) -> None:
    entry = audit.begin(
        at,
        question.who,
        "reveal",
        account_id=account_id,
        detail=f"answers to question {question.id}, for 15 minutes: {why}",
    )
    entry.result, entry.settled_at = audit.DONE, at
    question.revealed_until = at + LASTS


def packed(
    rows: Sequence[Any], keys: MultiFernet, check: Callable[[], None] = lambda: None
) -> bytes:
    """Rows as they are kept: compressed and encrypted. ``check`` is called after each row and may raise, to end the work."""
    compressor, parts = zlib.compressobj(), list[bytes]()
    for number, row in enumerate(rows):
        text = ("," if number else "[") + json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        parts.append(compressor.compress(text.encode("utf-8", "replace")))
        check()
    parts.append(compressor.compress(b"]" if rows else b"[]"))
    return keys.encrypt(b"".join(parts) + compressor.flush())


def unpacked(kept: bytes | None, keys: MultiFernet) -> list[list[Any]] | None:
    """The rows; None where they are gone, or no key of ours reads them."""
    if not kept:
        return None
    try:
        found: list[list[Any]] = json.loads(zlib.decompress(keys.decrypt(kept)))
    except InvalidToken:
        return None
    return found


def sealed(text: str, keys: MultiFernet) -> bytes:
    """A text as it is kept."""
    return keys.encrypt(text.encode())


def opened(kept: bytes, keys: MultiFernet) -> str | None:
    """The text; None where it is gone, or no key of ours reads it."""
    try:
        return keys.decrypt(kept).decode() if kept else None
    except InvalidToken:
        return None


def address_or_none(account_id: int) -> WarehouseDsn | None:
    """Where the account's warehouse is reached directly."""
    return db.session.get(WarehouseDsn, account_id)


def keep_address(
    user: User, account: Account, address: bytes | None, shown: str, at: datetime
) -> None:
    """Have an account's warehouse asked at this encrypted address, or (None) through Peliqan's API again. Commits."""
    said = (
        f"asked directly, at {shown}"
        if address is not None
        else "asked through Peliqan's API again"
    )
    audit.record(at, user.email, "warehouse", audit.DONE, account_id=account.id, detail=said)
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


def saved() -> list[SavedQuery]:
    """Saved questions, by name."""
    return list(
        db.session.scalars(select(SavedQuery).order_by(SavedQuery.name_folded, SavedQuery.id))
    )


def saved_or_none(query_id: int) -> SavedQuery | None:
    """One saved question."""
    return db.session.get(SavedQuery, query_id)


def save(
    user: User,
    query: SavedQuery | None,
    name: str,
    text: str,
    parameters: dict[str, str],
    at: datetime,
) -> SavedQuery:
    """Keep a question under a name: anew, or in place of one. Commits.

    Raises:
        NotTheirs: somebody else saved it, and the person is no administrator.
        ValueError: a sentence: it has no name, or another has it.
    """
    if query is not None:
        check_change(user, query)
    name = clean(name).strip()[:200]
    if not name:
        raise ValueError("Give it a name.")
    # Names are told apart over all, those included that a limited person does not see.
    with row_access.unrestricted():
        other = db.session.scalar(
            select(SavedQuery.id).where(SavedQuery.name_folded == comparable(name))
        )
    if other is not None and (query is None or other != query.id):
        raise ValueError(
            f"There is a saved question “{name}” already: choose another name, or change that one."
        )
    if query is None:
        query = add_if_new(
            SavedQuery(name=name, text=text, parameters=parameters, who=user.email, at=at)
        )
        if query is None:
            # Saved by somebody else in this very moment.
            raise ValueError(f"There is a saved question “{name}” already: choose another name.")
    query.name, query.text, query.parameters, query.who, query.at = (
        name,
        text,
        parameters,
        user.email,
        at,
    )
    audit.record(
        at,
        user.email,
        "saved query",
        audit.DONE,
        detail=f"“{name}”: {clean(without_literals(text))}"[:2000],
    )
    db.session.commit()
    return query


def delete(user: User, query: SavedQuery, at: datetime) -> None:
    """Forget a saved question. Commits.

    Raises:
        NotTheirs: somebody else saved it, and the person is no administrator.
    """
    check_change(user, query)
    audit.record(at, user.email, "saved query", audit.DONE, detail=f"“{query.name}” deleted")
    db.session.delete(query)
    db.session.commit()


def may_change(user: User, query: SavedQuery) -> bool:
    """Return whether the person may change or delete a saved question: whoever saved it last, and administrators."""
    return query.who == user.email or user.role == "admin"


def check_change(user: User, query: SavedQuery) -> None:
    """Raise ``NotTheirs`` where the person may not change or delete a saved question."""
    if not may_change(user, query):
        rule = "only they and administrators change or delete it. Save one of your own instead."
        raise NotTheirs(f"“{query.name}” was saved by {query.who}: {rule}")


def _settle(question_id: int, at: datetime) -> None:
    counting = (
        select(QueryResult.state, func.count())
        .where(QueryResult.question_id == question_id)
        .group_by(QueryResult.state)
    )
    # Answers that the person may not see any more count all the same.
    with row_access.unrestricted():
        states = dict(db.session.execute(counting).all())
    if set(states) & set(OPEN):
        return
    result = audit.DONE if set(states) == {DONE} else audit.FAILED
    said = (
        f"({', '.join(f'{count} {state}' for state, count in sorted(states.items()))})"
        if sum(states.values()) > 1
        else ""
    )
    audit.settle(db.session.get_one(QueryRun, question_id).audit_id, result, said, at)
