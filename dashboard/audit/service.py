"""The audit log: an entry for each action of a user, whose result may be set later.

Failures and refusals can be repeated without limit, even by strangers. So repetitions within one
hour are counted in one row, which is deleted with the history. Rows of completed actions are kept.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Final, TypedDict, Unpack

from sqlalchemy import column, func, select, table, update

from dashboard.audit.limits import MOST_ROWS
from dashboard.audit.models import AuditEntry
from dashboard.core import row_access
from dashboard.core.database import change, db, insert_for
from dashboard.core.text import clean

PENDING, DONE, FAILED, REFUSED, UNKNOWN = "pending", "done", "failed", "refused", "unknown"
# A table by name, since the package ``users`` imports this one.
_USERS = table("user", column("address"))
COUNTED: Final = frozenset({FAILED, REFUSED})
BEYOND: Final = (
    f"One of more than {MOST_ROWS} different failures and refusals within this hour:"
    " from there on, counted together."
)


class Subject(TypedDict, total=False):
    """What an entry is about; ``detail`` is a text for people."""

    account_id: int | None
    connection_id: int | None
    detail: str


def record(
    at: datetime, who: str, what: str, result: str, **subject: Unpack[Subject]
) -> AuditEntry:
    """Write an entry. Commits, so that no later failure can remove it.

    ``who``: an e-mail address in its canonical form. For results in ``COUNTED``, returns the row
    that counts the same event in this hour, which may have existed before.
    """
    if result in COUNTED:
        return _count(at, who, what, result, subject)
    entry = start(at, who, what, **subject)
    entry.result, entry.settled_at = result, None if result == PENDING else at
    db.session.commit()
    return entry


def start(at: datetime, who: str, what: str, **subject: Unpack[Subject]) -> AuditEntry:
    """Add a pending entry, with its id, for an action that starts.

    Does not commit, so that the entry is stored together with the action.
    """
    entry = AuditEntry(
        at=at,
        who=clean(who)[:254],
        what=what,
        result=PENDING,
        account_id=subject.get("account_id"),
        connection_id=subject.get("connection_id"),
        detail=clean(subject.get("detail", ""))[:2000],
    )
    db.session.add(entry)
    db.session.flush()
    return entry


def _count(at: datetime, who: str, what: str, result: str, subject: Subject) -> AuditEntry:
    """Count an event in the row of this hour. Commits."""
    who, detail = clean(who)[:254], clean(subject.get("detail", ""))[:2000]
    account_id, connection_id = subject.get("account_id"), subject.get("connection_id")
    with row_access.unrestricted():
        is_user = (
            db.session.scalar(select(_USERS.c.address).where(_USERS.c.address == who)) is not None
        )
        group = f"{at.astimezone(UTC):%Y%m%d%H} {_digest(who)[:16] if is_user else 'no user'} "
        key = group + _digest(who, what, result, account_id, connection_id, detail)
        again = {"times": AuditEntry.times + 1, "settled_at": at}
        if not change(update(AuditEntry).where(AuditEntry.group_key == key).values(again)):
            rows = select(func.count(AuditEntry.id)).where(AuditEntry.group_key.startswith(group))
            if (db.session.scalar(rows) or 0) >= MOST_ROWS:
                who, account_id, connection_id, detail = who if is_user else "", None, None, BEYOND
                key = group + _digest(what, result, detail)
            insert = insert_for(db.engine.dialect.name)(AuditEntry).values(
                at=at,
                who=who,
                what=what,
                result=result,
                account_id=account_id,
                connection_id=connection_id,
                detail=detail,
                settled_at=at,
                group_key=key,
            )
            db.session.execute(
                insert.on_conflict_do_update(index_elements=[AuditEntry.group_key], set_=again)
            )
        db.session.commit()
        return db.session.scalars(select(AuditEntry).where(AuditEntry.group_key == key)).one()


def _digest(*parts: str | int | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def commit() -> None:
    """Commit the changes of entries."""
    db.session.commit()


def complete(entry_id: int, result: str, message: str, at: datetime) -> None:
    """Set the result of a pending entry and append ``message`` to its detail. Does not commit."""
    with row_access.unrestricted():
        entry = db.session.get_one(AuditEntry, entry_id)
    entry.result, entry.settled_at = result, at
    entry.detail = f"{entry.detail} {message}".rstrip()[:2000]
