"""Run the rules on accounts: read the facts from the database and yield what the rules find."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from flask import current_app
from sqlalchemy import case, func, select

from dashboard.core.database import db
from dashboard.core.text import clean, comparable
from dashboard.findings.limits import DATA_LASTS, DROP_LASTS
from dashboard.findings.models import DataCheck
from dashboard.findings.rules.definitions import UNREADABLE, RuleResult, diagnose, may_be_unwell
from dashboard.findings.rules.duplicates import find_recreated, find_same_name
from dashboard.findings.rules.facts import (
    CheckedData,
    Drop,
    Facts,
    RuleContext,
    TableFigures,
    Thresholds,
)
from dashboard.fleet.models import Account, AccountRefreshState, Connection, MonitoredTable, Run
from dashboard.peliqan.statuses import RUNNING_WORDS, Severity

# Account id, connection id (None: the account itself) and rule.
FindingKey = tuple[int, int | None, str]


class Evaluation(NamedTuple):
    """What a rule finds, with the connector of the connection."""

    found: RuleResult
    connector: str


@dataclass(frozen=True)
class AccountState:
    """State of an account. ``unreadable``: reason or None; ``listed``: completely, once."""

    unreadable: str | None
    is_removed: bool
    listed: bool


def thresholds() -> Thresholds:
    """Return the thresholds of the settings."""
    found: Thresholds = current_app.extensions["thresholds"]
    return found


def account_states(ids: list[int]) -> dict[int, AccountState]:
    """Return the states of these accounts by id; unknown ids are left out."""
    query = (
        select(
            Account.id, Account.unreadable_reason, Account.gone_at, AccountRefreshState.checked_at
        )
        .outerjoin(AccountRefreshState, AccountRefreshState.account_id == Account.id)
        .where(Account.id.in_(ids))
    )
    return {
        id: AccountState(unreadable, gone_at is not None, checked_at is not None)
        for id, unreadable, gone_at, checked_at in db.session.execute(query)
    }


def run_rules(
    ids: list[int],
    accounts: Mapping[int, AccountState],
    at: datetime,
    medians: Mapping[str, float] | None,
) -> Iterator[tuple[FindingKey, Evaluation]]:
    """Yield what the rules find in these accounts. Removed accounts have no findings.

    ``medians``: usual seconds of a run by connector; None before any is known.
    """
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
        if account.is_removed:
            continue
        if account.unreadable:
            yield (account_id, None, UNREADABLE.name), _unreadable(account.unreadable)
            continue
        mine = by_account[account_id]
        siblings = warehouses[account_id] | {facts.id for facts in mine}
        if not account.listed:
            # Before the first complete listing an unknown target may exist.
            siblings |= {facts.target_id for facts in mine if facts.target_id is not None}
        context = RuleContext(
            at=at,
            thresholds=limits,
            medians=medians,
            siblings=siblings,
            same_name=find_same_name(mine, comparable),
            drops=drops[account_id],
            unused_targets=_unused_targets(mine) if account.listed else {},
            data=data[account_id],
            recreated=find_recreated(mine, runs[account_id]),
        )
        yield from _run_on_connections(account_id, mine, context)


def _run_on_connections(
    account_id: int, mine: list[Facts], context: RuleContext
) -> Iterator[tuple[FindingKey, Evaluation]]:
    by_connection = (
        context.unused_targets,
        context.same_name,
        context.drops,
        context.data,
        context.recreated,
    )
    for facts in mine:
        has_target = facts.target_id is None or facts.target_id in context.siblings
        has_no_context = all(facts.id not in each for each in by_connection)
        if has_target and has_no_context and (facts.is_target or not may_be_unwell(facts)):
            continue
        for found in diagnose(facts, context):
            yield (account_id, facts.id, found.rule), Evaluation(found, facts.connector)


def _unreadable(reason: str) -> Evaluation:
    sentence = f"Its connections cannot be read: {reason}"
    return Evaluation(RuleResult(UNREADABLE.name, UNREADABLE.severity, sentence, reason), "")


def _of_previous_run(column: Any) -> Any:
    """Return SQL: a column of the latest ended run if a run is under way, else NULL."""
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


# The order is that of the fields of ``Facts``.
_FACTS = (
    Connection.account_id,
    Connection.id,
    Connection.name,
    Connection.connector,
    Connection.status,
    Connection.severity,
    Connection.status_since,
    Connection.run_interval,
    Connection.scheduler_off,
    Connection.running,
    Connection.last_run_status,
    Connection.last_run_at,
    Connection.last_success_at,
    Connection.last_error,
    Connection.last_records,
    Connection.last_exit_code,
    Connection.always_loaded,
    Connection.runs_read_at,
    Connection.target_id,
    Connection.is_target,
    Connection.first_seen_at,
    Connection.consent_expires_at,
    Connection.newest_row_at,
    Connection.rows_read_at,
    _of_previous_run(Run.status),
    _of_previous_run(func.coalesce(Run.started_at, Run.ended_at)),
)


def _drops(ids: list[int], at: datetime) -> Mapping[int, Mapping[int, list[Drop]]]:
    """Return tables that lost rows in the last ``DROP_LASTS``, by account and connection."""
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
    """Return the warehouse's counts of the last ``DATA_LASTS``, by account and connection."""
    found: dict[int, dict[int, CheckedData]] = defaultdict(dict)
    recent = select(DataCheck).where(
        DataCheck.account_id.in_(ids), DataCheck.checked_at > at - DATA_LASTS
    )
    for row in db.session.scalars(recent):
        tables = [
            TableFigures(
                name=clean(each["name"]),
                rows=each["rows"],
                key=clean(each["key"]),
                keys=each["keys"],
                versions=each["versions"],
                received_at=_time(each["received_at"]),
            )
            for each in row.tables
        ]
        found[row.account_id][row.connection_id] = CheckedData(row.checked_at, tables)
    return found


def _known_runs(by_account: Mapping[int, list[Facts]]) -> Mapping[int, Mapping[int, int]]:
    """Return the number of stored runs by account and connection.

    Reads only accounts with a connection that has no success: only for these is it used.
    """
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
    """Return targets without sources, with the number of sources that load elsewhere.

    Empty when no source names a target: the account is new, or the API names no targets.
    Disabled targets and the default warehouse (not in ``mine``) are left out.
    """
    elsewhere = [
        facts.target_id for facts in mine if not facts.is_target and facts.target_id is not None
    ]
    used = {facts.target_id for facts in mine}
    targets = (facts for facts in mine if facts.is_target and facts.severity != Severity.OFF)
    return {facts.id: len(elsewhere) for facts in targets if elsewhere and facts.id not in used}
