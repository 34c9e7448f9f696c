"""Exports of whole tables: what was asked for, how far each is, and its end in the audit trail."""

from datetime import datetime

from dashboard.store.database import db
from dashboard.store.models import AuditEntry


def settle_entry(entry_id: int, result: str, told: str, at: datetime) -> None:
    """An export's end in the audit trail: ``told`` is put behind what was asked for. Commits."""
    entry = db.session.get_one(AuditEntry, entry_id)
    entry.result, entry.settled_at, entry.detail = result, at, f"{entry.detail} {told}"[:2000]
    db.session.commit()
