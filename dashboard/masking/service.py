"""Who sees masked columns all the same: one person, one table, a quarter of an hour, with a reason in the audit."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, delete, select

from dashboard.audit import service as audit
from dashboard.audit.models import AuditEntry
from dashboard.core import row_access
from dashboard.core.database import change, db, upsert
from dashboard.core.text import clean
from dashboard.masking.models import ColumnMask, Reveal
from dashboard.users.models import User

LASTS: Final = timedelta(minutes=15)
LEAST, LONGEST = 5, 500
# In the audit trail: a masked column was filtered or searched by a whole value.
COMPARED: Final = "masked_compared"
# Made once: every page of rows asks.
_UNTIL = (
    select(Reveal.until)
    .where(
        Reveal.user_id == bindparam("user_id"),
        Reveal.account_id == bindparam("account_id"),
        Reveal.table_id == bindparam("table_id"),
        Reveal.until > bindparam("at"),
    )
    .order_by(Reveal.until.desc())
    .limit(1)
)
_DECIDED = select(ColumnMask.column, ColumnMask.masked).where(
    ColumnMask.table_id == bindparam("table_id")
)


class BadReason(ValueError):
    """A sentence: no reason was given, or a very long one."""


def reveal(user: User, account_id: int, table_id: int, why: str, at: datetime) -> Reveal:
    """Let somebody see a table's masked columns; written into the audit trail before anything is shown. Commits.

    Raises:
        BadReason: no reason was given, or one of more than 500 characters.
    """
    why = checked_reason(why)
    audit.record(
        at,
        user.email,
        "reveal",
        audit.DONE,
        account_id=account_id,
        detail=f"table {table_id}, for 15 minutes: {why}",
    )
    found = Reveal(
        user_id=user.id, account_id=account_id, table_id=table_id, why=why, at=at, until=at + LASTS
    )
    db.session.add(found)
    db.session.commit()
    return found


def checked_reason(why: str) -> str:
    """The reason as it is kept.

    Raises:
        BadReason: there is none, or it is very long.
    """
    why = clean(why).strip()
    if len(why) < LEAST:
        raise BadReason(
            "Say in a few words why you need to see it: the reason stands in the audit trail."
        )
    if len(why) > LONGEST:
        raise BadReason(f"The reason has {len(why)} characters; it can have {LONGEST}.")
    return why


def until(user: User, account_id: int, table_id: int, at: datetime) -> datetime | None:
    """Until when this person sees the table's masked columns; None where they do not."""
    return db.session.scalar(
        _UNTIL, {"user_id": user.id, "account_id": account_id, "table_id": table_id, "at": at}
    )


def overrides(table_id: int) -> dict[str, bool]:
    """What administrators decided for a table's columns: True for masked."""
    return {row.column: row.masked for row in db.session.execute(_DECIDED, {"table_id": table_id})}


def overrides_in(table_ids: Collection[int]) -> dict[int, dict[str, bool]]:
    """What administrators decided for the columns of several tables, by table; those without a decision are left out."""
    decided: dict[int, dict[str, bool]] = {}
    if table_ids:
        found = select(ColumnMask.table_id, ColumnMask.column, ColumnMask.masked).where(
            ColumnMask.table_id.in_(table_ids)
        )
        for row in db.session.execute(found):
            decided.setdefault(row.table_id, {})[row.column] = row.masked
    return decided


def record_comparison(
    user: User, account_id: int, table_id: int, columns: Sequence[str], at: datetime
) -> None:
    """Write into the audit trail that masked columns of a table were compared with a value, once in ``LASTS``. Commits."""
    detail = f"table {table_id}, without the value: {', '.join(columns)}"[:1000]
    of_table = AuditEntry.detail.startswith(f"table {table_id},", autoescape=True)
    mine = (
        AuditEntry.who == user.email,
        AuditEntry.what == COMPARED,
        AuditEntry.account_id == account_id,
        of_table,
    )
    with row_access.unrestricted():
        latest = db.session.scalars(
            select(AuditEntry.id).where(*mine, AuditEntry.at > at - LASTS).limit(1)
        ).first()
    if latest is None:
        audit.record(at, user.email, COMPARED, audit.DONE, account_id=account_id, detail=detail)


def decide(
    user: User, account_id: int, table_id: int, column: str, masked: bool | None, at: datetime
) -> None:
    """Mask a column, show it, or (None) leave it to the rules again. Written into the audit trail. Commits."""
    said = "left to the rules" if masked is None else "masked" if masked else "shown to everybody"
    audit.record(
        at,
        user.email,
        "mask",
        audit.DONE,
        account_id=account_id,
        detail=f"table {table_id}, “{column[:200]}”: {said}",
    )
    if masked is None:
        change(
            delete(ColumnMask).where(ColumnMask.table_id == table_id, ColumnMask.column == column)
        )
    else:
        row = {
            "table_id": table_id,
            "column": column,
            "account_id": account_id,
            "masked": masked,
            "who": user.email,
            "at": at,
        }
        upsert(ColumnMask, [row])
    db.session.commit()
