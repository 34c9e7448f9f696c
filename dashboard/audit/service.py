"""The audit trail: one entry for each thing a person did, its result settled later where it takes time.

What failed or was refused can be repeated without end, by people who may do nothing and by strangers. So repetitions of one
thing within an hour are counted in one row, which goes with the history; what was done stays.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import column, func, select, table, update

from dashboard.audit.models import AuditEntry
from dashboard.core import row_access
from dashboard.core.database import change, db, insert_for
from dashboard.core.text import clean

PENDING, DONE, FAILED, REFUSED, UNKNOWN = "pending", "done", "failed", "refused", "unknown"
# By its name: the package of users stands above this one.
_USERS = table("user", column("address"))
COUNTED: Final = frozenset({FAILED, REFUSED})
# Rows of what failed or was refused within an hour: of one person, and of all together who are no users.
MOST_ROWS: Final = 100
BEYOND: Final = f"One of more than {MOST_ROWS} different failures and refusals within this hour: from there on, counted together."


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
    """Write an entry and commit it, so that nothing that follows can lose it.

    ``who`` is an e-mail address in its canonical form. With a result of ``COUNTED`` it is the row of this hour that counts the
    same thing, which may have been there before.
    """
    if result in COUNTED:
        return _count(at, who, what, result, account_id, connection_id, detail)
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
        who=clean(who)[:254],
        what=what,
        result=PENDING,
        account_id=account_id,
        connection_id=connection_id,
        detail=clean(detail)[:2000],
    )
    db.session.add(entry)
    db.session.flush()
    return entry


def _count(
    at: datetime,
    who: str,
    what: str,
    result: str,
    account_id: int | None,
    connection_id: int | None,
    detail: str,
) -> AuditEntry:
    who, detail = clean(who)[:254], clean(detail)[:2000]
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
    """What was settled stays."""
    db.session.commit()


def settle(entry_id: int, result: str, told: str, at: datetime) -> None:
    """The end of what an entry says was begun: ``told`` is put behind it. Does not commit."""
    with row_access.unrestricted():
        entry = db.session.get_one(AuditEntry, entry_id)
    entry.result, entry.settled_at, entry.detail = (
        result,
        at,
        f"{entry.detail} {told}".rstrip()[:2000],
    )
