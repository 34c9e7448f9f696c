"""The list of audit entries."""

from typing import Any

from sqlalchemy import select

from dashboard.audit.models import AuditEntry
from dashboard.listing.listing import Filter, Listing, shown_time

AUDIT = Listing(
    statement=select(AuditEntry),
    search=(AuditEntry.words,),
    exact=(AuditEntry.account_id, AuditEntry.connection_id),
    filters={
        "what": Filter(AuditEntry.what, "What"),
        "result": Filter(AuditEntry.result, "Result"),
        "who": Filter(AuditEntry.who, "Who"),
        "account": Filter(AuditEntry.account_id, "Account", number=True, counted=False),
    },
    sorts={
        "at": (AuditEntry.at, AuditEntry.id),
        "who": (AuditEntry.who, AuditEntry.id),
        "what": (AuditEntry.what, AuditEntry.id),
    },
    default_sort="-at",
)


def serialize_entry(entry: AuditEntry) -> dict[str, Any]:
    """Return an audit entry as JSON and CSV have it."""
    return {
        "at": shown_time(entry.at),
        "who": entry.who,
        "what": entry.what,
        "result": entry.result,
        "account_id": entry.account_id,
        "connection_id": entry.connection_id,
        "detail": entry.detail,
        "times": entry.times,
        "settled_at": shown_time(entry.settled_at),
    }
