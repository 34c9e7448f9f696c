"""What each rule looks for: the connection's facts, and what is around it, to one sentence with figures, or nothing."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from dashboard.findings.rules.access import refuses_access
from dashboard.findings.rules.facts import Around, Facts, TableFigures
from dashboard.findings.rules.normalise import span
from dashboard.peliqan.statuses import RunOutcome, Severity, outcome_of_run

# The source's exit code for "I switched myself off" (seen in Peliqan's published programs).
SWITCHED_ITSELF_OFF: Final = 2
QUOTED = 160
NAMED = 60
# More rows for each key than this are more than a few that changed while they were counted.
KEY_TWICE = 1.01
STALE_AFTER = timedelta(days=7)


def _age(facts: Facts) -> float | None:
    """Seconds from the last success to the reading of the runs; since it became well again, where that is later."""
    if facts.success_at is None or facts.runs_read_at is None:
        return None
    since = facts.success_at
    if facts.severity == Severity.OK and facts.status_since > facts.first_seen_at:
        since = max(since, facts.status_since)
    return (facts.runs_read_at - since).total_seconds()


def _is_mended(facts: Facts) -> bool:
    """Whether Peliqan has called it well again since the latest run that ended began."""
    became_well = facts.severity == Severity.OK and facts.status_since > facts.first_seen_at
    return (
        became_well and facts.ended_run_at is not None and facts.status_since > facts.ended_run_at
    )


def _failed(facts: Facts) -> bool:
    """Whether the latest run that ended failed and nothing has been mended since."""
    return facts.outcome.is_failure and not _is_mended(facts)


def _is_partial(facts: Facts) -> bool:
    """Whether the latest run that ended loaded only a part, by its own status or by the connection's."""
    if outcome_of_run(facts.status) is RunOutcome.PARTIAL:
        return not _failed(facts)
    return facts.outcome is RunOutcome.PARTIAL and not _is_mended(facts)


def _runner_failed(facts: Facts) -> bool:
    """Whether it was Peliqan's own runner that failed: then nothing is known of the source."""
    return facts.outcome is RunOutcome.RUNNER_FAILED


def is_grave(facts: Facts, around: Around) -> bool:
    """Whether failing runs are more than a bad hour: nothing was loaded for as long as makes a connection dark."""
    age = _age(facts)
    return age is None or age > around.thresholds.dark * facts.every


def _may_be_stuck(facts: Facts, around: Around) -> bool:
    """Whether a run is under way of which it cannot be told yet if it takes too long."""
    return facts.running and around.medians is None


def _in_trouble(facts: Facts) -> bool:
    return facts.severity == Severity.ERROR or _failed(facts)


def _quote(facts: Facts) -> str:
    text = " ".join((facts.last_error or "").split())
    return (
        f"“{text if len(text) <= QUOTED else text[: QUOTED - 1] + '…'}”"
        if text
        else "no reason given"
    )


def _last_success(facts: Facts) -> str:
    if facts.success_at is None or facts.runs_read_at is None:
        return "no success is known"
    return f"the last success was {span((facts.runs_read_at - facts.success_at).total_seconds())} before it was read"


def _interval(facts: Facts) -> str:
    if facts.interval:
        return f"its interval of {span(facts.interval)}"
    return f"the interval of {span(facts.every)} that is assumed, since Peliqan names none"


def _times_interval(facts: Facts, age: float) -> str:
    return f"{age / facts.every:.1f} times {_interval(facts)}"


def _what_failed(facts: Facts) -> str:
    """Which side failed, since that decides whom to ask; with the status in brackets."""
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


def config_needed(facts: Facts, _: Around) -> str | None:
    """Peliqan waits for somebody to choose what to load."""
    return (
        "Peliqan waits for somebody to finish its set-up (CONFIG_SELECT)."
        if facts.status == "CONFIG_SELECT"
        else None
    )


def disabled(facts: Facts, _: Around) -> str | None:
    """Somebody, or Peliqan, switched it off."""
    if facts.severity != Severity.OFF:
        return None
    return f"It is switched off ({facts.status}); {_last_success(facts)}."


def auth_failed(facts: Facts, _: Around) -> str | None:
    """The source refused access: 401, a token that has expired or was revoked, a consent that has ended."""
    if (
        not _in_trouble(facts)
        or _runner_failed(facts)
        or not facts.last_error
        or not refuses_access(facts.last_error)
    ):
        return None
    return f"The source refused access: {_quote(facts)}; {_last_success(facts)}."


def self_disabled(facts: Facts, _: Around) -> str | None:
    """The source ended with the exit code that means that it switched itself off."""
    if (
        facts.last_exit_code != SWITCHED_ITSELF_OFF
        or not _in_trouble(facts)
        or _runner_failed(facts)
    ):
        return None
    return f"The source switched itself off (exit code {SWITCHED_ITSELF_OFF}): {_quote(facts)}."


def stuck_run(facts: Facts, around: Around) -> str | None:
    """A run that has gone on far longer than its like."""
    if (
        not facts.running
        or facts.last_run_at is None
        or facts.runs_read_at is None
        or around.medians is None
    ):
        return None
    seconds, usual = (
        (facts.runs_read_at - facts.last_run_at).total_seconds(),
        around.medians.get(facts.connector),
    )
    limit = around.thresholds
    if seconds <= limit.stuck_seconds or (usual is not None and seconds <= limit.stuck * usual):
        return None
    like = f"; one of {facts.connector} usually takes {span(usual)}" if usual is not None else ""
    return f"Its run had gone on for {span(seconds)} when it was read{like}. Peliqan calls it {facts.status or 'nothing'}."


def partial_errors(facts: Facts, _: Around) -> str | None:
    """The latest run wrote only a part of its data; that part is current, so it counts as a success."""
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
    """The latest run failed, and there was no success within one interval."""
    age = _age(facts)
    if not _in_trouble(facts) or (age is not None and age <= facts.every):
        return None
    return f"{_what_failed(facts)}, {_quote(facts)}; {_last_success(facts)}."


def runner_failed(facts: Facts, _: Around) -> str | None:
    """Peliqan's own runner crashed, and there was no success within one interval."""
    return _fails(facts) if _runner_failed(facts) else None


def failing(facts: Facts, _: Around) -> str | None:
    """The source failed or the run was stopped, and there was no success within one interval."""
    return None if _runner_failed(facts) else _fails(facts)


def noisy(facts: Facts, _: Around) -> str | None:
    """Errors, although its data is current."""
    if not _in_trouble(facts) or _age(facts) is None:
        return None
    what = _what_failed(facts) if facts.outcome.is_failure else "It reports an error"
    return f"{what}, {_quote(facts)}, but {_last_success(facts)}, within {_interval(facts)}."


def never_ran(facts: Facts, _: Around) -> str | None:
    """No run is known, long enough after it was first seen."""
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


def scheduler_off(facts: Facts, _: Around) -> str | None:
    """Its schedule is switched off."""
    if not facts.scheduler_off:
        return None
    return f"Its schedule is switched off, so it runs only by hand; {_last_success(facts)}."


def dark(facts: Facts, around: Around) -> str | None:
    """No success for more than three of its intervals."""
    age = _age(facts)
    if age is None or age <= around.thresholds.dark * facts.every or _may_be_stuck(facts, around):
        return None
    return (
        f"Peliqan calls it {facts.status or 'nothing'}, but the last success was {span(age)} before it was read, "
        f"{_times_interval(facts, age)}."
    )


def late(facts: Facts, around: Around) -> str | None:
    """No success for more than two of its intervals."""
    age = _age(facts)
    if age is None or age <= around.thresholds.late * facts.every or _may_be_stuck(facts, around):
        return None
    return f"The last success was {span(age)} before it was read, {_times_interval(facts, age)}."


def loaded_nothing(facts: Facts, _: Around) -> str | None:
    """The latest run completed with no record, though the runs before it always loaded some."""
    if facts.last_records != 0 or not facts.always_loaded or _in_trouble(facts):
        return None
    return (
        "The latest run that ended completed with 0 records; the runs before it always loaded some."
    )


def stale_rows(facts: Facts, _: Around) -> str | None:
    """The newest row in its tables is older than its last successful run, though that run says that it loaded some."""
    newest, read_at, success = facts.newest_row_at, facts.rows_read_at, facts.success_at
    if newest is None or read_at is None or success is None or facts.last_records == 0:
        return None
    if read_at >= success:
        behind = (success - newest).total_seconds()
        said = f"Its last run succeeded, but the newest row in its tables is {span(behind)} older than that run."
    else:
        # It has run since: the run before the look came at most an interval before it.
        behind = (read_at - newest).total_seconds() - facts.every
        said = f"Its runs succeed, but when its rows were looked at the newest was {span((read_at - newest).total_seconds())} old."
    return said if behind > facts.every else None


def rows_dropped(facts: Facts, around: Around) -> str | None:
    """A table has less than seven tenths of the rows that it had within the week before."""
    drops = sorted(around.drops.get(facts.id, ()), key=lambda drop: drop.rows / drop.before)
    if not drops:
        return None
    worst = drops[0]
    fewer = round(100 * (1 - worst.rows / worst.before))
    when = f"on {worst.at:%d %B}, {worst.before:,} on {worst.before_at:%d %B}"
    others = len(drops) - 1
    more = (
        f" {others} more of its tables {'has' if others == 1 else 'have'} far fewer rows."
        if others
        else ""
    )
    return f"“{worst.table[:NAMED]}”: {worst.rows:,} rows {when}: {fewer} % fewer.{more}"


def _worst_table(
    facts: Facts, around: Around, judge: Callable[[TableFigures], tuple[float, str] | None]
) -> str | None:
    """Return what is wrong with the worst of a connection's tables, and with how many more. ``judge``: how bad, and what."""
    checked = around.data.get(facts.id)
    if checked is None:
        return None
    found = sorted(
        (each for table in checked.tables if (each := judge(table))), key=lambda each: -each[0]
    )
    if not found:
        return None
    more = len(found) - 1
    rest = (
        f" {more} more of its tables {'has' if more == 1 else 'have'} the same fault."
        if more
        else ""
    )
    return f"{found[0][1]}, as counted on {checked.at:%d %B %Y}.{rest}"


def duplicate_keys(facts: Facts, around: Around) -> str | None:
    """A table has over 1 % more rows than different keys."""

    def judge(table: TableFigures) -> tuple[float, str] | None:
        if not table.keys or table.rows <= KEY_TWICE * table.keys:
            return None
        times = table.rows / table.keys
        text = f"{table.rows:,} rows with {table.keys:,} different values of {table.key} ({times:.2f} times as many)"
        return times, f"“{table.name[:NAMED]}”: {text}"

    return _worst_table(facts, around, judge)


def mixed_versions(facts: Facts, around: Around) -> str | None:
    """A table has live rows of more than one snapshot."""

    def judge(table: TableFigures) -> tuple[float, str] | None:
        if table.versions is None or table.versions <= 1:
            return None
        return (
            table.versions,
            f"“{table.name[:NAMED]}”: rows of {table.versions} snapshots side by side",
        )

    return _worst_table(facts, around, judge)


def table_stale(facts: Facts, around: Around) -> str | None:
    """A table got no row for over a week in which the connection's runs succeeded: where none did, that is what is wrong."""
    checked, success = around.data.get(facts.id), facts.success_at

    def judge(table: TableFigures) -> tuple[float, str] | None:
        if checked is None or table.received_at is None or success is None:
            return None
        if min(checked.at, success) - table.received_at <= STALE_AFTER:
            return None
        seconds = (checked.at - table.received_at).total_seconds()
        return seconds, f"“{table.name[:NAMED]}”: no row was received for {span(seconds)}"

    return _worst_table(facts, around, judge)


def parent_table_empty(facts: Facts, around: Around) -> str | None:
    """A table is empty while tables below it, named after it, have rows."""
    checked = around.data.get(facts.id)

    def judge(table: TableFigures) -> tuple[float, str] | None:
        if checked is None or table.rows:
            return None
        below = [
            each for each in checked.tables if each.rows and each.name.startswith(f"{table.name}_")
        ]
        if not below:
            return None
        one = f"“{below[0].name[:NAMED]}” has {below[0].rows:,} rows"
        return len(below), f"“{table.name[:NAMED]}” is empty, though {one}"

    return _worst_table(facts, around, judge)


def consent_expiring(facts: Facts, around: Around) -> str | None:
    """The bank's consent is about to end."""
    if facts.consent_expires_at is None:
        return None
    left = (facts.consent_expires_at - around.at).total_seconds()
    if left > around.thresholds.consent_days * 86400:
        return None
    when = f"ends in {span(left)}" if left > 0 else f"ended {span(-left)} ago"
    return f"The bank's consent {when}, on {facts.consent_expires_at:%d %B %Y, %H:%M} UTC."


def duplicate_connection(facts: Facts, around: Around) -> str | None:
    """The account has an elder one of the same connector and name, or another of the connector while this one never succeeded."""
    elder, other = around.twins.get(facts.id), around.anew.get(facts.id)
    if elder is not None:
        return (
            f"The account has another connection of {facts.connector} with the same name, {elder}."
        )
    if other is None:
        return None
    return f"No success of it is known, and the account has another connection of {facts.connector}, {other}: made anew, perhaps."


def orphan_target(facts: Facts, around: Around) -> str | None:
    """It loads into a connection that the account does not have."""
    if facts.target_id is None or facts.target_id in around.siblings:
        return None
    return f"It loads into connection {facts.target_id}, which the account does not have."


def unused_target(facts: Facts, around: Around) -> str | None:
    """A target that no source of the account loads into."""
    sources = around.unused_targets.get(facts.id)
    if not sources:
        return None
    load = "its one source loads" if sources == 1 else f"its {sources} sources load"
    return f"No source of the account loads into it; {load} elsewhere."


def status_unknown(facts: Facts, _: Around) -> str | None:
    """A status that Peliqan never documented."""
    if facts.severity != Severity.UNKNOWN:
        return None
    return (
        f"Peliqan calls it “{facts.status[:80]}”, a word whose meaning is not known."
        if facts.status
        else "It has no status."
    )
