"""Connections of one account that may be the same one, connected twice. Ids to ids, from the facts of the whole account."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from dashboard.findings.rules.facts import Facts
from dashboard.peliqan.statuses import Severity

# So many runs of a connection are read at once: where there are fewer, these are all.
READ_AT_ONCE: Final = 10
_IDLE = (Severity.OFF, Severity.BUSY)


def same_name(mine: Sequence[Facts], comparable: Callable[[str], str]) -> dict[int, int]:
    """Return those that have an elder connection of the same connector and name, with the eldest.

    ``comparable``: folds the spellings of a name into one.
    """
    first: dict[tuple[str, str], int] = {}
    twins = {}
    for facts in sorted(mine, key=lambda each: each.id):
        name = comparable(facts.name)
        elder = first.setdefault((facts.connector, name), facts.id)
        if elder != facts.id and name:
            twins[facts.id] = elder
    return twins


def was_recreated(mine: Sequence[Facts], runs: Mapping[int, int]) -> dict[int, int]:
    """Return those that never succeeded, with another of their connector: the one that succeeded last, else the eldest.

    ``runs``: how many are known of each connection, by its id. That one never succeeded is certain where all its runs are known,
    or where it came after the account was first read. Those that are switched off, or have only begun, are left out: nothing has
    to be decided about them.
    """
    sources: dict[str, list[Facts]] = defaultdict(list)
    for facts in mine:
        if not facts.is_target and facts.connector:
            sources[facts.connector].append(facts)
    account_seen_at = min((facts.first_seen_at for facts in mine), default=None)
    return {
        facts.id: max((each for each in group if each.id != facts.id), key=_success_then_age).id
        for group in sources.values()
        if len(group) > 1
        for facts in group
        if facts.success_at is None
        and facts.runs_read_at is not None
        and not _is_idle(facts)
        and (runs.get(facts.id, 0) < READ_AT_ONCE or facts.first_seen_at != account_seen_at)
    }


def _is_idle(facts: Facts) -> bool:
    has_begun = facts.running and facts.ended_status is None
    return facts.severity in _IDLE or facts.scheduler_off or has_begun


def _success_then_age(facts: Facts) -> tuple[bool, datetime, int]:
    return facts.success_at is not None, facts.success_at or facts.first_seen_at, -facts.id
