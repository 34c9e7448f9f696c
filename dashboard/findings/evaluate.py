"""Findings: the rules asked of accounts that changed, and the answers kept as rows, from first seen to recovered.

``evaluate`` is called by whoever wrote news of an account, in the same transaction, so findings are never behind the snapshot.
A connection whose account cannot be read keeps its findings; they are ``unchecked``.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from flask import current_app
from sqlalchemy import bindparam, case, delete, func, insert, or_, select, update

from dashboard.core import row_access
from dashboard.core.database import change, change_many, db
from dashboard.core.search_text import with_folds
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.core.text import clean, comparable
from dashboard.findings import causes, signals
from dashboard.findings.models import (
    NEW,
    OPEN,
    RECOVERED,
    STATES,
    SUPPRESSED,
    UNCHECKED,
    Cause,
    ConnectorMedian,
    DataCheck,
    Finding,
)
from dashboard.findings.rules.facts import (
    Around,
    CheckedData,
    Drop,
    Facts,
    TableFigures,
    Thresholds,
)
from dashboard.findings.rules.registry import (
    BY_NAME,
    GRAVITIES,
    UNREADABLE,
    RuleResult,
    diagnose,
    may_be_unwell,
)
from dashboard.findings.rules.siblings import same_name, was_recreated
from dashboard.fleet.models import Account, AccountRefreshState, Connection, MonitoredTable, Run
from dashboard.peliqan.statuses import RUNNING_WORDS, Severity

# So long a finding, or a cause, is new.
NEW_FOR = timedelta(hours=24)
AT_ONCE = 200
# So long a loss of rows is news; then it is what the table has.
DROP_LASTS = timedelta(days=7)
# So long what the warehouse counted is evidence.
DATA_LASTS = timedelta(days=7)


def _of_previous_run(column: Any) -> Any:
    """While a run is under way: a column of the latest run before it that ended."""
    ended = func.upper(func.trim(Run.status)).not_in(RUNNING_WORDS)
    mine = (Run.account_id == Connection.account_id, Run.connection_id == Connection.id)
    latest = (
        select(column)
        .where(*mine, ended)
        .order_by(Run.id.desc())
        .limit(1)
        .correlate(Connection)
        .scalar_subquery()
    )
    return case((Connection.running, latest))


# In the order of ``Facts``.
_FACTS = (
    Connection.account_id, Connection.id, Connection.name, Connection.connector, Connection.status, Connection.severity,
    Connection.status_since, Connection.run_interval, Connection.scheduler_off, Connection.running, Connection.last_run_status,
    Connection.last_run_at, Connection.last_success_at, Connection.last_error, Connection.last_records, Connection.last_exit_code,
    Connection.always_loaded, Connection.runs_read_at, Connection.target_id, Connection.is_target, Connection.first_seen_at,
    Connection.consent_expires_at, Connection.newest_row_at, Connection.rows_read_at,
    _of_previous_run(Run.status), _of_previous_run(func.coalesce(Run.started_at, Run.ended_at)),
)  # fmt: skip
_KEPT = (
    Finding.id, Finding.account_id, Finding.connection_id, Finding.rule, Finding.cause_id, Finding.severity, Finding.evidence,
    Finding.contradicts, Finding.state, Finding.first_seen_at, Finding.confirmed_at, Finding.missing_since,
    Finding.suppressed_until, Cause.suppressed_until.label("cause_suppressed_until"),
)  # fmt: skip
Place = tuple[int, int | None, str]


class Evaluation(NamedTuple):
    """What a rule says now, with the connector it says it of."""

    found: RuleResult
    connector: str


@dataclass(frozen=True)
class _Account:
    """Why it cannot be read, if so; whether it is gone; whether all its connections were ever listed."""

    unreadable: str | None
    gone: bool
    listed: bool


def thresholds() -> Thresholds:
    """Those of the settings."""
    found: Thresholds = current_app.extensions["thresholds"]
    return found


def evaluate(account_ids: Collection[int], at: datetime) -> None:
    """Ask the rules of these accounts' connections; write down what is new, what changed and what recovered. Does not commit."""
    if not account_ids:
        return
    lock_snapshot()
    tally = causes.Tally()
    medians = _medians()
    ids = list(account_ids)
    for start in range(0, len(ids), AT_ONCE):
        _evaluate(ids[start : start + AT_ONCE], at, medians, tally)
    causes.settle(tally, at, thresholds().platform)


def evaluate_all(at: datetime) -> None:
    """The same for every account, with medians worked out anew. Commits after every two hundred accounts."""
    update_connector_medians()
    ids = list(db.session.scalars(select(Account.id).order_by(Account.id)))
    for start in range(0, len(ids), AT_ONCE):
        evaluate(ids[start : start + AT_ONCE], at)
        db.session.commit()
        db.session.expunge_all()
    causes.recount(at)
    db.session.commit()


def evaluate_after_refresh(at: datetime) -> None:
    """What a complete pass makes known: how long runs usually take, and so which are stuck. Commits."""
    update_connector_medians()
    long_ago = at - timedelta(seconds=thresholds().stuck_seconds)
    running = select(Connection.account_id).where(
        Connection.running, Connection.last_run_at < long_ago
    )
    evaluate(set(db.session.scalars(running.where(Connection.gone_at.is_(None)))), at)
    db.session.commit()


def update_connector_medians() -> None:
    """How long runs of each connector usually take. Commits."""
    seconds: dict[str, list[int]] = defaultdict(list)
    known = select(Connection.connector, Connection.last_run_seconds).where(
        Connection.last_run_seconds.is_not(None)
    )
    for connector, one in db.session.execute(known.execution_options(yield_per=AT_ONCE)):
        seconds[connector].append(one or 0)
    change(delete(ConnectorMedian))
    if seconds:
        rows = [
            {"connector": connector, "seconds": median(all_of)}
            for connector, all_of in seconds.items()
        ]
        db.session.execute(insert(ConnectorMedian), rows)
    db.session.commit()


def expire_states(at: datetime) -> None:
    """What time alone changes: the new become old, and nobody wants to be spared any longer. Commits."""
    with row_access.unrestricted():
        lock_snapshot()
        changed = 0
        for model, since in ((Finding, Finding.first_seen_at), (Cause, Cause.since)):
            over = update(model).where(
                model.state == SUPPRESSED,
                or_(model.suppressed_until.is_(None), model.suppressed_until <= at),
            )
            if model is Finding:
                awake = select(Cause.id).where(Cause.suppressed_until > at)
                over = over.where(Finding.cause_id.not_in(awake))
            fresh = since > at - NEW_FOR
            changed += change(
                over.values(
                    state=case((fresh, NEW), else_=OPEN),
                    state_rank=case((fresh, STATES.index(NEW)), else_=1),
                )
            )
            older = update(model).where(model.state == NEW, since <= at - NEW_FOR)
            changed += change(older.values(state=OPEN, state_rank=STATES.index(OPEN)))
        # Where nothing changed, what was counted stays true.
        db.session.commit() if changed else db.session.rollback()


def _evaluate(
    ids: list[int], at: datetime, medians: Mapping[str, float] | None, tally: causes.Tally
) -> None:
    accounts = {
        id: _Account(unreadable, gone_at is not None, checked_at is not None)
        for id, unreadable, gone_at, checked_at in db.session.execute(
            select(
                Account.id,
                Account.unreadable_reason,
                Account.gone_at,
                AccountRefreshState.checked_at,
            )
            .outerjoin(AccountRefreshState, AccountRefreshState.account_id == Account.id)
            .where(Account.id.in_(ids))
        )
    }
    known: dict[Place, Any] = {}
    kept = select(*_KEPT).join(Cause, Cause.id == Finding.cause_id)
    for row in db.session.execute(
        kept.where(Finding.account_id.in_(ids), Finding.recovered_at.is_(None))
    ):
        known[row.account_id, row.connection_id, row.rule] = row
    said = dict(_ask(ids, accounts, at, medians))
    new = [place for place in said if place not in known]
    # Where there is no error to tell causes apart by, a finding stays with the cause it has: it may be its hour's.
    key_of = {
        place: _key(place, said[place])
        for place in said
        if place not in known or said[place].found.text
    }
    made = causes.find_or_make({key: _seed(said[place]) for place, key in key_of.items()}, at)
    cause_of = {place: made[key] for place, key in key_of.items()}
    _add({place: said[place] for place in new}, cause_of, at, tally)
    changed: list[dict[str, Any]] = []
    gone: list[Any] = []
    for place, row in known.items():
        account = accounts[row.account_id]
        if (
            place not in said
            and account.unreadable
            and not account.gone
            and row.rule != UNREADABLE.name
        ):
            state = _state(
                row.first_seen_at, (row.suppressed_until, row.cause_suppressed_until), True, at
            )
            if state != row.state:
                changed.append(_values(row, state=state))
        elif place not in said:
            gone.append(row)
        else:
            now = said[place].found
            cause_id = cause_of[place].id if place in cause_of else row.cause_id
            cause_until = (
                cause_of[place].suppressed_until
                if place in cause_of
                else row.cause_suppressed_until
            )
            state = _state(row.first_seen_at, (row.suppressed_until, cause_until), False, at)
            before = (row.evidence, row.severity, row.contradicts, row.state, row.cause_id)
            if before != (now.evidence, now.gravity, now.contradicts, state, cause_id):
                fresh = {
                    "evidence": now.evidence,
                    "severity": now.gravity,
                    "contradicts": now.contradicts,
                    "confirmed_at": at,
                }
                changed.append(
                    _values(row, state=state, cause_id=cause_id, missing_since=now.since, **fresh)
                )
                tally.touched |= {row.cause_id, cause_id}
    _write(changed, gone, at, tally)
    signals.recovered.send(connections={(row.account_id, row.connection_id) for row in gone}, at=at)


def _ask(
    ids: list[int],
    accounts: Mapping[int, _Account],
    at: datetime,
    medians: Mapping[str, float] | None,
) -> Iterator[tuple[Place, Evaluation]]:
    """What the rules say of these accounts, by account, connection and rule."""
    by_account: dict[int, list[Facts]] = defaultdict(list)
    warehouses: dict[int, set[int]] = defaultdict(set)
    rows = select(*_FACTS, Connection.is_warehouse).where(
        Connection.account_id.in_(ids), Connection.gone_at.is_(None)
    )
    for row in db.session.execute(rows):
        if row[-1]:
            warehouses[row[0]].add(row[1])
        else:
            by_account[row[0]].append(Facts._make(row[:-1]))
    drops, data, runs = _drops(ids, at), _data(ids, at), _known_runs(by_account)
    limits = thresholds()
    for account_id, account in accounts.items():
        if account.gone:
            continue
        if account.unreadable:
            sentence = f"Its connections cannot be read: {account.unreadable}"
            yield (
                (account_id, None, UNREADABLE.name),
                Evaluation(
                    RuleResult(UNREADABLE.name, UNREADABLE.gravity, sentence, account.unreadable),
                    "",
                ),
            )
            continue
        mine = by_account[account_id]
        siblings, twins = (
            warehouses[account_id] | {facts.id for facts in mine},
            same_name(mine, comparable),
        )
        unused: dict[int, int] = {}
        if account.listed:
            unused = _unused_targets(mine)
        else:
            # A target that is not known has only not been listed yet.
            siblings |= {facts.target_id for facts in mine if facts.target_id is not None}
        anew = was_recreated(mine, runs[account_id])
        around = Around(
            at, limits, medians, siblings, twins, drops[account_id], unused, data[account_id], anew
        )
        for facts in mine:
            is_whole = facts.target_id is None or facts.target_id in siblings
            is_alone = all(
                facts.id not in each for each in (unused, twins, around.drops, around.data, anew)
            )
            if is_whole and is_alone and (facts.is_target or not may_be_unwell(facts)):
                continue
            for found in diagnose(facts, around):
                yield (account_id, facts.id, found.rule), Evaluation(found, facts.connector)


def _drops(ids: list[int], at: datetime) -> Mapping[int, Mapping[int, list[Drop]]]:
    """Tables that lost rows, by account and connection: as long as that is news."""
    found: dict[int, dict[int, list[Drop]]] = defaultdict(lambda: defaultdict(list))
    lost = select(MonitoredTable).where(
        MonitoredTable.account_id.in_(ids), MonitoredTable.dropped_at > at - DROP_LASTS
    )
    for row in db.session.scalars(lost):
        if (
            row.connection_id is not None
            and row.rows_before is not None
            and row.before_at is not None
        ):
            drop = Drop(row.name, row.rows, row.rows_at, row.rows_before, row.before_at)
            found[row.account_id][row.connection_id].append(drop)
    return found


def _data(ids: list[int], at: datetime) -> Mapping[int, Mapping[int, CheckedData]]:
    """What the warehouse counted of connections' tables, by account and connection: figures older than a week do not count."""
    found: dict[int, dict[int, CheckedData]] = defaultdict(dict)
    recent = select(DataCheck).where(
        DataCheck.account_id.in_(ids), DataCheck.checked_at > at - DATA_LASTS
    )
    for row in db.session.scalars(recent):
        tables = []
        for each in row.tables:
            name, key, received_at = (
                clean(each["name"]),
                clean(each["key"]),
                _time(each["received_at"]),
            )
            tables.append(
                TableFigures(name, each["rows"], key, each["keys"], each["versions"], received_at)
            )
        found[row.account_id][row.connection_id] = CheckedData(row.checked_at, tables)
    return found


def _known_runs(by_account: Mapping[int, list[Facts]]) -> Mapping[int, Mapping[int, int]]:
    """How many runs are known of each connection, by account: only of accounts where a connection has no success."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    ids = [
        account_id
        for account_id, mine in by_account.items()
        if any(facts.success_at is None for facts in mine)
    ]
    if ids:
        counted = select(Run.account_id, Run.connection_id, func.count()).where(
            Run.account_id.in_(ids)
        )
        for account_id, connection_id, count in db.session.execute(
            counted.group_by(Run.account_id, Run.connection_id)
        ):
            found[account_id][connection_id] = count
    return found


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _unused_targets(mine: list[Facts]) -> dict[int, int]:
    """Targets that no source of their account loads into, with the number of sources that load elsewhere.

    None where no source names a target: then the account is new, or the API does not say where sources load to. One that is
    switched off is meant to be unused, and the default warehouse is not among ``mine``.
    """
    elsewhere = [
        facts.target_id for facts in mine if not facts.is_target and facts.target_id is not None
    ]
    used = {facts.target_id for facts in mine}
    targets = (facts for facts in mine if facts.is_target and facts.severity != Severity.OFF)
    return {facts.id: len(elsewhere) for facts in targets if elsewhere and facts.id not in used}


def _medians() -> dict[str, float] | None:
    """None before the first pass is complete: nothing is called stuck before it is known what is usual."""
    found = dict(
        db.session.execute(select(ConnectorMedian.connector, ConnectorMedian.seconds)).all()
    )
    return found or None


def _key(place: Place, said: Evaluation) -> causes.Key:
    connector = said.connector if BY_NAME[place[2]].by_connector else ""
    return causes.Key(place[2], connector, causes.text_of(said.found.text))


def _seed(said: Evaluation) -> causes.Seed:
    return causes.Seed(said.found.gravity, said.found.text or said.found.evidence)


def _state(
    first_seen_at: datetime,
    until: tuple[datetime | None, datetime | None],
    unchecked: bool,
    at: datetime,
) -> str:
    if any(each is not None and each > at for each in until):
        return SUPPRESSED
    if unchecked:
        return UNCHECKED
    return NEW if at - first_seen_at < NEW_FOR else OPEN


def _values(row: Any, **changes: Any) -> dict[str, Any]:
    kept = {
        "evidence": row.evidence,
        "severity": row.severity,
        "contradicts": row.contradicts,
        "missing_since": row.missing_since,
        "cause_id": row.cause_id,
        "confirmed_at": row.confirmed_at,
    }
    values: dict[str, Any] = {"which": row.id, **with_folds(Finding, {**kept, **changes})}
    return {
        **values,
        "severity_rank": GRAVITIES.index(values["severity"]),
        "state_rank": STATES.index(values["state"]),
    }


def _add(
    new: Mapping[Place, Evaluation],
    cause_of: Mapping[Place, causes.ExistingCause],
    at: datetime,
    tally: causes.Tally,
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
                "severity": found.gravity,
                "severity_rank": GRAVITIES.index(found.gravity),
                "state": state,
                "state_rank": STATES.index(state),
                "evidence": found.evidence,
                "contradicts": found.contradicts,
                "missing_since": found.since,
                "first_seen_at": at,
                "confirmed_at": at,
            }
        )
        tally.touched.add(cause.id)
        if rule == causes.DARK and found.since is not None:
            tally.dark.add((connector, found.since))
    if rows:
        db.session.execute(insert(Finding), rows)


def _write(
    changed: list[dict[str, Any]], gone: list[Any], at: datetime, tally: causes.Tally
) -> None:
    names = (
        "evidence", "evidence_folded", "severity", "severity_rank", "contradicts", "missing_since", "cause_id", "state",
        "state_rank", "confirmed_at",
    )  # fmt: skip
    for values in changed:
        values.update({f"to_{name}": values.pop(name) for name in names})
    to: dict[str, Any] = {name: bindparam(f"to_{name}") for name in names}
    change_many(update(Finding).where(Finding.id == bindparam("which")).values(to), changed)
    over = {"state": RECOVERED, "state_rank": STATES.index(RECOVERED), "recovered_at": at}
    for start in range(0, len(gone), 500):
        change(
            update(Finding)
            .where(Finding.id.in_([row.id for row in gone[start : start + 500]]))
            .values(over)
        )
    for row in gone:
        tally.touched.add(row.cause_id)
