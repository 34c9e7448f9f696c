"""The rules, each with its severity and the rules that it hides.

Their checks are in ``detection.py`` and ``table_detection.py``.

A rule hides the rules that it explains: with refused access, missing data is no further finding.
So the findings of a connection are causes, not symptoms. The rules run in the order of ``RULES``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from dashboard.findings.rules import detection, table_detection
from dashboard.findings.rules.facts import Facts, RuleContext
from dashboard.peliqan.statuses import RunOutcome, Severity


class FindingSeverity(StrEnum):
    """Severity of a finding, worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


FINDING_SEVERITIES: Final = tuple(severity.value for severity in FindingSeverity)


class RuleResult(NamedTuple):
    """What a rule found.

    ``text``: the error that tells causes apart; ``since``: the hour since which data is missing.
    """

    rule: str
    severity: str
    evidence: str
    text: str = ""
    contradicts: bool = False
    since: datetime | None = None


@dataclass(frozen=True)
class Rule:
    """A rule. ``check`` returns the evidence or None; ``hides``: rules that do not run after it.

    ``by_text``: the connection's error tells its causes apart. ``by_connector``: so does the
    connector; false for faults of Peliqan itself. ``contradicts``: a finding contradicts Peliqan if
    Peliqan calls the connection healthy and the finding has the rule's full severity.
    ``of_targets``: the rule is for targets, not for sources.
    """

    name: str
    title: str
    severity: FindingSeverity
    check: Callable[[Facts, RuleContext], str | None]
    hides: frozenset[str] = frozenset()
    by_text: bool = False
    contradicts: bool = False
    by_connector: bool = True
    of_targets: bool = False


def diagnose(facts: Facts, context: RuleContext) -> Iterator[RuleResult]:
    """Yield the findings of one connection, causes before effects."""
    hidden: set[str] = set()
    for rule in RULES:
        if (
            rule.of_targets != facts.is_target
            or rule.name in hidden
            or not (evidence := rule.check(facts, context))
        ):
            continue
        hidden |= rule.hides
        severity = rule.severity
        if rule.name in _CRITICAL_IN_TIME and not detection.is_critical(facts, context):
            severity = FindingSeverity.WARNING
        text = (facts.last_error or "") if rule.by_text else ""
        is_healthy = facts.severity == Severity.OK
        contradicts = rule.contradicts and is_healthy and severity == rule.severity
        yield RuleResult(
            rule.name, severity.value, evidence, text, contradicts, _missing_since(facts)
        )


def may_be_unwell(facts: Facts) -> bool:
    """Return False if no rule that reads only these facts can find anything.

    Saves running all rules on each healthy connection.
    """
    return not (
        facts.severity == Severity.OK
        and not facts.running
        and facts.outcome is RunOutcome.COMPLETE
        and not facts.scheduler_off
        and facts.last_records != 0
        and facts.consent_expires_at is None
        and facts.newest_row_at is None
        and facts.success_at is not None
        and facts.runs_read_at is not None
        and (facts.runs_read_at - facts.success_at).total_seconds() <= facts.every
        and facts.last_exit_code in (0, None)
    )


def _missing_since(facts: Facts) -> datetime | None:
    """Return the hour in which the first run after the last success was due; None without one."""
    if facts.success_at is None:
        return None
    began = (
        facts.ended_run_at
        if facts.outcome.is_success and facts.ended_run_at is not None
        else facts.success_at
    )
    due = began + timedelta(seconds=facts.every)
    return due.replace(minute=0, second=0, microsecond=0)


PARTIAL: Final = "partial_errors"
_LATENESS = frozenset({"late", "dark"})
_NO_DATA = _LATENESS | {"never_ran", "scheduler_off"}
_FAILURES = frozenset({"failing", "runner_failed", "noisy"})
_RUN_ERRORS = _FAILURES | {PARTIAL}
_PARTIAL = _FAILURES | {"loaded_nothing", "never_ran"}
_TROUBLE = _RUN_ERRORS | {"self_disabled"}
# After these findings, a run that loads a part of the data is an improvement.
WITHOUT_SUCCESS: Final = (
    _LATENESS | _FAILURES | {"auth_failed", "self_disabled", "stuck_run", "never_ran"}
)
# Critical only after no data was loaded for the time after which a connection is dark.
_CRITICAL_IN_TIME = frozenset({"failing", "runner_failed"})

RULES: Final = (
    Rule(
        "config_needed",
        "Set-up is not finished",
        FindingSeverity.WARNING,
        detection.config_needed,
        _NO_DATA | _TROUBLE | {"auth_failed"},
    ),
    Rule(
        "disabled",
        "Switched off",
        FindingSeverity.WARNING,
        detection.disabled,
        _NO_DATA | _TROUBLE | {"auth_failed", "consent_expiring"},
    ),
    Rule(
        "auth_failed",
        "Access is refused",
        FindingSeverity.CRITICAL,
        detection.auth_failed,
        _NO_DATA | _TROUBLE | {"consent_expiring"},
        by_text=True,
    ),
    Rule(
        "self_disabled",
        "The source switched itself off",
        FindingSeverity.CRITICAL,
        detection.self_disabled,
        _NO_DATA | _TROUBLE,
        by_text=True,
    ),
    Rule(
        "stuck_run",
        "A run is stuck",
        FindingSeverity.CRITICAL,
        detection.stuck_run,
        _NO_DATA | _RUN_ERRORS,
        contradicts=True,
    ),
    # Data was written: this explains errors, but not that no run followed.
    Rule(
        PARTIAL,
        "Only partly loaded",
        FindingSeverity.WARNING,
        detection.partial_errors,
        _PARTIAL,
        by_text=True,
    ),
    Rule(
        "runner_failed",
        "Peliqan’s runner fails",
        FindingSeverity.CRITICAL,
        detection.runner_failed,
        _NO_DATA | {"noisy"},
        by_text=True,
        contradicts=True,
        by_connector=False,
    ),
    Rule(
        "failing",
        "Runs fail",
        FindingSeverity.CRITICAL,
        detection.failing,
        _NO_DATA | {"noisy"},
        by_text=True,
        contradicts=True,
    ),
    Rule(
        "noisy",
        "Errors, but the data is current",
        FindingSeverity.INFO,
        detection.noisy,
        by_text=True,
    ),
    Rule(
        "scheduler_off",
        "The schedule is off",
        FindingSeverity.INFO,
        detection.scheduler_off,
        _LATENESS | {"never_ran"},
    ),
    Rule("never_ran", "It never ran", FindingSeverity.WARNING, detection.never_ran, _LATENESS),
    Rule(
        "dark",
        "No data for a long time",
        FindingSeverity.CRITICAL,
        detection.dark,
        frozenset({"late"}),
        contradicts=True,
    ),
    Rule("late", "Data is late", FindingSeverity.WARNING, detection.late),
    Rule(
        "loaded_nothing",
        "Nothing was loaded",
        FindingSeverity.WARNING,
        detection.loaded_nothing,
        contradicts=True,
    ),
    Rule(
        "stale_rows",
        "Rows are older than the last run",
        FindingSeverity.WARNING,
        detection.stale_rows,
        frozenset({"table_stale"}),
        contradicts=True,
    ),
    Rule(
        "rows_dropped",
        "A table lost rows",
        FindingSeverity.WARNING,
        table_detection.rows_dropped,
        contradicts=True,
    ),
    Rule(
        "duplicate_keys",
        "Keys are there twice",
        FindingSeverity.CRITICAL,
        table_detection.duplicate_keys,
        contradicts=True,
    ),
    Rule(
        "parent_table_empty",
        "A parent table is empty",
        FindingSeverity.CRITICAL,
        table_detection.parent_table_empty,
        contradicts=True,
    ),
    Rule(
        "mixed_versions",
        "Old snapshots are still there",
        FindingSeverity.WARNING,
        table_detection.mixed_versions,
        contradicts=True,
    ),
    Rule(
        "table_stale", "A table gets no new rows", FindingSeverity.INFO, table_detection.table_stale
    ),
    Rule(
        "consent_expiring",
        "A bank consent is about to end",
        FindingSeverity.WARNING,
        detection.consent_expiring,
    ),
    Rule(
        "duplicate_connection",
        "Connected twice",
        FindingSeverity.INFO,
        detection.duplicate_connection,
    ),
    Rule(
        "orphan_target", "Its target is missing", FindingSeverity.WARNING, detection.orphan_target
    ),
    Rule(
        "unused_target",
        "Nothing loads into this target",
        FindingSeverity.INFO,
        detection.unused_target,
        of_targets=True,
    ),
    Rule("status_unknown", "A status nobody knows", FindingSeverity.INFO, detection.status_unknown),
)
UNREADABLE: Final = Rule(
    "account_unreadable",
    "The account cannot be read",
    FindingSeverity.CRITICAL,
    lambda facts, context: None,
    by_text=True,
)
BY_NAME: Final = {rule.name: rule for rule in (*RULES, UNREADABLE)}
