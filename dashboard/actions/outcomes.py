"""Outcomes of actions: whether they helped, and success rates.

``actions.service.complete`` calls ``record_outcome`` once for each action. Some actions help later:
a reauthorised connection often recovers with its next run. So the newest action of a connection is
assessed again (``on_recovered``) when a finding recovers soon after it: within one interval of the
connection plus 30 minutes for the run and its read, at most 24 hours. Earlier actions get no
credit.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from dashboard.actions.limits import OUTCOME_GRACE, OUTCOME_WITHIN
from dashboard.actions.models import Action
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.findings.rules.definitions import FINDING_SEVERITIES, PARTIAL, WITHOUT_SUCCESS
from dashboard.fleet.models import Connection
from dashboard.peliqan.statuses import RunOutcome, Severity, outcome_of_run, severity_of_health

WORKED, NO_EFFECT, WORSE = "worked", "no_effect", "worse"
VERDICTS = (WORKED, NO_EFFECT, WORSE)
DONE, SUPERSEDED = "done", "superseded"
# Peliqan's health statuses that are worse than all others.
_HOW_BAD = {Severity.ERROR.value: 2, Severity.ATTENTION.value: 1}


@dataclass(frozen=True)
class ActionStats:
    """Outcomes of one kind of action, for one connector and one finding."""

    kind: str
    worked: int = 0
    no_effect: int = 0
    worse: int = 0

    @property
    def total(self) -> int:
        """Number of assessed actions."""
        return self.worked + self.no_effect + self.worse


def record_outcome(action: Action) -> None:
    """Set ``status_after`` and ``verdict`` of an ended action. Does not commit.

    ``worked``: the worst finding at the start is gone and no equally severe one replaced it; if
    there was none, the connection is healthy. After findings without a success, a partial run is no
    new fault. ``worse``: a more severe finding, or a worse health status at Peliqan.
    ``no_effect``: everything else, also a failure. A superseded link is not assessed, since the
    customer may still use it.
    """
    connection = db.session.get(Connection, (action.account_id, action.connection_id))
    if connection is None or action.state == SUPERSEDED:
        return
    action.status_after = connection.status
    action.verdict = _verdict(action, connection)


def on_recovered(
    _sender: object, *, connections: Collection[tuple[int, int | None]], at: datetime
) -> None:
    """Assess the newest action of each connection whose findings have just recovered.

    Only actions that are ``done``, recent enough and not ``worked`` already. Does not commit.
    Receives ``findings.signals.recovered``.
    """
    named = {each for each in connections if each[1] is not None}
    if not named:
        return
    accounts = {account_id for account_id, _ in named}
    recent = select(Action).where(
        Action.account_id.in_(accounts), Action.started_at > at - 3 * OUTCOME_WITHIN
    )
    newest: dict[tuple[int, int], Action] = {}
    for action in db.session.scalars(recent.order_by(Action.id)):
        newest[action.account_id, action.connection_id] = action
    for key, action in newest.items():
        if (
            key not in named
            or action.settled_at is None
            or action.state != DONE
            or action.verdict == WORKED
        ):
            continue
        connection = db.session.get(Connection, key)
        if connection is not None and at - action.settled_at <= _time_to_help(connection):
            record_outcome(action)


def success_rates(rule: str, connector: str) -> dict[str, ActionStats]:
    """Return the outcomes of past actions for a finding, by kind; the most successful first.

    An empty ``connector`` stands for all connectors: faults of Peliqan itself have none.
    """
    matching = [Action.rule == rule, Action.verdict.in_(VERDICTS)]
    if connector:
        matching.append(Action.connector == connector)
    counting = (
        select(Action.kind, Action.verdict, func.count())
        .where(*matching)
        .group_by(Action.kind, Action.verdict)
    )
    counts: dict[str, dict[str, int]] = {}
    for kind, verdict, count in db.session.execute(counting):
        counts.setdefault(kind, {})[str(verdict)] = count
    found = [ActionStats(kind, **by_verdict) for kind, by_verdict in counts.items()]
    found.sort(key=lambda each: (-each.worked / each.total, -each.total, each.kind))
    return {each.kind: each for each in found}


def _verdict(action: Action, connection: Connection) -> str:
    open_now = select(Finding.rule, Finding.severity_rank, Finding.first_seen_at).where(
        Finding.account_id == action.account_id,
        Finding.connection_id == action.connection_id,
        Finding.recovered_at.is_(None),
    )
    loads_again = action.rule in WITHOUT_SUCCESS
    findings = [
        row for row in db.session.execute(open_now) if not (loads_again and row.rule == PARTIAL)
    ]
    nothing = len(FINDING_SEVERITIES)
    before = FINDING_SEVERITIES.index(action.severity_before) if action.severity_before else nothing
    now = min((rank for _, rank, _ in findings), default=nothing)
    is_worse = now < min(before, FINDING_SEVERITIES.index("info"))
    health_fell = _HOW_BAD.get(connection.severity, 0) > _HOW_BAD.get(
        severity_of_health(action.status_before), 0
    )
    health_fell = health_fell and not (
        loads_again and outcome_of_run(connection.status) is RunOutcome.PARTIAL
    )
    # A refused request or an unused link changes nothing, so it is not blamed.
    if (is_worse or health_fell) and (action.state == DONE or action.run_id is not None):
        return WORSE
    if action.state != DONE:
        return NO_EFFECT
    if action.rule is None:
        return WORKED if connection.severity == Severity.OK and not findings else NO_EFFECT
    # Rules hide each other: the finding may be gone only because a new one hides it.
    replaced = any(
        rank <= before and first_seen_at >= action.started_at for _, rank, first_seen_at in findings
    )
    return NO_EFFECT if replaced or any(rule == action.rule for rule, _, _ in findings) else WORKED


def _time_to_help(connection: Connection) -> timedelta:
    """Return how long after an action a recovery counts as its effect."""
    return min(timedelta(seconds=connection.interval) + OUTCOME_GRACE, OUTCOME_WITHIN)
