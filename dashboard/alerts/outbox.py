"""Queue of alert messages: each episode of a cause is committed first, then sent once.

``key`` is unique in its rule: ``cause/<id>/<times>/new``, ``cause/<id>/<times>/recovered`` or
``digest/<day>``. The database refuses a second row with the same key, so the number of workers
does not matter.

A cause is sent once it has lasted for five minutes, so that short failures alarm no one. Its
recovery is sent after five minutes too, and only if the cause was sent. Causes that are older than
the rule are ``known`` and not sent. A message in quiet hours waits for their end; if the cause
recovers before, neither message is sent (the digest lists it). Counts are those at the time of
sending.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, String, and_, cast, func, literal, or_, select, update
from sqlalchemy.orm import aliased

from dashboard.alerts import messages as alert_texts
from dashboard.alerts.limits import RECOVERIES_SENT_FOR, RETRY_WAITS, SEND_AFTER
from dashboard.alerts.messages import AlertText
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.alerts.schedule import digest_due, quiet_until
from dashboard.core.database import change, db, upsert
from dashboard.core.search_text import with_folds
from dashboard.core.text import comparable
from dashboard.findings import models as states
from dashboard.findings.models import Cause, Finding
from dashboard.findings.rules.definitions import FINDING_SEVERITIES

NEW, RECOVERED, DIGEST, TEST = "new", "recovered", "digest", "test"
WAITING, SENT, FAILED, DROPPED, KNOWN = "waiting", "sent", "failed", "dropped", "known"
MESSAGE_STATES: Final = (WAITING, SENT, FAILED, DROPPED, KNOWN)
# Longer than any service takes to answer: a worker that still has the lease was killed.
LEASE: Final = timedelta(minutes=10)
LOST: Final = (
    "The worker that sent it was stopped: whether it arrived is not known."
    " Send it again if it did not."
)
MOST_IN_ONE_QUERY = 500


def queue_messages(at: datetime, base: str | None) -> None:
    """Queue the messages that are due by the rules. ``base``: the console's URL. Commits."""
    for rule in db.session.scalars(
        select(AlertRule).where(AlertRule.on).order_by(AlertRule.id)
    ).all():
        sends = rule.sends.split()
        if NEW in sends:
            new = _not_queued(rule, _matching(rule, at - SEND_AFTER))
            _write(
                rule,
                (
                    (key(cause, NEW), cause.id, alert_texts.of_new(rule, cause, base))
                    for cause in new
                ),
                at,
            )
        if RECOVERED in sends:
            recovered = _recovered(rule, at)
            _write(
                rule,
                (
                    (key(cause, RECOVERED), cause.id, alert_texts.of_recovered(rule, cause, base))
                    for cause in recovered
                ),
                at,
            )
        if (
            DIGEST in sends
            and (day := digest_due(rule, at)) is not None
            and not _has(rule, f"digest/{day}")
        ):
            recovered = _recovered_lately(rule, at)
            text = alert_texts.of_digest(rule, _matching(rule), recovered, at, base)
            _write(rule, [(f"digest/{day}", None, text)], at)
        db.session.commit()


def mark_existing_as_sent(rule: AlertRule, at: datetime) -> None:
    """Mark existing causes, and today's digest if its time is over, as sent. Does not commit."""
    known: list[tuple[str, int | None, AlertText]] = []
    if NEW in rule.sends.split():
        known = [
            (key(cause, NEW), cause.id, AlertText(alert_texts.cause_name(cause), ""))
            for cause in _matching(rule)
        ]
    if (day := digest_due(rule, at)) is not None:
        known.append((f"digest/{day}", None, AlertText("Digest", "")))
    _write(rule, known, at, state=KNOWN)


def any_rules() -> bool:
    """Return whether any rule is switched on."""
    return db.session.scalar(select(AlertRule.id).where(AlertRule.on).limit(1)) is not None


def key(cause: Cause, what: str) -> str:
    """Return the key of a message about the current episode of a cause."""
    return f"cause/{cause.id}/{cause.times}/{what}"


def rules_due(at: datetime) -> list[int]:
    """Return the ids of rules with messages to send now, longest due first."""
    ready = select(AlertMessage.rule_id).where(*_is_ready(at)).group_by(AlertMessage.rule_id)
    return list(
        db.session.scalars(ready.order_by(func.min(AlertMessage.due_at), AlertMessage.rule_id))
    )


def due(rule_id: int, at: datetime, most: int = 100) -> list[int]:
    """Return the ids of a rule's messages to send now, longest due first."""
    ready = select(AlertMessage.id).where(*_is_ready(at), AlertMessage.rule_id == rule_id)
    return list(
        db.session.scalars(ready.order_by(AlertMessage.due_at, AlertMessage.id).limit(most))
    )


def give_up_unknown(at: datetime) -> None:
    """Mark messages whose lease expired as failed. Commits.

    They may have arrived before their worker was killed, so they are not sent a second time.
    """
    lost = update(AlertMessage).where(AlertMessage.state == WAITING, AlertMessage.leased_until < at)
    change(
        lost.values(
            with_folds(
                AlertMessage, {"state": FAILED, "due_at": None, "leased_until": None, "error": LOST}
            )
        )
    )
    db.session.commit()


def lease(message_id: int, at: datetime, *, by_hand: bool = False) -> AlertMessage | None:
    """Lease a message that is due; None if it is not due or another worker has it. Commits.

    ``by_hand``: a user requests it, so a message that is not yet due or was given up is leased too.
    """
    allowed = (
        AlertMessage.state.in_((WAITING, FAILED)) if by_hand else AlertMessage.state == WAITING
    )
    leasing = update(AlertMessage).where(
        AlertMessage.id == message_id, allowed, AlertMessage.leased_until.is_(None)
    )
    if not by_hand:
        leasing = leasing.where(AlertMessage.due_at <= at)
    leasing = leasing.values(leased_until=at + LEASE).returning(AlertMessage.id)
    leased = db.session.execute(leasing.execution_options(synchronize_session=False)).first()
    db.session.commit()
    if leased is None:
        return None
    return db.session.get(AlertMessage, message_id, populate_existing=True)


def is_to_be_sent(message: AlertMessage, rule: AlertRule, at: datetime, base: str | None) -> bool:
    """Return whether a leased message should still be sent; else reschedule or drop it. Commits."""
    if not rule.on:
        _drop(message, "The rule was switched off before it was sent.")
    elif _is_untried_cause(message) and not _is_still_active(message, rule, base):
        pass
    elif not message.key.startswith(f"{DIGEST}/") and (until := quiet_until(rule, at)) is not None:
        message.due_at, message.leased_until = until, None
    else:
        db.session.commit()
        return True
    db.session.commit()
    return False


def begin_test(rule: AlertRule, user_email: str, at: datetime, base: str | None) -> AlertMessage:
    """Add a test message, leased to the caller. It is tried once. Commits."""
    text = alert_texts.of_test(rule, user_email, at, base)
    message = AlertMessage(
        rule_id=rule.id,
        key=f"{TEST}/{at.isoformat()}",
        subject=text.subject,
        body=text.body,
        state=WAITING,
        created_at=at,
        leased_until=at + LEASE,
    )
    db.session.add(message)
    db.session.commit()
    return message


def finish(message_id: int, error: str | None, at: datetime) -> None:
    """Record the outcome of an attempt; ``error`` is None after success. Commits.

    A failed message is retried later, three times; a test or a given-up message is not.
    """
    message = db.session.get(AlertMessage, message_id)
    if message is None:
        # The rule was deleted while the message was being sent.
        return
    message.tries += 1
    message.leased_until = message.due_at = None
    message.error = error or ""
    if error is None:
        message.state, message.sent_at = SENT, at
    elif (
        message.state == FAILED
        or message.key.startswith(f"{TEST}/")
        or message.tries > len(RETRY_WAITS)
    ):
        message.state = FAILED
    else:
        message.due_at = at + RETRY_WAITS[message.tries - 1]
    db.session.commit()


def _matching(rule: AlertRule, since: datetime | None = None) -> list[Cause]:
    """Return the rule's active causes, worst first; with ``since``, those at least that old."""
    matching = select(Cause).where(Cause.state.in_((states.NEW, states.OPEN)), *_is_about(rule))
    if rule.account_id is not None:
        in_account = select(Finding.cause_id).where(
            Finding.account_id == rule.account_id,
            Finding.recovered_at.is_(None),
            Finding.state != states.SUPPRESSED,
        )
        if since is not None:
            in_account = in_account.where(Finding.first_seen_at <= since)
        matching = matching.where(Cause.id.in_(in_account))
    elif since is not None:
        matching = matching.where(Cause.since <= since)
    return list(
        db.session.scalars(matching.order_by(Cause.severity_rank, Cause.accounts.desc(), Cause.id))
    )


def _is_about(rule: AlertRule) -> Iterable[ColumnElement[bool]]:
    yield Cause.severity_rank <= FINDING_SEVERITIES.index(rule.severity)
    if rule.connector:
        # A cause without a connector concerns each connector that has a finding of it.
        active = or_(Finding.recovered_at.is_(None), Cause.state == states.RECOVERED)
        connector = comparable(rule.connector)
        has_it = (
            select(Finding.id)
            .where(Finding.cause_id == Cause.id, Finding.connector_folded == connector, active)
            .exists()
        )
        yield or_(Cause.connector_folded == connector, and_(Cause.connector == "", has_it))


def _recovered_lately(rule: AlertRule, at: datetime) -> list[Cause]:
    """Return the rule's causes that recovered in the last 24 hours."""
    lately = select(Cause).where(
        Cause.recovered_at > at - alert_texts.DAY, Cause.state == states.RECOVERED, *_is_about(rule)
    )
    if rule.account_id is not None:
        in_account = select(Finding.cause_id).where(
            Finding.account_id == rule.account_id, Finding.recovered_at > at - alert_texts.DAY
        )
        lately = lately.where(Cause.id.in_(in_account))
    return list(db.session.scalars(lately.order_by(Cause.severity_rank, Cause.id)))


def _recovered(rule: AlertRule, at: datetime) -> list[Cause]:
    """Return the causes that this rule sent, and whose recovery is to be sent now.

    At least one finding must have recovered: findings that moved to another cause have not.
    """
    sent, recovery = aliased(AlertMessage), aliased(AlertMessage)
    episode = literal("cause/") + cast(Cause.id, String) + "/" + cast(Cause.times, String)
    recovered = (
        select(Cause)
        .join(sent, (sent.cause_id == Cause.id) & (sent.key == episode + f"/{NEW}"))
        .where(sent.rule_id == rule.id, sent.state == SENT)
        .where(
            ~select(recovery.id)
            .where(recovery.rule_id == rule.id, recovery.key == episode + f"/{RECOVERED}")
            .exists()
        )
    )
    findings = select(Finding.id).where(Finding.cause_id == Cause.id)
    if rule.account_id is not None:
        findings = findings.where(Finding.account_id == rule.account_id)
        last = select(func.max(Finding.recovered_at)).where(
            Finding.cause_id == Cause.id, Finding.account_id == rule.account_id
        )
        recovered = recovered.where(
            ~findings.where(Finding.recovered_at.is_(None)).exists(),
            last.scalar_subquery().between(at - RECOVERIES_SENT_FOR, at - SEND_AFTER),
        )
    else:
        recovered = recovered.where(
            Cause.state == states.RECOVERED,
            Cause.recovered_at.between(at - RECOVERIES_SENT_FOR, at - SEND_AFTER),
        )
        recovered = recovered.where(findings.where(Finding.recovered_at >= Cause.since).exists())
    return list(db.session.scalars(recovered.order_by(Cause.id)))


def _is_untried_cause(message: AlertMessage) -> bool:
    return message.key.endswith(f"/{NEW}") and message.tries == 0


def _is_still_active(message: AlertMessage, rule: AlertRule, base: str | None) -> bool:
    """Return whether the cause is still active; if so, update the message's numbers."""
    cause = (
        db.session.get(Cause, message.cause_id, populate_existing=True)
        if message.cause_id is not None
        else None
    )
    if cause is None or cause.state == states.RECOVERED:
        return _drop(message, "It recovered before it was to be told.")
    if message.key != key(cause, NEW):
        return _drop(
            message, "It recovered and came again before it was sent; the new episode is sent."
        )
    if cause.state == states.SUPPRESSED:
        # If it is still active when the suppression ends, a new message is queued.
        db.session.delete(message)
        return False
    if rule.account_id is not None and cause.id not in {each.id for each in _matching(rule)}:
        return _drop(message, "The account recovered before it was sent.")
    text = alert_texts.of_new(rule, cause, base)
    message.subject, message.body = text.subject, text.body
    return True


def _drop(message: AlertMessage, reason: str) -> bool:
    message.state, message.due_at, message.leased_until = DROPPED, None, None
    message.error = reason
    return False


def _is_ready(at: datetime) -> Iterable[ColumnElement[bool]]:
    return (
        AlertMessage.state == WAITING,
        AlertMessage.due_at <= at,
        AlertMessage.leased_until.is_(None),
    )


def _not_queued(rule: AlertRule, causes: Sequence[Cause]) -> list[Cause]:
    queued: set[str] = set()
    for start in range(0, len(causes), MOST_IN_ONE_QUERY):
        keys = [key(cause, NEW) for cause in causes[start : start + MOST_IN_ONE_QUERY]]
        existing = select(AlertMessage.key).where(
            AlertMessage.rule_id == rule.id, AlertMessage.key.in_(keys)
        )
        queued |= set(db.session.scalars(existing))
    return [cause for cause in causes if key(cause, NEW) not in queued]


def _has(rule: AlertRule, key: str) -> bool:
    return (
        db.session.scalar(
            select(AlertMessage.id).where(AlertMessage.rule_id == rule.id, AlertMessage.key == key)
        )
        is not None
    )


def _write(
    rule: AlertRule,
    texts: Iterable[tuple[str, int | None, AlertText]],
    at: datetime,
    state: str = WAITING,
) -> None:
    """Insert the messages whose key is new. Does not commit."""
    rows: list[dict[str, Any]] = []
    for name, cause_id, text in texts:
        due_at = None
        if state == WAITING:
            due_at = at if name.startswith(f"{DIGEST}/") else quiet_until(rule, at) or at
        rows.append(
            {
                "rule_id": rule.id,
                "key": name,
                "cause_id": cause_id,
                "subject": text.subject,
                "body": text.body,
                "state": state,
                "created_at": at,
                "due_at": due_at,
            }
        )
    upsert(AlertMessage, rows, keep_existing=True)
