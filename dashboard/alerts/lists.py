"""Lists of alert rules and alert messages. Neither contains an address."""

from typing import Any

from sqlalchemy import case, select
from sqlalchemy.orm import contains_eager

from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.alerts.outbox import KNOWN, MESSAGE_STATES
from dashboard.core.times import shown_minute
from dashboard.findings.rules.definitions import FINDING_SEVERITIES
from dashboard.fleet.models import Account
from dashboard.listing.listing import Filter, Listing, shown_time

ALERT_RULES = Listing(
    statement=select(AlertRule)
    .outerjoin(AlertRule.account)
    .options(
        contains_eager(AlertRule.account).load_only(Account.name, Account.external_id),
        contains_eager(AlertRule.account).lazyload(Account.check),
    ),
    search=(AlertRule.name_folded, AlertRule.words),
    exact=(AlertRule.account_id,),
    filters={
        "severity": Filter(AlertRule.severity, "From severity", FINDING_SEVERITIES),
        "on": Filter(case((AlertRule.on, "on"), else_="off"), "On or off", ("on", "off")),
    },
    sorts={
        "name": (AlertRule.name_folded, AlertRule.id),
        "created": (AlertRule.created_at, AlertRule.id),
    },
    default_sort="name",
)


def serialize_rule(rule: AlertRule) -> dict[str, Any]:
    """Return one rule as JSON fields."""
    return {
        "id": rule.id,
        "name": rule.name,
        "place": rule.place,
        "sends": rule.sends,
        "severity": rule.severity,
        "connector": rule.connector,
        "account_id": rule.account_id,
        "quiet_from": shown_minute(rule.quiet_from) or None,
        "quiet_to": shown_minute(rule.quiet_to) or None,
        "digest_at": shown_minute(rule.digest_at) or None,
        "zone": rule.zone,
        "on": rule.on,
        "created_at": shown_time(rule.created_at),
        "created_by": rule.created_by,
    }


ALERT_MESSAGES = Listing(
    statement=select(AlertMessage)
    .join(AlertMessage.rule)
    .options(contains_eager(AlertMessage.rule)),
    search=(AlertMessage.subject_folded, AlertMessage.error_folded, AlertRule.name_folded),
    exact=(AlertMessage.cause_id,),
    filters={
        "state": Filter(AlertMessage.state, "State", MESSAGE_STATES, hides=(KNOWN,)),
        "rule": Filter(AlertRule.name, "Rule"),
        "cause": Filter(AlertMessage.cause_id, "Cause", number=True, counted=False),
    },
    sorts={
        "at": (AlertMessage.created_at, AlertMessage.id),
        "rule": (AlertRule.name_folded, AlertMessage.id),
        "sent": (AlertMessage.sent_at, AlertMessage.id),
        "tries": (AlertMessage.tries, AlertMessage.id),
    },
    default_sort="-at",
)


def serialize_message(message: AlertMessage) -> dict[str, Any]:
    """Return one message as JSON fields."""
    return {
        "id": message.id,
        "rule": message.rule.name,
        "tells": message.key,
        "cause_id": message.cause_id,
        "subject": message.subject,
        "state": message.state,
        "tries": message.tries,
        "error": message.error,
        "created_at": shown_time(message.created_at),
        "due_at": shown_time(message.due_at),
        "sent_at": shown_time(message.sent_at),
    }
