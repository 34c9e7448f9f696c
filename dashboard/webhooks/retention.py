"""Deletion of old events."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select

from dashboard.core.database import MOST_AT_ONCE, change, db
from dashboard.webhooks.models import WebhookEvent

EVENTS_KEPT = timedelta(days=14)


def delete_old_events(at: datetime) -> int:
    """Delete events received more than 14 days ago; return how many. Commits, in small steps."""
    old = (
        select(WebhookEvent.id)
        .where(WebhookEvent.received_at < at - EVENTS_KEPT)
        .limit(MOST_AT_ONCE)
    )
    total = 0
    while deleted := change(delete(WebhookEvent).where(WebhookEvent.id.in_(old))):
        db.session.commit()
        total += deleted
    return total
