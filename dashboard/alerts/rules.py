"""The rules by which alerts go out: what each sends, of which causes, where to and when. Made and changed by administrators."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.orm import joinedload, undefer

from dashboard.alerts import outbox
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.core.database import change, db
from dashboard.core.search_text import with_folds
from dashboard.core.text import comparable
from dashboard.core.times import read_minute, read_zone, shown_minute
from dashboard.findings.rules.registry import GRAVITIES
from dashboard.fleet.models import Account, ConnectionCount

SENDS: Final = {
    outbox.NEW: "New causes",
    outbox.RECOVERED: "Recoveries",
    outbox.DIGEST: "Morning digest",
}
MOST_RULES: Final = 50


@dataclass(frozen=True)
class AlertRuleInput:
    """A rule as a person wants it. ``address``: empty to keep the one there is. Times as in ``AlertRule``."""

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
    """What was typed into the form.

    Raises:
        ValueError: a sentence, where something cannot be read or does not fit together.
    """
    wanted = AlertRuleInput(
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
    if not wanted.name:
        raise ValueError("Give the rule a name that says who reads it.")
    if not wanted.sends:
        raise ValueError("Choose what the rule sends: new causes, recoveries, the digest.")
    if outbox.RECOVERED in wanted.sends and outbox.NEW not in wanted.sends:
        raise ValueError("A recovery is told where its cause was told: choose new causes as well.")
    if wanted.severity not in GRAVITIES:
        raise ValueError(f"Choose from which severity on: {', '.join(GRAVITIES)}.")
    if (wanted.quiet_from is None) != (wanted.quiet_to is None):
        raise ValueError("Quiet hours need both a beginning and an end, or neither.")
    if wanted.quiet_from is not None and wanted.quiet_from == wanted.quiet_to:
        raise ValueError(
            "Quiet hours that end when they begin would never end. To send nothing, switch the rule off."
        )
    if outbox.DIGEST in wanted.sends and wanted.digest_at is None:
        raise ValueError("Say at what time the digest goes out.")
    return wanted


def save(rule: AlertRule, wanted: AlertRuleInput, at: datetime) -> None:
    """Write a new or a changed rule down. What is wrong already, and would be told by it, counts as told. Commits.

    Raises:
        ValueError: the account is not known, or there are too many rules.
    """
    if rule.id is None and (db.session.scalar(select(func.count(AlertRule.id))) or 0) >= MOST_RULES:
        raise ValueError(f"There are {MOST_RULES} rules. Delete one that nobody reads.")
    rule.account_id = _account(wanted.account)
    rule.name, rule.sends, rule.severity = wanted.name, " ".join(wanted.sends), wanted.severity
    rule.connector, rule.zone = wanted.connector, wanted.zone
    rule.quiet_from, rule.quiet_to = wanted.quiet_from, wanted.quiet_to
    rule.digest_at = wanted.digest_at if outbox.DIGEST in wanted.sends else None
    db.session.add(rule)
    db.session.flush()
    if rule.on:
        outbox.mark_existing_as_sent(rule, at)
    db.session.commit()


def switch(rule: AlertRule, on: bool, at: datetime) -> None:
    """Have a rule speak or be silent. What waits is dropped; what came meanwhile counts as told. Commits."""
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
    """Forget a rule with all that it sent. The audit trail keeps that there was one. Commits."""
    change(delete(AlertMessage).where(AlertMessage.rule_id == rule.id))
    change(delete(AlertRule).where(AlertRule.id == rule.id))
    db.session.commit()


def rule_or_none(rule_id: int, *, with_address: bool = False) -> AlertRule | None:
    """One rule with its account; the encrypted address only for whoever is about to send."""
    wanted = select(AlertRule).where(AlertRule.id == rule_id).options(joinedload(AlertRule.account))
    return db.session.scalar(wanted.options(undefer(AlertRule.address)) if with_address else wanted)


def connectors() -> list[str]:
    """What a rule may be for."""
    there = (
        select(ConnectionCount.connector)
        .distinct()
        .where(ConnectionCount.connections > 0, ConnectionCount.connector != "")
    )
    return sorted(db.session.scalars(there), key=comparable)


def typed(rule: AlertRule) -> dict[str, str]:
    """A rule as its form shows it, without the address."""
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
    """By the customer's own id or Peliqan's."""
    if not text:
        return None
    asked = comparable(text)
    ids = [int(asked)] if asked.isascii() and asked.isdigit() and len(asked) < 19 else []
    meant = or_(Account.external_id_folded == asked, Account.id.in_(ids))
    # Of several that differ in spelling alone, the one that is written so.
    exactly_first = case((Account.external_id == text, 0), else_=1)
    found = db.session.scalar(
        select(Account.id).where(meant).order_by(exactly_first, Account.id).limit(1)
    )
    if found is None:
        raise ValueError(
            f"No account has the id “{text[:60]}”. Take it from the account's page, or leave it empty for all."
        )
    return found
