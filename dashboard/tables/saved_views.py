"""Saved views: a table's columns, filters, search and sort, if too long for an address.

A view's id is a digest of its content and its table, so the same choice has the same address for
every user and can be shared. It opens only with its table, whose access rights are checked first.
The content is encrypted, since a filter's value can be personal data. A view that is not opened for
``VIEW_KEPT_FOR`` is deleted.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, update

from dashboard.core.database import change, db, upsert
from dashboard.tables.limits import VIEW_KEPT_FOR
from dashboard.tables.models import TableView

# How often the use of a view is recorded.
RECORD_USE_EVERY: Final = timedelta(days=1)
Args = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class SavedView:
    """A view: its id, and the parameters of an address that it replaces, sorted by name."""

    id: str
    args: dict[str, list[str]]


def save(
    account_id: int, table_id: int, args: Args, encrypt: Callable[[str], bytes], at: datetime
) -> SavedView:
    """Store the parameters of a table's address, each with its values. Commits.

    The same parameters of the same table are one view.
    """
    found = {name: list(args[name]) for name in sorted(args)}
    content = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(f"{account_id}/{table_id}/{content}".encode()).digest()
    id_ = base64.urlsafe_b64encode(digest)[:22].decode()
    row = {
        "id": id_,
        "account_id": account_id,
        "table_id": table_id,
        "content": encrypt(content),
        "used_at": at,
    }
    upsert(TableView, [row])
    db.session.commit()
    return SavedView(id_, found)


def find(
    view_id: str,
    account_id: int,
    table_id: int,
    decrypt: Callable[[bytes | None], str | None],
    encrypt: Callable[[str], bytes],
    at: datetime,
) -> SavedView | None:
    """Return a view of this table; None if there is none, or if SECRET_KEY has changed.

    Records the use of the view and encrypts its content with the newest key, at most once a day;
    commits then.
    """
    mine = (
        TableView.id == view_id,
        TableView.account_id == account_id,
        TableView.table_id == table_id,
    )
    row = db.session.execute(select(TableView.content, TableView.used_at).where(*mine)).first()
    content = decrypt(row.content) if row is not None else None
    if row is None or content is None:
        return None
    if at - row.used_at > RECORD_USE_EVERY:
        change(update(TableView).where(*mine).values(used_at=at, content=encrypt(content)))
        db.session.commit()
    return SavedView(view_id, json.loads(content))


def delete_old(at: datetime) -> int:
    """Delete views that were not opened for ``VIEW_KEPT_FOR``; return how many. Commits."""
    deleted = change(delete(TableView).where(TableView.used_at < at - VIEW_KEPT_FOR))
    db.session.commit()
    return deleted
