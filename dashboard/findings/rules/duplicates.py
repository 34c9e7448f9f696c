"""Connections of one account that may be the same one, connected twice."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from dashboard.findings.rules.facts import Facts
from dashboard.peliqan.statuses import Severity

# The number of runs that one request reads: if fewer are stored, they are all runs there are.
READ_AT_ONCE: Final = 10
_IDLE = (Severity.OFF, Severity.BUSY)


def find_same_name(mine: Sequence[Facts], comparable: Callable[[str], str]) -> dict[int, int]:
    """Return ids of connections, with the oldest id of the same connector and name.

    Oldest connections are left out. ``comparable`` folds the spellings of a name into one.
    """
    first: dict[tuple[str, str], int] = {}
    found = {}
    for facts in sorted(mine, key=lambda each: each.id):
        name = comparable(facts.name)
        oldest = first.setdefault((facts.connector, name), facts.id)
        if oldest != facts.id and name:
            found[facts.id] = oldest
    return found


def find_recreated(mine: Sequence[Facts], runs: Mapping[int, int]) -> dict[int, int]:
    """Return ids of connections that never succeeded, with another id of their connector.

    The other one is the one that succeeded last, or the oldest if none succeeded. ``runs``: number
    of stored runs by connection id. "Never succeeded" is certain if all runs are stored, or if the
    connection appeared after the account was first read. Disabled connections and those in their
    first run are left out, since there is nothing to decide about them.
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
    is_first_run = facts.running and facts.ended_status is None
    return facts.severity in _IDLE or facts.scheduler_off or is_first_run


def _success_then_age(facts: Facts) -> tuple[bool, datetime, int]:
    return facts.success_at is not None, facts.success_at or facts.first_seen_at, -facts.id
