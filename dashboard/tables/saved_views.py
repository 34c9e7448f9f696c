"""What is asked of a table, kept by a short name where it is too long for an address: columns, filters, search, sort.

A view's id is a digest of its content and its table, so the same choice has the same address for everybody, and an address can be
handed to a colleague. It opens with its own table alone, whose rights are asked first. The content is encrypted, since a filter's
value may be anybody's address. A view that nobody has opened for ``KEPT`` is deleted.
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
from dashboard.tables.models import TableView

KEPT: Final = timedelta(days=90)
# How often it is written down that a view is in use.
NOTED: Final = timedelta(days=1)
Args = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class SavedView:
    """A view: its id, and the parameters of an address that it stands for, sorted by name."""

    id: str
    args: dict[str, list[str]]


def save(
    account_id: int, table_id: int, args: Args, encrypt: Callable[[str], bytes], at: datetime
) -> SavedView:
    """Keep parameters of a table's address, each with its values; the same ones twice are one view. Commits."""
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
    """A view of this table; None where there is none, or SECRET_KEY was changed.

    Once a day it is noted that it is in use, and the content is encrypted by the newest key; that commits.
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
    if at - row.used_at > NOTED:
        change(update(TableView).where(*mine).values(used_at=at, content=encrypt(content)))
        db.session.commit()
    return SavedView(view_id, json.loads(content))


def delete_old(at: datetime) -> int:
    """Delete views that nobody has opened for ``KEPT``; how many. Commits."""
    forgotten = change(delete(TableView).where(TableView.used_at < at - KEPT))
    db.session.commit()
    return forgotten
