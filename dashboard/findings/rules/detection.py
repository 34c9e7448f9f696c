"""The checks of the rules: each returns its evidence, a sentence with figures, or None.

Those about tables are in ``table_detection.py``.
"""

from typing import Final

from dashboard.findings.limits import LONGEST_QUOTE
from dashboard.findings.rules.error_texts import span
from dashboard.findings.rules.facts import Facts, RuleContext
from dashboard.findings.rules.refused_access import refuses_access
from dashboard.peliqan.statuses import RunOutcome, Severity, outcome_of_run

# The exit code of a source that switched itself off (seen in Peliqan's published programs).
SWITCHED_ITSELF_OFF: Final = 2


def _age(facts: Facts) -> float | None:
    """Return seconds from the last success to the reading of the runs; None if one is unknown.

    A recovery after the last success counts instead.
    """
    if facts.success_at is None or facts.runs_read_at is None:
        return None
    since = facts.success_at
    if facts.severity == Severity.OK and facts.status_since > facts.first_seen_at:
        since = max(since, facts.status_since)
    return (facts.runs_read_at - since).total_seconds()


def _is_mended(facts: Facts) -> bool:
    """Return whether Peliqan called it healthy after the latest ended run started."""
    became_well = facts.severity == Severity.OK and facts.status_since > facts.first_seen_at
    return (
        became_well and facts.ended_run_at is not None and facts.status_since > facts.ended_run_at
    )


def _failed(facts: Facts) -> bool:
    """Return whether the latest ended run failed, without a recovery since."""
    return facts.outcome.is_failure and not _is_mended(facts)


def _is_partial(facts: Facts) -> bool:
    """Return whether the latest ended run, or the connection's status, is a partial success."""
    if outcome_of_run(facts.status) is RunOutcome.PARTIAL:
        return not _failed(facts)
    return facts.outcome is RunOutcome.PARTIAL and not _is_mended(facts)


def _runner_failed(facts: Facts) -> bool:
    """Return whether Peliqan's runner failed: then nothing is known of the source."""
    return facts.outcome is RunOutcome.RUNNER_FAILED


def is_critical(facts: Facts, context: RuleContext) -> bool:
    """Return whether nothing was loaded for the time after which a connection is dark."""
    age = _age(facts)
    return age is None or age > context.thresholds.dark * facts.every


def _may_be_stuck(facts: Facts, context: RuleContext) -> bool:
    """Return whether a run is under way whose usual duration is not known yet."""
    return facts.running and context.medians is None


def _in_trouble(facts: Facts) -> bool:
    return facts.severity == Severity.ERROR or _failed(facts)


def _quote(facts: Facts) -> str:
    text = " ".join((facts.last_error or "").split())
    return (
        f"“{text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + '…'}”"
        if text
        else "no reason given"
    )


def _last_success(facts: Facts) -> str:
    if facts.success_at is None or facts.runs_read_at is None:
        return "no success is known"
    age = span((facts.runs_read_at - facts.success_at).total_seconds())
    return f"the last success was {age} before it was read"


def _interval(facts: Facts) -> str:
    if facts.interval:
        return f"its interval of {span(facts.interval)}"
    return f"the interval of {span(facts.every)} that is assumed, since Peliqan names none"


def _times_interval(facts: Facts, age: float) -> str:
    return f"{age / facts.every:.1f} times {_interval(facts)}"


def _what_failed(facts: Facts) -> str:
    """Return which side failed, with the status in brackets: it decides whom to contact."""
    before = "A run is under way; the one before it" if facts.running else "The latest run"
    match facts.outcome:
        case RunOutcome.RUNNER_FAILED:
            return f"{before} failed in Peliqan's own runner ({facts.ended_status})"
        case RunOutcome.SOURCE_FAILED:
            return f"{before} failed at the source ({facts.ended_status})"
        case RunOutcome.STOPPED:
            return f"{before} was stopped before its end ({facts.ended_status})"
    return (
        f"{before} failed"
        if facts.running
        else f"{before} is {facts.last_run_status or 'not known'}"
    )


def config_needed(facts: Facts, _: RuleContext) -> str | None:
    """Report that Peliqan waits for a choice of what to load."""
    return (
        "Peliqan waits for somebody to finish its set-up (CONFIG_SELECT)."
        if facts.status == "CONFIG_SELECT"
        else None
    )


def disabled(facts: Facts, _: RuleContext) -> str | None:
    """Report that a user or Peliqan switched it off."""
    if facts.severity != Severity.OFF:
        return None
    return f"It is switched off ({facts.status}); {_last_success(facts)}."


def auth_failed(facts: Facts, _: RuleContext) -> str | None:
    """Report that the source refused access: 401, an invalid token or an ended consent."""
    if (
        not _in_trouble(facts)
        or _runner_failed(facts)
        or not facts.last_error
        or not refuses_access(facts.last_error)
    ):
        return None
    return f"The source refused access: {_quote(facts)}; {_last_success(facts)}."


def self_disabled(facts: Facts, _: RuleContext) -> str | None:
    """Report that the source ended with the exit code for "switched itself off"."""
    if (
        facts.last_exit_code != SWITCHED_ITSELF_OFF
        or not _in_trouble(facts)
        or _runner_failed(facts)
    ):
        return None
    return f"The source switched itself off (exit code {SWITCHED_ITSELF_OFF}): {_quote(facts)}."


def stuck_run(facts: Facts, context: RuleContext) -> str | None:
    """Report a run that takes far longer than the median of its connector."""
    if (
        not facts.running
        or facts.last_run_at is None
        or facts.runs_read_at is None
        or context.medians is None
    ):
        return None
    seconds, usual = (
        (facts.runs_read_at - facts.last_run_at).total_seconds(),
        context.medians.get(facts.connector),
    )
    limit = context.thresholds
    if seconds <= limit.stuck_seconds or (usual is not None and seconds <= limit.stuck * usual):
        return None
    like = f"; one of {facts.connector} usually takes {span(usual)}" if usual is not None else ""
    return (
        f"Its run had gone on for {span(seconds)} when it was read{like}."
        f" Peliqan calls it {facts.status or 'nothing'}."
    )


def partial_errors(facts: Facts, _: RuleContext) -> str | None:
    """Report that the latest ended run wrote a part of its data.

    The written part is current, so the run counts as a success.
    """
    if not _is_partial(facts):
        return None
    run = "A run is under way; the one before it" if facts.running else "The latest run"
    word = facts.ended_status if facts.outcome is RunOutcome.PARTIAL else facts.status
    if facts.last_records == 0:
        return f"{run} loaded no record and had errors ({word}), {_quote(facts)}."
    loaded = f"{facts.last_records:,} records" if facts.last_records else "a part of the data"
    when = f"; {_last_success(facts)}" if facts.success_at is not None else ""
    return f"{run} loaded {loaded}, the rest had errors ({word}), {_quote(facts)}{when}."


def _fails(facts: Facts) -> str | None:
    """Report a failed run without a success within one interval."""
    age = _age(facts)
    if not _in_trouble(facts) or (age is not None and age <= facts.every):
        return None
    return f"{_what_failed(facts)}, {_quote(facts)}; {_last_success(facts)}."


def runner_failed(facts: Facts, _: RuleContext) -> str | None:
    """Report a crash of Peliqan's runner without a success within one interval."""
    return _fails(facts) if _runner_failed(facts) else None


def failing(facts: Facts, _: RuleContext) -> str | None:
    """Report a failed source or stopped run without a success within one interval."""
    return None if _runner_failed(facts) else _fails(facts)


def noisy(facts: Facts, _: RuleContext) -> str | None:
    """Report errors of a connection whose data is current."""
    if not _in_trouble(facts) or _age(facts) is None:
        return None
    what = _what_failed(facts) if facts.outcome.is_failure else "It reports an error"
    return f"{what}, {_quote(facts)}, but {_last_success(facts)}, within {_interval(facts)}."


def never_ran(facts: Facts, _: RuleContext) -> str | None:
    """Report that the connection has no run and none is being prepared."""
    if (
        facts.last_run_status
        or facts.last_run_at is not None
        or facts.success_at is not None
        or facts.runs_read_at is None
    ):
        return None
    if facts.severity == Severity.BUSY:
        return None
    return f"It has never run, though it is called {facts.status or 'nothing'}."


def scheduler_off(facts: Facts, _: RuleContext) -> str | None:
    """Report that the schedule is switched off."""
    if not facts.scheduler_off:
        return None
    return f"Its schedule is switched off, so it runs only by hand; {_last_success(facts)}."


def dark(facts: Facts, context: RuleContext) -> str | None:
    """Report no success for more than ``dark`` intervals (3 by default)."""
    age = _age(facts)
    if age is None or age <= context.thresholds.dark * facts.every or _may_be_stuck(facts, context):
        return None
    return (
        f"Peliqan calls it {facts.status or 'nothing'}, but the last success was"
        f" {span(age)} before it was read, {_times_interval(facts, age)}."
    )


def late(facts: Facts, context: RuleContext) -> str | None:
    """Report no success for more than ``late`` intervals (2 by default)."""
    age = _age(facts)
    if age is None or age <= context.thresholds.late * facts.every or _may_be_stuck(facts, context):
        return None
    return f"The last success was {span(age)} before it was read, {_times_interval(facts, age)}."


def loaded_nothing(facts: Facts, _: RuleContext) -> str | None:
    """Report a complete run with 0 records after runs that always loaded some."""
    if facts.last_records != 0 or not facts.always_loaded or _in_trouble(facts):
        return None
    return (
        "The latest run that ended completed with 0 records; the runs before it always loaded some."
    )


def stale_rows(facts: Facts, _: RuleContext) -> str | None:
    """Report that the newest row is older than the last successful run that loaded records."""
    newest, read_at, success = facts.newest_row_at, facts.rows_read_at, facts.success_at
    if newest is None or read_at is None or success is None or facts.last_records == 0:
        return None
    if read_at >= success:
        behind = (success - newest).total_seconds()
        evidence = (
            "Its last run succeeded, but the newest row in its tables is"
            f" {span(behind)} older than that run."
        )
    else:
        # A run succeeded after the rows were read; the one before was at most an interval earlier.
        age = (read_at - newest).total_seconds()
        behind = age - facts.every
        evidence = (
            f"Its runs succeed, but when its rows were looked at the newest was {span(age)} old."
        )
    return evidence if behind > facts.every else None


def consent_expiring(facts: Facts, context: RuleContext) -> str | None:
    """Report that the bank's consent ended or ends within ``consent_days``."""
    if facts.consent_expires_at is None:
        return None
    left = (facts.consent_expires_at - context.at).total_seconds()
    if left > context.thresholds.consent_days * 86400:
        return None
    when = f"ends in {span(left)}" if left > 0 else f"ended {span(-left)} ago"
    return f"The bank's consent {when}, on {facts.consent_expires_at:%d %B %Y, %H:%M} UTC."


def duplicate_connection(facts: Facts, context: RuleContext) -> str | None:
    """Report an older connection of the same connector and name.

    For a connection that never succeeded, any other of its connector counts.
    """
    older, other = context.same_name.get(facts.id), context.recreated.get(facts.id)
    if older is not None:
        return (
            f"The account has another connection of {facts.connector} with the same name, {older}."
        )
    if other is None:
        return None
    return (
        "No success of it is known, and the account has another connection of"
        f" {facts.connector}, {other}: made anew, perhaps."
    )


def orphan_target(facts: Facts, context: RuleContext) -> str | None:
    """Report a target id that is no connection of the account."""
    if facts.target_id is None or facts.target_id in context.siblings:
        return None
    return f"It loads into connection {facts.target_id}, which the account does not have."


def unused_target(facts: Facts, context: RuleContext) -> str | None:
    """Report a target that no source of the account loads into."""
    sources = context.unused_targets.get(facts.id)
    if not sources:
        return None
    load = "its one source loads" if sources == 1 else f"its {sources} sources load"
    return f"No source of the account loads into it; {load} elsewhere."


def status_unknown(facts: Facts, _: RuleContext) -> str | None:
    """Report a status that Peliqan does not document."""
    if facts.severity != Severity.UNKNOWN:
        return None
    return (
        f"Peliqan calls it “{facts.status[:80]}”, a word whose meaning is not known."
        if facts.status
        else "It has no status."
    )
