"""What is to be told, by the rules: one message a cause and episode, written down before it is sent, sent once.

``key`` is what makes a message unique in its rule: ``cause/<id>/<times>/new``, ``cause/<id>/<times>/recovered``,
``digest/<day>``. Whoever writes the row first has told it, however many workers there are.

A cause is told once it has lasted for five minutes, so that what comes and goes alarms nobody; its end likewise, and only where
its beginning was sent. What was wrong before the rule was made is ``known`` and not told. What falls into quiet hours waits for
their end; if it recovers before, neither is told (the digest has it). Counts are those of the moment of sending.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, String, and_, cast, func, literal, or_, select, update
from sqlalchemy.orm import aliased

from dashboard.alerts import messages as alert_texts
from dashboard.alerts.messages import AlertText
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.alerts.schedule import digest_due, quiet_until
from dashboard.core.database import change, db, upsert
from dashboard.core.search_text import with_folds
from dashboard.core.text import comparable
from dashboard.findings import models as states
from dashboard.findings.models import Cause, Finding
from dashboard.findings.rules.registry import GRAVITIES

NEW, RECOVERED, DIGEST, TEST = "new", "recovered", "digest", "test"
WAITING, SENT, FAILED, DROPPED, KNOWN = "waiting", "sent", "failed", "dropped", "known"
MESSAGE_STATES: Final = (WAITING, SENT, FAILED, DROPPED, KNOWN)
SETTLED: Final = timedelta(minutes=5)
# After the first, the second and the third try that failed; then it is given up.
WAITS: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
# Longer than any place takes to answer: whoever had it in hand was killed.
LEASE: Final = timedelta(minutes=10)
LOST: Final = "The worker that sent it was stopped: whether it arrived is not known. Send it again if it did not."
# What recovered longer ago, while no worker ran, is no news any more.
NEWS_FOR: Final = timedelta(days=2)
MOST_IN_ONE_QUERY = 500


def queue_messages(at: datetime, base: str | None) -> None:
    """Write down all that is to be told now. ``base``: the console's own address, for links. Commits."""
    for rule in db.session.scalars(
        select(AlertRule).where(AlertRule.on).order_by(AlertRule.id)
    ).all():
        sends = rule.sends.split()
        if NEW in sends:
            new = _not_noted(rule, _matching(rule, at - SETTLED))
            _write(
                rule,
                (
                    (key(cause, NEW), cause.id, alert_texts.of_new(rule, cause, base))
                    for cause in new
                ),
                at,
            )
        if RECOVERED in sends:
            over = _ended(rule, at)
            _write(
                rule,
                (
                    (key(cause, RECOVERED), cause.id, alert_texts.of_recovered(rule, cause, base))
                    for cause in over
                ),
                at,
            )
        if (
            DIGEST in sends
            and (day := digest_due(rule, at)) is not None
            and not _has(rule, f"digest/{day}")
        ):
            text = alert_texts.of_digest(rule, _matching(rule), _over_lately(rule, at), at, base)
            _write(rule, [(f"digest/{day}", None, text)], at)
        db.session.commit()


def mark_existing_as_sent(rule: AlertRule, at: datetime) -> None:
    """What is wrong already counts as told, and so does a digest whose minute is over today. Does not commit."""
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
    """Whether anything could be told at all."""
    return db.session.scalar(select(AlertRule.id).where(AlertRule.on).limit(1)) is not None


def key(cause: Cause, what: str) -> str:
    """What a message about this episode of a cause is known by."""
    return f"cause/{cause.id}/{cause.times}/{what}"


def rules_due(at: datetime) -> list[int]:
    """Ids of the rules that have something to send now, whose oldest is longest due first."""
    ready = select(AlertMessage.rule_id).where(*_is_ready(at)).group_by(AlertMessage.rule_id)
    return list(
        db.session.scalars(ready.order_by(func.min(AlertMessage.due_at), AlertMessage.rule_id))
    )


def due(rule_id: int, at: datetime, most: int = 100) -> list[int]:
    """Ids of a rule's messages that should be sent now, longest due first."""
    ready = select(AlertMessage.id).where(*_is_ready(at), AlertMessage.rule_id == rule_id)
    return list(
        db.session.scalars(ready.order_by(AlertMessage.due_at, AlertMessage.id).limit(most))
    )


def give_up_unknown(at: datetime) -> None:
    """What a killed worker had in hand may have arrived: it is not sent a second time, but shown as failed. Commits."""
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
    """The message, if it is due and nobody else sends it. ``by_hand``: due or given up, since somebody asks for it. Commits."""
    allowed = (
        AlertMessage.state.in_((WAITING, FAILED)) if by_hand else AlertMessage.state == WAITING
    )
    taking = update(AlertMessage).where(
        AlertMessage.id == message_id, allowed, AlertMessage.leased_until.is_(None)
    )
    if not by_hand:
        taking = taking.where(AlertMessage.due_at <= at)
    taking = taking.values(leased_until=at + LEASE).returning(AlertMessage.id)
    taken = db.session.execute(taking.execution_options(synchronize_session=False)).first()
    db.session.commit()
    return (
        db.session.get(AlertMessage, message_id, populate_existing=True)
        if taken is not None
        else None
    )


def is_to_be_sent(message: AlertMessage, rule: AlertRule, at: datetime, base: str | None) -> bool:
    """Whether what was written down still is to be told now; else it waits, or is dropped. Commits. The caller has the lease."""
    if not rule.on:
        _drop(message, "The rule was switched off before it was sent.")
    elif message.key.endswith(f"/{NEW}") and message.tries == 0 and not _still(message, rule, base):
        pass
    elif not message.key.startswith(f"{DIGEST}/") and (until := quiet_until(rule, at)) is not None:
        message.due_at, message.leased_until = until, None
    else:
        db.session.commit()
        return True
    db.session.commit()
    return False


def begin_test(rule: AlertRule, who: str, at: datetime, base: str | None) -> AlertMessage:
    """Write a test message down, in the caller's hands: it is tried once, now. Commits."""
    text = alert_texts.of_test(rule, who, at, base)
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


def settle(message_id: int, error: str | None, at: datetime) -> None:
    """How a try ended. What failed is tried again later, three times; a test and what was given up are not. Commits."""
    message = db.session.get(AlertMessage, message_id)
    if message is None:
        # Its rule was deleted while it was on its way.
        return
    message.tries += 1
    message.leased_until = message.due_at = None
    message.error = error or ""
    if error is None:
        message.state, message.sent_at = SENT, at
    elif (
        message.state == FAILED or message.key.startswith(f"{TEST}/") or message.tries > len(WAITS)
    ):
        message.state = FAILED
    else:
        message.due_at = at + WAITS[message.tries - 1]
    db.session.commit()


def _matching(rule: AlertRule, since: datetime | None = None) -> list[Cause]:
    """The causes that the rule is about, as they are now, worst first; ``since``: that have been there for so long."""
    wanted = select(Cause).where(Cause.state.in_((states.NEW, states.OPEN)), *_is_about(rule))
    if rule.account_id is not None:
        mine = select(Finding.cause_id).where(
            Finding.account_id == rule.account_id,
            Finding.recovered_at.is_(None),
            Finding.state != states.SUPPRESSED,
        )
        wanted = wanted.where(
            Cause.id.in_(mine.where(Finding.first_seen_at <= since) if since is not None else mine)
        )
    elif since is not None:
        wanted = wanted.where(Cause.since <= since)
    return list(
        db.session.scalars(wanted.order_by(Cause.severity_rank, Cause.accounts.desc(), Cause.id))
    )


def _is_about(rule: AlertRule) -> Iterable[ColumnElement[bool]]:
    yield Cause.severity_rank <= GRAVITIES.index(rule.severity)
    if rule.connector:
        # A cause that is no connector's own concerns each connector that has it.
        now = or_(Finding.recovered_at.is_(None), Cause.state == states.RECOVERED)
        connector = comparable(rule.connector)
        has_it = (
            select(Finding.id)
            .where(Finding.cause_id == Cause.id, Finding.connector_folded == connector, now)
            .exists()
        )
        yield or_(Cause.connector_folded == connector, and_(Cause.connector == "", has_it))


def _over_lately(rule: AlertRule, at: datetime) -> list[Cause]:
    """The causes that the rule is about and that recovered within a day."""
    lately = select(Cause).where(
        Cause.recovered_at > at - alert_texts.DAY, Cause.state == states.RECOVERED, *_is_about(rule)
    )
    if rule.account_id is not None:
        mine = select(Finding.cause_id).where(
            Finding.account_id == rule.account_id, Finding.recovered_at > at - alert_texts.DAY
        )
        lately = lately.where(Cause.id.in_(mine))
    return list(db.session.scalars(lately.order_by(Cause.severity_rank, Cause.id)))


def _ended(rule: AlertRule, at: datetime) -> list[Cause]:
    """The causes whose beginning this rule sent, and whose end it is to tell.

    Findings that came to lie behind another cause have not recovered: some must have.
    """
    told, end = aliased(AlertMessage), aliased(AlertMessage)
    this = literal("cause/") + cast(Cause.id, String) + "/" + cast(Cause.times, String)
    ended = (
        select(Cause)
        .join(told, (told.cause_id == Cause.id) & (told.key == this + f"/{NEW}"))
        .where(told.rule_id == rule.id, told.state == SENT)
        .where(
            ~select(end.id)
            .where(end.rule_id == rule.id, end.key == this + f"/{RECOVERED}")
            .exists()
        )
    )
    behind = select(Finding.id).where(Finding.cause_id == Cause.id)
    if rule.account_id is not None:
        behind = behind.where(Finding.account_id == rule.account_id)
        last = select(func.max(Finding.recovered_at)).where(
            Finding.cause_id == Cause.id, Finding.account_id == rule.account_id
        )
        ended = ended.where(
            ~behind.where(Finding.recovered_at.is_(None)).exists(),
            last.scalar_subquery().between(at - NEWS_FOR, at - SETTLED),
        )
    else:
        ended = ended.where(
            Cause.state == states.RECOVERED, Cause.recovered_at.between(at - NEWS_FOR, at - SETTLED)
        )
        ended = ended.where(behind.where(Finding.recovered_at >= Cause.since).exists())
    return list(db.session.scalars(ended.order_by(Cause.id)))


def _still(message: AlertMessage, rule: AlertRule, base: str | None) -> bool:
    """Whether the cause is still there to be told, with its numbers of now written in place."""
    cause = (
        db.session.get(Cause, message.cause_id, populate_existing=True)
        if message.cause_id is not None
        else None
    )
    if cause is None or cause.state == states.RECOVERED:
        return _drop(message, "It recovered before it was to be told.")
    if message.key != key(cause, NEW):
        return _drop(
            message, "It recovered and came again before it was to be told; that is told instead."
        )
    if cause.state == states.SUPPRESSED:
        # Told, if it is still there, when it is not suppressed any longer.
        db.session.delete(message)
        return False
    if rule.account_id is not None and cause.id not in {each.id for each in _matching(rule)}:
        return _drop(message, "The account recovered before it was to be told.")
    text = alert_texts.of_new(rule, cause, base)
    message.subject, message.body = text.subject, text.body
    return True


def _drop(message: AlertMessage, why: str) -> bool:
    message.state, message.due_at, message.leased_until, message.error = DROPPED, None, None, why
    return False


def _is_ready(at: datetime) -> Iterable[ColumnElement[bool]]:
    return (
        AlertMessage.state == WAITING,
        AlertMessage.due_at <= at,
        AlertMessage.leased_until.is_(None),
    )


def _not_noted(rule: AlertRule, causes: Sequence[Cause]) -> list[Cause]:
    noted: set[str] = set()
    for start in range(0, len(causes), MOST_IN_ONE_QUERY):
        keys = [key(cause, NEW) for cause in causes[start : start + MOST_IN_ONE_QUERY]]
        here = select(AlertMessage.key).where(
            AlertMessage.rule_id == rule.id, AlertMessage.key.in_(keys)
        )
        noted |= set(db.session.scalars(here))
    return [cause for cause in causes if key(cause, NEW) not in noted]


def _has(rule: AlertRule, key: str) -> bool:
    return (
        db.session.scalar(
            select(AlertMessage.id).where(AlertMessage.rule_id == rule.id, AlertMessage.key == key)
        )
        is not None
    )


def _write(
    rule: AlertRule,
    told: Iterable[tuple[str, int | None, AlertText]],
    at: datetime,
    state: str = WAITING,
) -> None:
    """Write down what is not yet. Does not commit."""
    rows: list[dict[str, Any]] = []
    for name, cause_id, text in told:
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
    upsert(AlertMessage, rows, keep=True)
