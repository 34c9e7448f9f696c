"""Reveals of masked columns: one user, one table, 15 minutes, with an audited reason."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, select

from dashboard.audit import service as audit
from dashboard.audit.models import AuditEntry
from dashboard.core import row_access
from dashboard.core.database import change, db, upsert
from dashboard.core.text import clean
from dashboard.masking.limits import LONGEST_REASON, REVEALED_FOR, SHORTEST_REASON
from dashboard.masking.models import ColumnMask, Reveal
from dashboard.users.models import User

# Audit entry: a masked column was filtered or searched by a whole value.
COMPARED: Final = "masked_compared"
# Built once, since every page of rows needs it.
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
    """A missing or too long reason; the message is a sentence for the user."""


def reveal(user: User, account_id: int, table_id: int, why: str, at: datetime) -> Reveal:
    """Let a user see a table's masked columns for 15 minutes, and audit it. Commits.

    Raises:
        BadReason: The reason has fewer than 5 or more than 500 characters.
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
        user_id=user.id,
        account_id=account_id,
        table_id=table_id,
        why=why,
        at=at,
        until=at + REVEALED_FOR,
    )
    db.session.add(found)
    db.session.commit()
    return found


def checked_reason(why: str) -> str:
    """Return the cleaned reason.

    Raises:
        BadReason: The reason has fewer than 5 or more than 500 characters.
    """
    why = clean(why).strip()
    if len(why) < SHORTEST_REASON:
        raise BadReason(
            "Say in a few words why you need to see it: the reason stands in the audit trail."
        )
    if len(why) > LONGEST_REASON:
        raise BadReason(f"The reason has {len(why)} characters; it can have {LONGEST_REASON}.")
    return why


def until(user: User, account_id: int, table_id: int, at: datetime) -> datetime | None:
    """Return until when the user sees the table's masked columns; None if masked."""
    return db.session.scalar(
        _UNTIL, {"user_id": user.id, "account_id": account_id, "table_id": table_id, "at": at}
    )


def overrides(table_id: int) -> dict[str, bool]:
    """Return administrators' decisions for a table's columns: True for masked."""
    return {row.column: row.masked for row in db.session.execute(_DECIDED, {"table_id": table_id})}


def overrides_in(table_ids: Collection[int]) -> dict[int, dict[str, bool]]:
    """Return administrators' decisions for several tables, by table and column."""
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
    """Audit that masked columns were compared with a value, once in 15 minutes. Commits."""
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
            select(AuditEntry.id).where(*mine, AuditEntry.at > at - REVEALED_FOR).limit(1)
        ).first()
    if latest is None:
        audit.record(at, user.email, COMPARED, audit.DONE, account_id=account_id, detail=detail)


def decide(
    user: User, account_id: int, table_id: int, column: str, masked: bool | None, at: datetime
) -> None:
    """Mask a column (True), show it (False) or leave it to the rules (None). Audits and commits."""
    decision = (
        "left to the rules" if masked is None else "masked" if masked else "shown to everybody"
    )
    audit.record(
        at,
        user.email,
        "mask",
        audit.DONE,
        account_id=account_id,
        detail=f"table {table_id}, “{column[:200]}”: {decision}",
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
