"""The audit trail: one entry for each thing a person did or was refused, its result settled later where it takes time."""

from datetime import datetime

from dashboard.store import sight
from dashboard.store.database import db
from dashboard.store.models import AuditEntry

PENDING, DONE, FAILED, REFUSED, UNKNOWN = "pending", "done", "failed", "refused", "unknown"


def record(
    at: datetime,
    who: str,
    what: str,
    result: str,
    *,
    account_id: int | None = None,
    connection_id: int | None = None,
    detail: str = "",
) -> AuditEntry:
    """Write an entry and commit it, so that nothing that follows can lose it. ``who`` is an e-mail address."""
    entry = begin(at, who, what, account_id=account_id, connection_id=connection_id, detail=detail)
    entry.result, entry.settled_at = result, None if result == PENDING else at
    db.session.commit()
    return entry


def begin(
    at: datetime,
    who: str,
    what: str,
    *,
    account_id: int | None = None,
    connection_id: int | None = None,
    detail: str = "",
) -> AuditEntry:
    """An entry of what is about to be tried, pending, with its id. Does not commit: it goes along with what it is about."""
    entry = AuditEntry(
        at=at,
        who=who.replace("\0", "")[:254],
        what=what,
        result=PENDING,
        account_id=account_id,
        connection_id=connection_id,
        detail=detail.replace("\0", "")[:2000],
    )
    db.session.add(entry)
    db.session.flush()
    return entry


def commit() -> None:
    """What was settled stays."""
    db.session.commit()


def settle(entry_id: int, result: str, told: str, at: datetime) -> None:
    """The end of what an entry says was begun: ``told`` is put behind it. Does not commit."""
    with sight.everything():
        entry = db.session.get_one(AuditEntry, entry_id)
    entry.result, entry.settled_at, entry.detail = result, at, f"{entry.detail} {told}".rstrip()[:2000]
