"""Texts of alerts: short, with counts of customers, times with their zone, and no secret.

External text (names, errors) goes through ``scrubbed``, which also keeps it on one line. It is
stored as it is; ``alerts.chat`` neutralises markup for the service that a message is sent to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from dashboard.alerts.limits import LONGEST_SUBJECT, MOST_LINES
from dashboard.alerts.models import AlertRule
from dashboard.core.database import db
from dashboard.core.redaction import one_line, scrubbed
from dashboard.findings import queries as finding_queries
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Account

DAY = timedelta(hours=24)


@dataclass(frozen=True)
class AlertText:
    """Subject and body of one message."""

    subject: str
    body: str


def of_new(rule: AlertRule, cause: Cause, base: str | None) -> AlertText:
    """Return the message about a new cause: what is broken, for how many customers, since when.

    ``base``: the console's own URL; None for no link.
    """
    name, grave = cause_name(cause), cause.severity.capitalize()
    lines = []
    if rule.account_id is None:
        subject = f"{grave}: {name} ({customers(cause.accounts)})"
        has = "have" if (cause.connections or cause.accounts) > 1 else "has"
        affected = _how_many(cause.connections, cause.accounts)
        lines.append(f"{affected} {has} it, since {_when(cause.since, rule)}.")
    else:
        where = _account_name(rule.account_id)
        subject = f"{grave}: {name} at {where}"
        count, first_seen = _in_account(cause.id, rule.account_id)
        affected = f"{connections(count)} of {where}" if count else where
        has, since = "have" if count > 1 else "has", first_seen or cause.since
        lines.append(f"{affected} {has} it, since {_when(since, rule)}.")
        if cause.accounts > 1:
            lines.append(f"Others have it too: {customers(cause.accounts)} in all.")
    if cause.platform:
        lines.append(
            "They failed in the same hour: it lies on the platform's side, not with the customers."
        )
    if cause.times > 1:
        lines.append(f"It is back: this is time number {cause.times}.")
    if example := scrubbed(cause.example):
        lines.append(f"For example: {example}")
    return _text(subject, lines, _link(base, f"/causes/{cause.id}"))


def of_recovered(rule: AlertRule, cause: Cause, base: str | None) -> AlertText:
    """Return the message that a cause which was sent has recovered."""
    name = cause_name(cause)
    if rule.account_id is None:
        ended, subject = cause.recovered_at, f"Recovered: {name}"
        had = f"At most {connections(cause.most)} had it at once." if cause.most else ""
        lines = [
            f"No customer has it any longer{_since(ended, rule)}."
            f" It began {_when(cause.since, rule)}.",
            had,
        ]
    else:
        where = _account_name(rule.account_id)
        subject = f"Recovered: {name} at {where}"
        last = select(func.max(Finding.recovered_at)).where(
            Finding.cause_id == cause.id, Finding.account_id == rule.account_id
        )
        lines = [f"{where} does not have it any longer{_since(db.session.scalar(last), rule)}."]
        if cause.accounts:
            lines.append(f"Others still do: {customers(cause.accounts)}.")
    return _text(subject, [line for line in lines if line], _link(base, f"/causes/{cause.id}"))


def of_digest(
    rule: AlertRule,
    open_causes: Sequence[Cause],
    recovered: Sequence[Cause],
    at: datetime,
    base: str | None,
) -> AlertText:
    """Return the digest of the last 24 hours: causes new, worse, recovered, still open.

    ``open_causes``, ``recovered``: causes that match the rule.
    """
    deltas = finding_queries.cause_deltas(open_causes, at)
    new = [cause for cause in open_causes if cause.since > at - DAY]
    worse = [
        cause
        for cause in open_causes
        if cause not in new and deltas[cause.id].came > deltas[cause.id].went
    ]
    still = [cause for cause in open_causes if cause not in new and cause not in worse]
    sections = {"New": new, "Worse": worse, "Recovered": list(recovered), "Still open": still}
    subject = "Digest: " + ", ".join(
        f"{len(causes)} {title.lower()}" for title, causes in sections.items()
    )
    lines = [f"The 24 hours before {_when(at, rule)}."]
    had = _recovered_customers(recovered, at)
    for title, causes in sections.items():
        if not causes:
            continue
        lines += ["", f"{title}:"]
        for cause in causes[:MOST_LINES]:
            many = had.get(cause.id, 0) if title == "Recovered" else cause.accounts
            more = f", {deltas[cause.id].came} more" if title == "Worse" else ""
            lines.append(
                f"- {cause.severity.capitalize()}: {cause_name(cause)}, {customers(many)}{more}"
            )
        if len(causes) > MOST_LINES:
            lines.append(f"- and {len(causes) - MOST_LINES} others")
    if not any(sections.values()):
        lines += ["", "Nothing came, nothing is open."]
    return _text(subject, lines, _link(base, "/causes"))


def of_test(rule: AlertRule, user_email: str, at: datetime, base: str | None) -> AlertText:
    """Return the text of a test message."""
    lines = [
        f"{one_line(user_email)} tried the rule “{scrubbed(rule.name, 80)}” on {_when(at, rule)}."
        " Nothing is wrong."
    ]
    return _text("Test of the Partner Console's alerts", lines, _link(base, "/alerts"))


def cause_name(cause: Cause) -> str:
    """Return the cause's title, with its connector if it has one."""
    return f"{cause.title}: {scrubbed(cause.connector, 60)}" if cause.connector else cause.title


def customers(count: int) -> str:
    """Return a count with its noun: ``1 customer``, ``300 customers``."""
    return f"{count} customer{'' if count == 1 else 's'}"


def connections(count: int) -> str:
    """Return a count with its noun: ``1 connection``, ``300 connections``."""
    return f"{count} connection{'' if count == 1 else 's'}"


def _how_many(count: int, accounts: int) -> str:
    return f"{connections(count)} of {customers(accounts)}" if count else customers(accounts)


def _account_name(account_id: int) -> str:
    account = db.session.get(Account, account_id)
    return scrubbed(account.title, 80) if account is not None else f"account {account_id}"


def _in_account(cause_id: int, account_id: int) -> tuple[int, datetime | None]:
    active = select(func.count(Finding.connection_id), func.min(Finding.first_seen_at)).where(
        Finding.cause_id == cause_id,
        Finding.account_id == account_id,
        Finding.recovered_at.is_(None),
    )
    count, first_seen = db.session.execute(active).one()
    return count, first_seen


def _recovered_customers(causes: Sequence[Cause], at: datetime) -> dict[int, int]:
    """Return how many customers of each cause recovered in the last 24 hours."""
    ids = [cause.id for cause in causes]
    counting = select(Finding.cause_id, func.count(Finding.account_id.distinct())).where(
        Finding.cause_id.in_(ids), Finding.recovered_at > at - DAY
    )
    return dict(db.session.execute(counting.group_by(Finding.cause_id)).all())


def _when(time: datetime, rule: AlertRule) -> str:
    local = time.astimezone(ZoneInfo(rule.zone))
    return f"{local.day} {local:%B %Y, %H:%M %Z}"


def _since(time: datetime | None, rule: AlertRule) -> str:
    return f", since {_when(time, rule)}" if time is not None else ""


def _link(base: str | None, path: str) -> str:
    return f"{base}{path}" if base else ""


def _text(subject: str, lines: Sequence[str], link: str) -> AlertText:
    subject = subject if len(subject) <= LONGEST_SUBJECT else subject[: LONGEST_SUBJECT - 1] + "…"
    return AlertText(subject, "\n".join([*lines, *(["", link] if link else [])]))
