"""The health strip of a connection or an account: the worst severity of each day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dashboard.fleet.models import SEVERITIES, HealthChange


@dataclass(frozen=True)
class Day:
    """One day (UTC) of the strip. ``severity``: None before the connection was first seen."""

    day: date
    severity: str | None
    statuses: tuple[str, ...]


def worst_strip(
    histories: Iterable[list[HealthChange]], first_seen_at: datetime, at: datetime, days: int
) -> list[Day]:
    """Return the strip of several connections: the worst of each day, with all statuses."""
    strips = [strip(history, first_seen_at, at, days) for history in histories]
    result = []
    for same in zip(strip([], first_seen_at, at, days), *strips, strict=True):
        known = [day for day in same if day.severity is not None]
        worst = min((str(day.severity) for day in known), key=SEVERITIES.index, default=None)
        seen = dict.fromkeys(status for day in known for status in day.statuses)
        result.append(Day(same[0].day, worst, tuple(seen)))
    return result


def strip(
    history: list[HealthChange], first_seen_at: datetime, at: datetime, days: int
) -> list[Day]:
    """Return the strip of the last ``days`` days up to ``at``.

    ``history``: changes sorted by time, with the last one before the first day.
    """
    result = []
    for back in range(days - 1, -1, -1):
        start = (at - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
        end = start + timedelta(days=1)
        before = [change for change in history if change.at < start][-1:]
        seen = [*before, *(change for change in history if start <= change.at < end)]
        if not seen or end <= first_seen_at:
            result.append(Day(start.date(), None, ()))
            continue
        worst = min((change.became_severity for change in seen), key=SEVERITIES.index)
        result.append(
            Day(start.date(), worst, tuple(dict.fromkeys(change.became for change in seen)))
        )
    return result
