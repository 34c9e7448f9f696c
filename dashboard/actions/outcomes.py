"""Outcomes of actions: the connection before and after, whether the action helped, and success rates.

``actions.service.complete`` calls ``record_outcome`` once for each action, whatever its end. Some actions help later, since a
reauthorised connection often recovers with its next run. So the newest action of a connection is assessed again
(``on_recovered``) when a finding recovers within one interval of the connection, plus half an hour for the run and its read,
a day at most. Earlier actions get no credit.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from dashboard.actions.models import Action
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.findings.rules.registry import FINDING_SEVERITIES, PARTIAL, WITHOUT_SUCCESS
from dashboard.fleet.models import Connection
from dashboard.peliqan.statuses import RunOutcome, Severity, outcome_of_run, severity_of_health

WORKED, NO_EFFECT, WORSE = "worked", "no_effect", "worse"
VERDICTS = (WORKED, NO_EFFECT, WORSE)
DONE, SUPERSEDED = "done", "superseded"
AT_MOST, GRACE = timedelta(hours=24), timedelta(minutes=30)
# Of the words that Peliqan has for health, those that are worse than the rest.
_HOW_BAD = {Severity.ERROR.value: 2, Severity.ATTENTION.value: 1}


@dataclass(frozen=True)
class ActionStats:
    """What became of the actions of one kind, on connections of one connector with the same finding."""

    kind: str
    worked: int = 0
    no_effect: int = 0
    worse: int = 0

    @property
    def total(self) -> int:
        """How many there were."""
        return self.worked + self.no_effect + self.worse


def record_outcome(action: Action) -> None:
    """Write into an action that has its end how the connection stands after it, and the verdict. Does not commit.

    ``worked``: what was wrong when it was started is over, and nothing as grave has come in its place; where nothing was wrong,
    the connection is well. Where runs did not succeed before, a run that loaded a part of the data is no new trouble. ``worse``:
    something graver was found, or Peliqan's own word for its health is worse. ``no_effect``: anything else, so also a failure,
    and what was never tried. A link that a newer one replaced is not judged: it may be in use.
    """
    connection = db.session.get(Connection, (action.account_id, action.connection_id))
    if connection is None or action.state == SUPERSEDED:
        return
    action.status_after = connection.status
    action.verdict = _verdict(action, connection)


def on_recovered(
    _sender: object, *, connections: Collection[tuple[int, int | None]], at: datetime
) -> None:
    """Judge the newest action on each of these connections again: their findings have just recovered.

    Only what came to a good end and is recent enough; what worked has worked. Does not commit.
    """
    named = {each for each in connections if each[1] is not None}
    if not named:
        return
    accounts = {account_id for account_id, _ in named}
    recent = select(Action).where(
        Action.account_id.in_(accounts), Action.started_at > at - 3 * AT_MOST
    )
    newest: dict[tuple[int, int], Action] = {}
    for action in db.session.scalars(recent.order_by(Action.id)):
        newest[action.account_id, action.connection_id] = action
    for place, action in newest.items():
        if (
            place not in named
            or action.settled_at is None
            or action.state != DONE
            or action.verdict == WORKED
        ):
            continue
        connection = db.session.get(Connection, place)
        if connection is not None and at - action.settled_at <= _patience(connection):
            record_outcome(action)


def success_rates(rule: str, connector: str) -> dict[str, ActionStats]:
    """What became of each kind of action on connections of a connector that had this finding, by kind; the helpful first.

    An empty ``connector`` stands for all of them: the cause is no connector's.
    """
    like_this = [Action.rule == rule, Action.verdict.in_(VERDICTS)]
    if connector:
        like_this.append(Action.connector == connector)
    counting = (
        select(Action.kind, Action.verdict, func.count())
        .where(*like_this)
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
    graver = now < min(before, FINDING_SEVERITIES.index("info"))
    health_fell = _HOW_BAD.get(connection.severity, 0) > _HOW_BAD.get(
        severity_of_health(action.status_before), 0
    )
    health_fell = health_fell and not (
        loads_again and outcome_of_run(connection.status) is RunOutcome.PARTIAL
    )
    # What Peliqan refused, and a link that nobody followed, changed nothing: it grew worse by itself.
    if (graver or health_fell) and (action.state == DONE or action.run_id is not None):
        return WORSE
    if action.state != DONE:
        return NO_EFFECT
    if action.rule is None:
        return WORKED if connection.severity == Severity.OK and not findings else NO_EFFECT
    # One rule hides another: a finding may be over only because a run failed and that is said in its place.
    instead = any(
        rank <= before and first_seen_at >= action.started_at for _, rank, first_seen_at in findings
    )
    return NO_EFFECT if instead or any(rule == action.rule for rule, _, _ in findings) else WORKED


def _patience(connection: Connection) -> timedelta:
    """So long after an action its effect may show."""
    return min(timedelta(seconds=connection.interval) + GRACE, AT_MOST)
