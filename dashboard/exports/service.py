"""Exports of whole tables: what was asked for, how far each is, and its end in the audit trail.

An export is ``waiting``, ``running`` and then ``done``, ``failed`` or ``cancelled``; ``expired`` when its file was deleted after
a day. Whoever works on one has its lease, and notes with each piece of the file how far that reaches.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update

from dashboard.audit import service as audit
from dashboard.core.database import change, db, is_free
from dashboard.exports.models import Export
from dashboard.users.models import User

WAITING, RUNNING, DONE, FAILED, CANCELLED, EXPIRED = (
    "waiting",
    "running",
    "done",
    "failed",
    "cancelled",
    "expired",
)
OPEN: Final = (WAITING, RUNNING)
LEASE, KEPT = timedelta(seconds=120), timedelta(days=1)
# So many of one person's may be under way at a time.
MOST_OPEN: Final = 5


class TooManyExports(ValueError):
    """A sentence: the person has enough of them under way."""


def settle_entry(entry_id: int, result: str, told: str, at: datetime) -> None:
    """An export's end in the audit trail: ``told`` is put behind what was asked for. Commits."""
    audit.settle(entry_id, result, told, at)
    db.session.commit()


def open_export(
    user: User,
    account_id: int,
    table_id: int,
    table_name: str,
    suffix: str,
    asked: Mapping[str, Any],
    columns: Sequence[Sequence[Any]],
    hidden: Sequence[str],
    in_words: str,
    at: datetime,
    disclosed: Sequence[Mapping[str, Any]] | None = None,
) -> Export:
    """Write down that somebody wants a table as a file, with its audit entry; due now. Commits.

    ``disclosed``: the columns that only a person who sees them may be given the file of; None: administrators alone may.

    Raises:
        TooManyExports: five of theirs are not over yet.
    """
    mine = (
        select(Export.id).where(Export.who == user.email, Export.state.in_(OPEN)).limit(MOST_OPEN)
    )
    if len(db.session.scalars(mine).all()) >= MOST_OPEN:
        raise TooManyExports(
            f"{MOST_OPEN} of your exports are under way. Wait for one to end, or cancel it."
        )
    entry = audit.begin(at, user.email, "export", account_id=account_id, detail=in_words)
    export = Export(
        account_id=account_id,
        table_id=table_id,
        table_name=table_name,
        suffix=suffix,
        asked=dict(asked),
        columns=[list(each) for each in columns],
        hidden=list(hidden),
        disclosed=None if disclosed is None else list(disclosed),
        in_words=in_words,
        who=user.email,
        audit_id=entry.id,
        state=WAITING,
        asked_at=at,
        due_at=at,
    )
    db.session.add(export)
    db.session.commit()
    return export


def export_or_none(export_id: int) -> Export | None:
    """One export."""
    return db.session.get(Export, export_id)


def latest_of(who: str, most: int = 20) -> list[Export]:
    """A person's exports, the latest first."""
    return list(
        db.session.scalars(
            select(Export).where(Export.who == who).order_by(Export.id.desc()).limit(most)
        )
    )


def due(at: datetime, most: int = 20) -> list[int]:
    """Ids of those that somebody should work on now."""
    return list(
        db.session.scalars(
            select(Export.id)
            .where(Export.due_at <= at, is_free(Export, at))
            .order_by(Export.due_at)
            .limit(most)
        )
    )


def lease(export_id: int, at: datetime) -> Export | None:
    """The export, if it is due and nobody else works on it. Commits."""
    mine = update(Export).where(
        Export.id == export_id, Export.state.in_(OPEN), Export.due_at <= at, is_free(Export, at)
    )
    taken = change(mine.values(state=RUNNING, leased_until=at + LEASE))
    db.session.commit()
    if not taken:
        return None
    export = db.session.get_one(Export, export_id)
    db.session.refresh(export)
    return export


def save_progress(export: Export, at: datetime, **reached: Any) -> bool:
    """How far the file reaches now; the lease is longer by that. False when it was cancelled meanwhile. Commits."""
    return _move(export, noted_at=at, leased_until=at + LEASE, **reached)


def reschedule(export: Export, due_at: datetime, *, tries: int, error: str = "") -> None:
    """Leave it for later: to whoever is free then. Commits."""
    _move(export, due_at=due_at, leased_until=None, tries=tries, error=error)


def finish(export: Export, size: int, remarks: Sequence[str], at: datetime) -> bool:
    """The file is whole, with so many bytes. False when it was cancelled meanwhile. Commits."""
    told = " ".join([f"{export.rows:,} rows.", *remarks])
    ends = {
        "state": DONE,
        "size": size,
        "remarks": list(remarks),
        "expires_at": at + KEPT,
        "error": "",
    }
    return _end(export, audit.DONE, told, at, **ends)


def fail(export: Export, why: str, at: datetime) -> bool:
    """There will be no file. False when it was over already. Commits."""
    return _end(export, audit.FAILED, f"{export.rows:,} rows. {why}", at, state=FAILED, error=why)


def cancel(export: Export, who: str, at: datetime) -> bool:
    """Stop it; whoever works on it sees that with the next page. False when it was over already. Commits."""
    return _end(export, audit.FAILED, f"Cancelled by {who}.", at, state=CANCELLED)


def expire(at: datetime) -> int:
    """Those whose day is over are no longer to be had; how many. Their files are deleted by ``exports.jobs``. Commits."""
    over = change(
        update(Export).where(Export.state == DONE, Export.expires_at <= at).values(state=EXPIRED)
    )
    db.session.commit()
    return over


def states(ids: Sequence[int]) -> dict[int, str]:
    """The state of each of these that is known."""
    found = select(Export.id, Export.state).where(Export.id.in_(ids))
    return {row.id: row.state for row in db.session.execute(found)}


def _move(export: Export, **values: Any) -> bool:
    moved = change(
        update(Export).where(Export.id == export.id, Export.state == RUNNING).values(**values)
    )
    db.session.commit()
    db.session.refresh(export)
    return bool(moved)


def _end(export: Export, result: str, told: str, at: datetime, **values: Any) -> bool:
    over = update(Export).where(Export.id == export.id, Export.state.in_(OPEN))
    ended = change(over.values(ended_at=at, due_at=None, leased_until=None, **values))
    if ended:
        audit.settle(export.audit_id, result, told, at)
    db.session.commit()
    db.session.refresh(export)
    return bool(ended)
