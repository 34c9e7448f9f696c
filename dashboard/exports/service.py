"""Exports of complete tables: their requests, progress and results, with the audit entries.

An export is ``waiting``, ``running``, and then ``done``, ``failed`` or ``cancelled``; ``expired``
once its file was deleted after a day. The worker that writes a file holds the export's lease, and
stores with each part of the file how far it has come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update

from dashboard.audit import service as audit
from dashboard.core import leases
from dashboard.core.database import change, db
from dashboard.exports.limits import KEPT_FOR, MOST_OPEN
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
LEASE = timedelta(seconds=120)


class TooManyExports(ValueError):
    """The user has too many exports waiting or running. The message is a sentence."""


@dataclass(frozen=True)
class NewExport:
    """A requested export; for the fields, see ``models.Export``."""

    account_id: int
    table_id: int
    table_name: str
    suffix: str
    asked: Mapping[str, Any]
    columns: Sequence[Sequence[Any]]
    hidden: Sequence[str]
    in_words: str
    disclosed: Sequence[Mapping[str, Any]] | None = None


def complete_audit_entry(entry_id: int, result: str, summary: str, at: datetime) -> None:
    """Add the result of an export, and its summary, to its audit entry. Commits."""
    audit.complete(entry_id, result, summary, at)
    db.session.commit()


def open_export(user: User, new: NewExport, at: datetime) -> Export:
    """Store a requested export, due at once, with its audit entry. Commits.

    Raises:
        TooManyExports: ``MOST_OPEN`` exports of the user are waiting or running.
    """
    mine = (
        select(Export.id).where(Export.who == user.email, Export.state.in_(OPEN)).limit(MOST_OPEN)
    )
    if len(db.session.scalars(mine).all()) >= MOST_OPEN:
        raise TooManyExports(
            f"{MOST_OPEN} of your exports are under way. Wait for one to end, or cancel it."
        )
    entry = audit.start(at, user.email, "export", account_id=new.account_id, detail=new.in_words)
    export = Export(
        account_id=new.account_id,
        table_id=new.table_id,
        table_name=new.table_name,
        suffix=new.suffix,
        asked=dict(new.asked),
        columns=[list(each) for each in new.columns],
        hidden=list(new.hidden),
        disclosed=None if new.disclosed is None else list(new.disclosed),
        in_words=new.in_words,
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
    """Return an export; None if there is none with this id."""
    return db.session.get(Export, export_id)


def latest_of(user_email: str, most: int = 20) -> list[Export]:
    """Return a user's exports, the latest first."""
    return list(
        db.session.scalars(
            select(Export).where(Export.who == user_email).order_by(Export.id.desc()).limit(most)
        )
    )


def due(at: datetime, most: int = 20) -> list[int]:
    """Return the ids of the exports that are due, the oldest first."""
    return leases.ready_ids(Export, at, most)


def lease(export_id: int, at: datetime) -> Export | None:
    """Return the export, leased for ``LEASE``; None if not due or already leased. Commits."""
    return leases.lease(Export, export_id, at, LEASE, [Export.state.in_(OPEN)], state=RUNNING)


def save_progress(export: Export, at: datetime, **progress: Any) -> bool:
    """Store the progress and extend the lease; return False if cancelled. Commits.

    ``progress``: columns of ``Export`` and their values.
    """
    return _update_running(export, noted_at=at, leased_until=at + LEASE, **progress)


def reschedule(export: Export, due_at: datetime, *, tries: int, error: str = "") -> None:
    """Release an export until ``due_at``, for any worker. Commits."""
    _update_running(export, due_at=due_at, leased_until=None, tries=tries, error=error)


def finish(export: Export, size: int, remarks: Sequence[str], at: datetime) -> bool:
    """Record that the file is complete; return False if the export was cancelled. Commits.

    ``size``: in bytes.
    """
    summary = " ".join([f"{export.rows:,} rows.", *remarks])
    values = {
        "state": DONE,
        "size": size,
        "remarks": list(remarks),
        "expires_at": at + KEPT_FOR,
        "error": "",
    }
    return _end(export, audit.DONE, summary, at, **values)


def fail(export: Export, why: str, at: datetime) -> bool:
    """Record that there will be no file; return False if the export had ended. Commits."""
    return _end(export, audit.FAILED, f"{export.rows:,} rows. {why}", at, state=FAILED, error=why)


def cancel(export: Export, user_email: str, at: datetime) -> bool:
    """Cancel an export; return False if it had ended. Commits.

    A worker that writes the file stops when it next saves its progress.
    """
    return _end(export, audit.FAILED, f"Cancelled by {user_email}.", at, state=CANCELLED)


def expire(at: datetime) -> int:
    """Expire the exports whose retention is over; return how many. Commits.

    ``exports.jobs.sweep`` deletes their files.
    """
    over = change(
        update(Export).where(Export.state == DONE, Export.expires_at <= at).values(state=EXPIRED)
    )
    db.session.commit()
    return over


def states(ids: Sequence[int]) -> dict[int, str]:
    """Return the states of the exports with these ids, by id."""
    found = select(Export.id, Export.state).where(Export.id.in_(ids))
    return {row.id: row.state for row in db.session.execute(found)}


def _update_running(export: Export, **values: Any) -> bool:
    return leases.write(export, Export.state == RUNNING, **values)


def _end(export: Export, result: str, summary: str, at: datetime, **values: Any) -> bool:
    mine = update(Export).where(Export.id == export.id, Export.state.in_(OPEN))
    ended = change(mine.values(ended_at=at, due_at=None, leased_until=None, **values))
    if ended:
        audit.complete(export.audit_id, result, summary, at)
    db.session.commit()
    db.session.refresh(export)
    return bool(ended)
