"""Alert rules, managed by administrators: what is sent of which causes, where to and when."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.orm import joinedload, undefer

from dashboard.alerts import outbox
from dashboard.alerts.limits import MOST_RULES
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.core.database import change, db
from dashboard.core.search_text import with_folds
from dashboard.core.text import comparable
from dashboard.core.times import read_minute, read_zone, shown_minute
from dashboard.findings.rules.definitions import FINDING_SEVERITIES
from dashboard.fleet.models import Account, ConnectionCount

SENDS: Final = {
    outbox.NEW: "New causes",
    outbox.RECOVERED: "Recoveries",
    outbox.DIGEST: "Morning digest",
}


@dataclass(frozen=True)
class AlertRuleInput:
    """Input of the rule form. ``account``: an id, empty for all. Times as in ``AlertRule``."""

    name: str
    sends: tuple[str, ...]
    severity: str
    connector: str | None
    account: str
    quiet_from: int | None
    quiet_to: int | None
    digest_at: int | None
    zone: str


def read_rule(form: Mapping[str, str], sends: list[str]) -> AlertRuleInput:
    """Return the form's input.

    Raises:
        ValueError: a sentence for the user, if a field cannot be read or fields contradict.
    """
    rule = AlertRuleInput(
        name=" ".join(form.get("name", "").split())[:80],
        sends=tuple(word for word in SENDS if word in sends),
        severity=form.get("severity", ""),
        connector=form.get("connector", "").strip()[:200] or None,
        account=form.get("account", "").strip()[:200],
        quiet_from=read_minute(form.get("quiet_from", "")),
        quiet_to=read_minute(form.get("quiet_to", "")),
        digest_at=read_minute(form.get("digest_at", "")),
        zone=read_zone(form.get("zone", "")),
    )
    if problem := _problem(rule):
        raise ValueError(problem)
    return rule


def _problem(rule: AlertRuleInput) -> str | None:
    if not rule.name:
        return "Give the rule a name that says who reads it."
    if not rule.sends:
        return "Choose what the rule sends: new causes, recoveries, the digest."
    if outbox.RECOVERED in rule.sends and outbox.NEW not in rule.sends:
        return "A rule sends the recovery of causes that it sent before: choose new causes as well."
    if rule.severity not in FINDING_SEVERITIES:
        return f"Choose from which severity on: {', '.join(FINDING_SEVERITIES)}."
    if (rule.quiet_from is None) != (rule.quiet_to is None):
        return "Quiet hours need both a beginning and an end, or neither."
    if rule.quiet_from is not None and rule.quiet_from == rule.quiet_to:
        return (
            "Quiet hours cannot begin and end at the same time."
            " To send nothing, switch the rule off."
        )
    if outbox.DIGEST in rule.sends and rule.digest_at is None:
        return "Say at what time the digest goes out."
    return None


def save(rule: AlertRule, values: AlertRuleInput, at: datetime) -> None:
    """Store a new or changed rule, and mark causes that match already as sent. Commits.

    Raises:
        ValueError: the account is unknown, or there are too many rules.
    """
    if rule.id is None and (db.session.scalar(select(func.count(AlertRule.id))) or 0) >= MOST_RULES:
        raise ValueError(f"There are {MOST_RULES} rules, the maximum. Delete one first.")
    rule.account_id = _account(values.account)
    rule.name, rule.sends, rule.severity = values.name, " ".join(values.sends), values.severity
    rule.connector, rule.zone = values.connector, values.zone
    rule.quiet_from, rule.quiet_to = values.quiet_from, values.quiet_to
    rule.digest_at = values.digest_at if outbox.DIGEST in values.sends else None
    db.session.add(rule)
    db.session.flush()
    if rule.on:
        outbox.mark_existing_as_sent(rule, at)
    db.session.commit()


def switch(rule: AlertRule, on: bool, at: datetime) -> None:
    """Switch a rule on or off. Commits.

    Off: messages that wait are dropped. On: causes that match already count as sent.
    """
    if rule.on == on:
        return
    rule.on = on
    if on:
        outbox.mark_existing_as_sent(rule, at)
    else:
        waiting = update(AlertMessage).where(
            AlertMessage.rule_id == rule.id, AlertMessage.state == outbox.WAITING
        )
        dropped = {
            "state": outbox.DROPPED,
            "due_at": None,
            "error": "The rule was switched off before it was sent.",
        }
        change(waiting.values(with_folds(AlertMessage, dropped)))
    db.session.commit()


def remove(rule: AlertRule) -> None:
    """Delete a rule and its messages. The audit trail stays. Commits."""
    change(delete(AlertMessage).where(AlertMessage.rule_id == rule.id))
    change(delete(AlertRule).where(AlertRule.id == rule.id))
    db.session.commit()


def rule_or_none(rule_id: int, *, with_address: bool = False) -> AlertRule | None:
    """Return a rule with its account; the encrypted address is loaded only ``with_address``."""
    query = select(AlertRule).where(AlertRule.id == rule_id).options(joinedload(AlertRule.account))
    return db.session.scalar(query.options(undefer(AlertRule.address)) if with_address else query)


def connectors() -> list[str]:
    """Return the connectors that a rule can be restricted to, sorted."""
    in_use = (
        select(ConnectionCount.connector)
        .distinct()
        .where(ConnectionCount.connections > 0, ConnectionCount.connector != "")
    )
    return sorted(db.session.scalars(in_use), key=comparable)


def typed(rule: AlertRule) -> dict[str, str]:
    """Return a rule's form fields, without the address."""
    minutes: dict[str, Callable[[AlertRule], int | None]] = {
        "quiet_from": lambda each: each.quiet_from,
        "quiet_to": lambda each: each.quiet_to,
        "digest_at": lambda each: each.digest_at,
    }
    return {
        "name": rule.name,
        "severity": rule.severity,
        "connector": rule.connector or "",
        "account": str(rule.account_id or ""),
        "zone": rule.zone,
        **{name: shown_minute(of(rule)) for name, of in minutes.items()},
    }


def _account(text: str) -> int | None:
    """Return the account with an id, the customer's own or Peliqan's; None for empty text."""
    if not text:
        return None
    wanted = comparable(text)
    ids = [int(wanted)] if wanted.isascii() and wanted.isdigit() and len(wanted) < 19 else []
    matches = or_(Account.external_id_folded == wanted, Account.id.in_(ids))
    # Ids may differ in case alone: an exact match counts more.
    exactly_first = case((Account.external_id == text, 0), else_=1)
    found = db.session.scalar(
        select(Account.id).where(matches).order_by(exactly_first, Account.id).limit(1)
    )
    if found is None:
        raise ValueError(
            f"No account has the id “{text[:60]}”. Take it from the account's page,"
            " or leave it empty for all."
        )
    return found
