"""Deletion of old events."""

from datetime import datetime

from sqlalchemy import delete, select

from dashboard.core.database import MOST_AT_ONCE, change, db
from dashboard.webhooks.limits import EVENTS_KEPT_FOR
from dashboard.webhooks.models import WebhookEvent


def delete_old_events(at: datetime) -> int:
    """Delete events received more than 14 days ago; return how many. Commits, in small steps."""
    old = (
        select(WebhookEvent.id)
        .where(WebhookEvent.received_at < at - EVENTS_KEPT_FOR)
        .limit(MOST_AT_ONCE)
    )
    total = 0
    while deleted := change(delete(WebhookEvent).where(WebhookEvent.id.in_(old))):
        db.session.commit()
        total += deleted
    return total
