"""Evaluation: run the rules on changed accounts and store their findings.

Code that writes an account calls ``evaluate`` in the same transaction, so findings always match
the snapshot. A connection whose account cannot be read keeps its findings as ``unchecked``.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import bindparam, case, delete, insert, or_, select, update

from dashboard.core import row_access
from dashboard.core.database import change, change_many, db
from dashboard.core.search_text import with_folds
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.findings import causes, signals
from dashboard.findings.limits import NEW_FOR
from dashboard.findings.models import (
    NEW,
    OPEN,
    RECOVERED,
    STATES,
    SUPPRESSED,
    UNCHECKED,
    Cause,
    ConnectorMedian,
    Finding,
)
from dashboard.findings.rules.definitions import BY_NAME, FINDING_SEVERITIES, UNREADABLE
from dashboard.findings.run_rules import (
    AccountState,
    Evaluation,
    FindingKey,
    account_states,
    run_rules,
    thresholds,
)
from dashboard.fleet.models import Account, Connection

AT_ONCE = 200

_STORED = (
    Finding.id,
    Finding.account_id,
    Finding.connection_id,
    Finding.rule,
    Finding.cause_id,
    Finding.severity,
    Finding.evidence,
    Finding.contradicts,
    Finding.state,
    Finding.first_seen_at,
    Finding.confirmed_at,
    Finding.missing_since,
    Finding.suppressed_until,
    Cause.suppressed_until.label("cause_suppressed_until"),
)
_CHANGEABLE = (
    "evidence",
    "evidence_folded",
    "severity",
    "severity_rank",
    "contradicts",
    "missing_since",
    "cause_id",
    "state",
    "state_rank",
    "confirmed_at",
)


def evaluate(account_ids: Collection[int], at: datetime) -> None:
    """Run the rules on these accounts; store new, changed and recovered findings.

    Locks the snapshot until the caller commits. Does not commit.
    """
    if not account_ids:
        return
    lock_snapshot()
    pending = causes.PendingRecount()
    medians = _medians()
    ids = list(account_ids)
    for start in range(0, len(ids), AT_ONCE):
        _evaluate(ids[start : start + AT_ONCE], at, medians, pending)
    causes.update_counts(pending, at, thresholds().platform)


def evaluate_all(at: datetime) -> None:
    """Update the medians, then evaluate every account. Commits after every 200 accounts."""
    update_connector_medians()
    ids = list(db.session.scalars(select(Account.id).order_by(Account.id)))
    for start in range(0, len(ids), AT_ONCE):
        evaluate(ids[start : start + AT_ONCE], at)
        db.session.commit()
        db.session.expunge_all()
    causes.recount_all(at)
    db.session.commit()


def evaluate_after_refresh(at: datetime) -> None:
    """Update the medians after a complete refresh and evaluate long runs with them. Commits."""
    update_connector_medians()
    long_ago = at - timedelta(seconds=thresholds().stuck_seconds)
    running = select(Connection.account_id).where(
        Connection.running, Connection.last_run_at < long_ago
    )
    evaluate(set(db.session.scalars(running.where(Connection.gone_at.is_(None)))), at)
    db.session.commit()


def update_connector_medians() -> None:
    """Store the median seconds of a run for each connector. Commits."""
    seconds: dict[str, list[int]] = defaultdict(list)
    known = select(Connection.connector, Connection.last_run_seconds).where(
        Connection.last_run_seconds.is_not(None)
    )
    for connector, one in db.session.execute(known.execution_options(yield_per=AT_ONCE)):
        seconds[connector].append(one or 0)
    change(delete(ConnectorMedian))
    if seconds:
        rows = [
            {"connector": connector, "seconds": median(durations)}
            for connector, durations in seconds.items()
        ]
        db.session.execute(insert(ConnectorMedian), rows)
    db.session.commit()


def expire_states(at: datetime) -> None:
    """End states that depend on time: "new" after 24 hours, "suppressed" at its date. Commits."""
    with row_access.unrestricted():
        lock_snapshot()
        changed = 0
        for model, since in ((Finding, Finding.first_seen_at), (Cause, Cause.since)):
            expired = update(model).where(
                model.state == SUPPRESSED,
                or_(model.suppressed_until.is_(None), model.suppressed_until <= at),
            )
            if model is Finding:
                suppressed = select(Cause.id).where(Cause.suppressed_until > at)
                expired = expired.where(Finding.cause_id.not_in(suppressed))
            fresh = since > at - NEW_FOR
            changed += change(
                expired.values(
                    state=case((fresh, NEW), else_=OPEN),
                    state_rank=case((fresh, STATES.index(NEW)), else_=STATES.index(OPEN)),
                )
            )
            older = update(model).where(model.state == NEW, since <= at - NEW_FOR)
            changed += change(older.values(state=OPEN, state_rank=STATES.index(OPEN)))
        # Without changes, a rollback keeps the snapshot version and with it the cached counts.
        db.session.commit() if changed else db.session.rollback()


def _evaluate(
    ids: list[int],
    at: datetime,
    medians: Mapping[str, float] | None,
    pending: causes.PendingRecount,
) -> None:
    accounts = account_states(ids)
    stored = _stored_findings(ids)
    current = dict(run_rules(ids, accounts, at, medians))
    # A finding without an error text keeps its cause: this may be a platform cause.
    key_of = {
        key: _cause_key(key, current[key])
        for key in current
        if key not in stored or current[key].found.text
    }
    created = causes.find_or_create({key_of[key]: _seed(current[key]) for key in key_of}, at)
    cause_of = {key: created[cause_key] for key, cause_key in key_of.items()}
    _insert({key: current[key] for key in current if key not in stored}, cause_of, at, pending)
    changed: list[dict[str, Any]] = []
    recovered: list[Any] = []
    for key, row in stored.items():
        if key in current:
            values = _changed_values(row, current[key], cause_of.get(key), at)
            if values is not None:
                changed.append(values)
                pending.cause_ids |= {row.cause_id, values["cause_id"]}
        elif _is_unchecked(row, accounts[row.account_id]):
            until = (row.suppressed_until, row.cause_suppressed_until)
            state = _state(row.first_seen_at, until, True, at)
            if state != row.state:
                changed.append(_values(row, state=state))
        else:
            recovered.append(row)
    _update(changed, recovered, at, pending)
    signals.recovered.send(
        connections={(row.account_id, row.connection_id) for row in recovered}, at=at
    )


def _stored_findings(ids: list[int]) -> dict[FindingKey, Any]:
    query = select(*_STORED).join(Cause, Cause.id == Finding.cause_id)
    rows = db.session.execute(
        query.where(Finding.account_id.in_(ids), Finding.recovered_at.is_(None))
    )
    return {(row.account_id, row.connection_id, row.rule): row for row in rows}


def _is_unchecked(row: Any, account: AccountState) -> bool:
    return bool(account.unreadable) and not account.is_removed and row.rule != UNREADABLE.name


def _changed_values(
    row: Any, evaluation: Evaluation, cause: causes.ExistingCause | None, at: datetime
) -> dict[str, Any] | None:
    """Return the values to store for a finding; None when nothing changed.

    ``cause``: its cause by the present error text; None when the finding keeps its cause.
    """
    now = evaluation.found
    cause_id = row.cause_id if cause is None else cause.id
    cause_until = row.cause_suppressed_until if cause is None else cause.suppressed_until
    state = _state(row.first_seen_at, (row.suppressed_until, cause_until), False, at)
    before = (row.evidence, row.severity, row.contradicts, row.state, row.cause_id)
    if before == (now.evidence, now.severity, now.contradicts, state, cause_id):
        return None
    return _values(
        row,
        state=state,
        cause_id=cause_id,
        missing_since=now.since,
        evidence=now.evidence,
        severity=now.severity,
        contradicts=now.contradicts,
        confirmed_at=at,
    )


def _medians() -> dict[str, float] | None:
    """Return median seconds of a run by connector.

    None before the first complete refresh: without a usual duration no run is called stuck.
    """
    found = dict(
        db.session.execute(select(ConnectorMedian.connector, ConnectorMedian.seconds)).all()
    )
    return found or None


def _cause_key(key: FindingKey, evaluation: Evaluation) -> causes.Key:
    rule = key[2]
    connector = evaluation.connector if BY_NAME[rule].by_connector else ""
    return causes.Key(rule, connector, causes.error_key(evaluation.found.text))


def _seed(evaluation: Evaluation) -> causes.Seed:
    found = evaluation.found
    return causes.Seed(found.severity, found.text or found.evidence)


def _state(
    first_seen_at: datetime,
    until: tuple[datetime | None, datetime | None],
    unchecked: bool,
    at: datetime,
) -> str:
    """Return a finding's state. ``until``: when its own and its cause's suppression end."""
    if any(each is not None and each > at for each in until):
        return SUPPRESSED
    if unchecked:
        return UNCHECKED
    return NEW if at - first_seen_at < NEW_FOR else OPEN


def _values(row: Any, **changes: Any) -> dict[str, Any]:
    stored = {
        "evidence": row.evidence,
        "severity": row.severity,
        "contradicts": row.contradicts,
        "missing_since": row.missing_since,
        "cause_id": row.cause_id,
        "confirmed_at": row.confirmed_at,
    }
    values: dict[str, Any] = {"which": row.id, **with_folds(Finding, {**stored, **changes})}
    return {
        **values,
        "severity_rank": FINDING_SEVERITIES.index(values["severity"]),
        "state_rank": STATES.index(values["state"]),
    }


def _insert(
    new: Mapping[FindingKey, Evaluation],
    cause_of: Mapping[FindingKey, causes.ExistingCause],
    at: datetime,
    pending: causes.PendingRecount,
) -> None:
    rows = []
    for (account_id, connection_id, rule), (found, connector) in new.items():
        cause = cause_of[account_id, connection_id, rule]
        state = _state(at, (None, cause.suppressed_until), False, at)
        rows.append(
            {
                "account_id": account_id,
                "connection_id": connection_id,
                "rule": rule,
                "connector": connector,
                "cause_id": cause.id,
                "severity": found.severity,
                "severity_rank": FINDING_SEVERITIES.index(found.severity),
                "state": state,
                "state_rank": STATES.index(state),
                "evidence": found.evidence,
                "contradicts": found.contradicts,
                "missing_since": found.since,
                "first_seen_at": at,
                "confirmed_at": at,
            }
        )
        pending.cause_ids.add(cause.id)
        if rule == causes.DARK and found.since is not None:
            pending.dark_hours.add((connector, found.since))
    if rows:
        db.session.execute(insert(Finding), rows)


def _update(
    changed: list[dict[str, Any]],
    recovered: list[Any],
    at: datetime,
    pending: causes.PendingRecount,
) -> None:
    for values in changed:
        values.update({f"to_{name}": values.pop(name) for name in _CHANGEABLE})
    to: dict[str, Any] = {name: bindparam(f"to_{name}") for name in _CHANGEABLE}
    change_many(update(Finding).where(Finding.id == bindparam("which")).values(to), changed)
    recovery = {"state": RECOVERED, "state_rank": STATES.index(RECOVERED), "recovered_at": at}
    for start in range(0, len(recovered), 500):
        change(
            update(Finding)
            .where(Finding.id.in_([row.id for row in recovered[start : start + 500]]))
            .values(recovery)
        )
    for row in recovered:
        pending.cause_ids.add(row.cause_id)
