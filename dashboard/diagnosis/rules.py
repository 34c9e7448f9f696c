"""The rules: what can be wrong with a connection, each a few lines over ``Facts``; and which one makes others needless to say.

A rule that explains another hides it: where access was refused, it is no news that no data came. So the findings of a
connection are causes and not echoes. The order of ``RULES`` is the order in which they are asked.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from dashboard.diagnosis.facts import Around, Facts
from dashboard.diagnosis.texts import span
from dashboard.peliqan import vocabulary
from dashboard.peliqan.vocabulary import Severity

AUTH = re.compile(
    r"\b401\b|invalid_grant|invalid_token|unauthori[sz]ed|token (?:has )?(?:been )?(?:is )?(?:expired|revoked|invalid)"
    r"|(?:expired|revoked|invalid) (?:access |refresh )?token|consent\W?(?:has )?expired|consent .{0,80}\bexpired\b"
    r"|re-?authori[sz]e|reauthenticat|authentication failed|invalid (?:api.?key|credentials)",
    re.IGNORECASE,
)
# The source's exit code for "I switched myself off" (seen in Peliqan's published programs).
SWITCHED_ITSELF_OFF: Final = 2
QUOTED = 160
NAMED = 60


class Gravity(StrEnum):
    """How much a finding matters, worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


GRAVITIES: Final = tuple(gravity.value for gravity in Gravity)


class Found(NamedTuple):
    """What a rule found. ``text``: the error by which causes are told apart; ``since``: the hour since which data is missing."""

    rule: str
    gravity: str
    evidence: str
    text: str = ""
    contradicts: bool = False
    since: datetime | None = None


@dataclass(frozen=True)
class Rule:
    """``check`` gives a sentence with its figures, or nothing. ``hides``: rules that need not be asked then.

    ``by_text``: its causes are told apart by the connection's error. ``contradicts``: where Peliqan calls the connection well
    all the same, it is a contradiction, unless the finding is less grave than its rule.
    """

    name: str
    title: str
    gravity: Gravity
    check: Callable[[Facts, Around], str | None]
    hides: frozenset[str] = frozenset()
    by_text: bool = False
    contradicts: bool = False


def diagnose(facts: Facts, around: Around) -> Iterator[Found]:
    """What is wrong with one connection, causes before effects."""
    hidden: set[str] = set()
    for rule in RULES:
        if rule.name in hidden or not (evidence := rule.check(facts, around)):
            continue
        hidden |= rule.hides
        gravity = rule.gravity
        if rule.name == "failing" and not _is_grave(facts, around):
            gravity = Gravity.WARNING
        text = (facts.last_error or "") if rule.by_text else ""
        contradicts = rule.contradicts and facts.severity == Severity.OK and gravity == rule.gravity
        yield Found(rule.name, gravity.value, evidence, text, contradicts, _missing_since(facts))


def may_be_unwell(facts: Facts) -> bool:
    """A glance that spares a well connection all the rules: false only where none that looks at it alone can find anything."""
    return not (
        facts.severity == Severity.OK
        and facts.last_run_status in vocabulary.SUCCEEDED
        and not facts.scheduler_off
        and facts.last_records != 0
        and facts.consent_expires_at is None
        and facts.newest_row_at is None
        and facts.last_success_at is not None
        and facts.interval
        and facts.runs_read_at is not None
        and (facts.runs_read_at - facts.last_success_at).total_seconds() <= facts.interval
        and facts.last_exit_code in (0, None)
    )


def _missing_since(facts: Facts) -> datetime | None:
    """The hour in which the first run after the last success was due."""
    if facts.last_success_at is None or not facts.interval:
        return None
    succeeded = facts.last_run_status in vocabulary.SUCCEEDED
    began = facts.last_run_at if succeeded and facts.last_run_at is not None else facts.last_success_at
    due = began + timedelta(seconds=facts.interval)
    return due.replace(minute=0, second=0, microsecond=0)


def _age(facts: Facts) -> float | None:
    """Seconds from the last success to the reading of the runs; since it became well again, where that is later."""
    if facts.last_success_at is None or facts.runs_read_at is None:
        return None
    since = facts.last_success_at
    if facts.severity == Severity.OK and facts.status_since > facts.first_seen_at:
        since = max(since, facts.status_since)
    return (facts.runs_read_at - since).total_seconds()


def _failed(facts: Facts) -> bool:
    """Whether the latest run failed, wholly or partly, and nothing has been mended since."""
    status = (facts.last_run_status or "").upper()
    if status not in vocabulary.FAILED and status not in vocabulary.PARTLY:
        return False
    mended = facts.severity == Severity.OK and facts.status_since > facts.first_seen_at
    return not (mended and facts.last_run_at is not None and facts.status_since > facts.last_run_at)


def _only_partly(facts: Facts) -> bool:
    return (facts.last_run_status or "").upper() in vocabulary.PARTLY


def _is_grave(facts: Facts, around: Around) -> bool:
    """Whether failing runs are more than a bad hour: nothing at all was loaded for as long as makes a connection dark."""
    age = _age(facts)
    return not _only_partly(facts) and (age is None or not facts.interval or age > around.thresholds.dark * facts.interval)


def _may_be_stuck(facts: Facts, around: Around) -> bool:
    """Whether a run is under way of which it cannot be told yet if it takes too long."""
    return facts.running and around.medians is None


def _in_trouble(facts: Facts) -> bool:
    return facts.severity == Severity.ERROR or _failed(facts)


def _quote(facts: Facts) -> str:
    text = " ".join((facts.last_error or "").split())
    return f"“{text if len(text) <= QUOTED else text[: QUOTED - 1] + '…'}”" if text else "no reason given"


def _last_success(facts: Facts) -> str:
    if facts.last_success_at is None or facts.runs_read_at is None:
        return "no success is known"
    return f"the last success was {span((facts.runs_read_at - facts.last_success_at).total_seconds())} before it was read"


def _times_interval(facts: Facts, age: float) -> str:
    assert facts.interval
    return f"{age / facts.interval:.1f} times its interval of {span(facts.interval)}"


def config_needed(facts: Facts, _: Around) -> str | None:
    """Peliqan waits for somebody to choose what to load."""
    return "Peliqan waits for somebody to finish its set-up (CONFIG_SELECT)." if facts.status == "CONFIG_SELECT" else None


def disabled(facts: Facts, _: Around) -> str | None:
    """Somebody, or Peliqan, switched it off."""
    if facts.severity != Severity.OFF:
        return None
    return f"It is switched off ({facts.status}); {_last_success(facts)}."


def auth_failed(facts: Facts, _: Around) -> str | None:
    """The source refused access: 401, a token that has expired or was revoked, a consent that has ended."""
    if not _in_trouble(facts) or not facts.last_error or not AUTH.search(facts.last_error):
        return None
    return f"The source refused access: {_quote(facts)}; {_last_success(facts)}."


def self_disabled(facts: Facts, _: Around) -> str | None:
    """The source ended with the exit code that means that it switched itself off."""
    if facts.last_exit_code != SWITCHED_ITSELF_OFF or not _in_trouble(facts):
        return None
    return f"The source switched itself off (exit code {SWITCHED_ITSELF_OFF}): {_quote(facts)}."


def stuck_run(facts: Facts, around: Around) -> str | None:
    """A run that has gone on far longer than its like."""
    if not facts.running or facts.last_run_at is None or facts.runs_read_at is None or around.medians is None:
        return None
    seconds, usual = (facts.runs_read_at - facts.last_run_at).total_seconds(), around.medians.get(facts.connector)
    limit = around.thresholds
    if seconds <= limit.stuck_seconds or (usual is not None and seconds <= limit.stuck * usual):
        return None
    like = f"; one of {facts.connector} usually takes {span(usual)}" if usual is not None else ""
    return f"Its run had gone on for {span(seconds)} when it was read{like}. Peliqan calls it {facts.status or 'nothing'}."


def failing(facts: Facts, _: Around) -> str | None:
    """The latest run failed, and there was no success within one interval."""
    age = _age(facts)
    if not _in_trouble(facts) or (facts.interval and age is not None and age <= facts.interval):
        return None
    if facts.running:
        return f"A run is under way; the one before it failed, {_quote(facts)}; {_last_success(facts)}."
    return f"The latest run is {facts.last_run_status or 'not known'}, {_quote(facts)}; {_last_success(facts)}."


def noisy(facts: Facts, _: Around) -> str | None:
    """Errors, although its data is current."""
    age = _age(facts)
    if not _in_trouble(facts) or age is None or not facts.interval:
        return None
    return f"It reports an error, {_quote(facts)}, but {_last_success(facts)}, within its interval of {span(facts.interval)}."


def never_ran(facts: Facts, _: Around) -> str | None:
    """No run is known, long enough after it was first seen."""
    if facts.last_run_at is not None or facts.last_success_at is not None or facts.runs_read_at is None:
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
    if not facts.interval or age is None or age <= around.thresholds.dark * facts.interval or _may_be_stuck(facts, around):
        return None
    assert facts.last_success_at is not None
    return (
        f"Peliqan calls it {facts.status or 'nothing'}, but the last success was {span(age)} before it was read, "
        f"{_times_interval(facts, age)}."
    )


def late(facts: Facts, around: Around) -> str | None:
    """No success for more than two of its intervals."""
    age = _age(facts)
    if not facts.interval or age is None or age <= around.thresholds.late * facts.interval or _may_be_stuck(facts, around):
        return None
    return f"The last success was {span(age)} before it was read, {_times_interval(facts, age)}."


def loaded_nothing(facts: Facts, _: Around) -> str | None:
    """The latest run completed with no record, though the runs before it always loaded some."""
    if facts.last_records != 0 or not facts.always_loaded or _in_trouble(facts):
        return None
    return "The latest run that ended completed with 0 records; the runs before it always loaded some."


def stale_rows(facts: Facts, _: Around) -> str | None:
    """The newest row in its tables is older than its last successful run, though that run says that it loaded some."""
    newest, read_at, success = facts.newest_row_at, facts.rows_read_at, facts.last_success_at
    if newest is None or read_at is None or success is None or not facts.interval or facts.last_records == 0:
        return None
    if read_at >= success:
        behind = (success - newest).total_seconds()
        said = f"Its last run succeeded, but the newest row in its tables is {span(behind)} older than that run."
    else:
        # It has run since: the run before the look came at most an interval before it.
        behind = (read_at - newest).total_seconds() - facts.interval
        said = (
            f"Its runs succeed, but when its rows were looked at the newest was {span((read_at - newest).total_seconds())} old."
        )
    return said if behind > facts.interval else None


def rows_dropped(facts: Facts, around: Around) -> str | None:
    """A table has less than seven tenths of the rows that it had within the week before."""
    drops = sorted(around.drops.get(facts.id, ()), key=lambda drop: drop.rows / drop.before)
    if not drops:
        return None
    worst = drops[0]
    fewer = round(100 * (1 - worst.rows / worst.before))
    when = f"on {worst.at:%d %B}, {worst.before:,} on {worst.before_at:%d %B}"
    others = len(drops) - 1
    more = f" {others} more of its tables {'has' if others == 1 else 'have'} far fewer rows." if others else ""
    return f"“{worst.table[:NAMED]}”: {worst.rows:,} rows {when}: {fewer} % fewer.{more}"


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
    """The account has an elder connection of the same connector and name."""
    elder = around.twins.get(facts.id)
    return f"The account has another connection of {facts.connector} with the same name, {elder}." if elder is not None else None


def orphan_target(facts: Facts, around: Around) -> str | None:
    """It loads into a connection that the account does not have."""
    if facts.target_id is None or facts.target_id in around.siblings:
        return None
    return f"It loads into connection {facts.target_id}, which the account does not have."


def status_unknown(facts: Facts, _: Around) -> str | None:
    """A status that Peliqan never documented."""
    if facts.severity != Severity.UNKNOWN:
        return None
    return f"Peliqan calls it “{facts.status[:80]}”, a word whose meaning is not known." if facts.status else "It has no status."


_LATENESS = frozenset({"late", "dark"})
_NO_DATA = _LATENESS | {"never_ran", "scheduler_off"}
_TROUBLE = frozenset({"failing", "noisy", "self_disabled"})

RULES: Final = (
    Rule("config_needed", "Set-up is not finished", Gravity.WARNING, config_needed, _NO_DATA | _TROUBLE | {"auth_failed"}),
    Rule("disabled", "Switched off", Gravity.WARNING, disabled, _NO_DATA | _TROUBLE | {"auth_failed", "consent_expiring"}),
    Rule(
        "auth_failed",
        "Access is refused",
        Gravity.CRITICAL,
        auth_failed,
        _NO_DATA | _TROUBLE | {"consent_expiring"},
        by_text=True,
    ),
    Rule("self_disabled", "The source switched itself off", Gravity.CRITICAL, self_disabled, _NO_DATA | _TROUBLE, by_text=True),
    Rule("stuck_run", "A run is stuck", Gravity.CRITICAL, stuck_run, _NO_DATA | {"failing", "noisy"}, contradicts=True),
    Rule("failing", "Runs fail", Gravity.CRITICAL, failing, _NO_DATA | {"noisy"}, by_text=True, contradicts=True),
    Rule("noisy", "Errors, but the data is current", Gravity.INFO, noisy, by_text=True),
    Rule("scheduler_off", "The schedule is off", Gravity.INFO, scheduler_off, _LATENESS | {"never_ran"}),
    Rule("never_ran", "It never ran", Gravity.WARNING, never_ran, _LATENESS),
    Rule("dark", "No data for a long time", Gravity.CRITICAL, dark, frozenset({"late"}), contradicts=True),
    Rule("late", "Data is late", Gravity.WARNING, late),
    Rule("loaded_nothing", "Nothing was loaded", Gravity.WARNING, loaded_nothing, contradicts=True),
    Rule("stale_rows", "Rows are older than the last run", Gravity.WARNING, stale_rows, contradicts=True),
    Rule("rows_dropped", "A table lost rows", Gravity.WARNING, rows_dropped, contradicts=True),
    Rule("consent_expiring", "A bank consent is about to end", Gravity.WARNING, consent_expiring),
    Rule("duplicate_connection", "Connected twice", Gravity.INFO, duplicate_connection),
    Rule("orphan_target", "Its target is missing", Gravity.WARNING, orphan_target),
    Rule("status_unknown", "A status nobody knows", Gravity.INFO, status_unknown),
)
UNREADABLE: Final = Rule(
    "account_unreadable",
    "The account cannot be read",
    Gravity.CRITICAL,
    lambda facts, around: None,
    by_text=True,
)
BY_NAME: Final = {rule.name: rule for rule in (*RULES, UNREADABLE)}
