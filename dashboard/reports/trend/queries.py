"""Connections by severity over days, from the hourly counts of complete refreshes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import groupby

from sqlalchemy import select

from dashboard.core.database import db
from dashboard.fleet.models import SEVERITIES, HourlyConnectionCount


@dataclass(frozen=True)
class Day:
    """One day in the viewer's zone. ``counts``: all severities, as last counted on that day.

    ``noted_at``: start of the hour of that count. Both are None if no refresh was complete on that
    day: the counts are unknown, not 0.
    """

    day: date
    noted_at: datetime | None
    counts: dict[str, int] | None

    @property
    def connections(self) -> int | None:
        """Return the number of connections; None if it is unknown."""
        return sum(self.counts.values()) if self.counts is not None else None


def by_day(at: datetime, zone: tzinfo, days: int = 30) -> list[Day]:
    """Return the last ``days`` days in ``zone`` up to ``at``, oldest first.

    Starts with the first day whose counts are known.
    """
    today = at.astimezone(zone).date()
    first = today - timedelta(days=days - 1)
    start = datetime(first.year, first.month, first.day, tzinfo=zone)
    known = {hour.astimezone(zone).date(): (hour, counts) for hour, counts in _hours(start)}
    if not known:
        return []
    shown = (first + timedelta(days=number) for number in range(days))
    return [Day(day, *known.get(day, (None, None))) for day in shown if day >= min(known)]


def _hours(since: datetime) -> Iterator[tuple[datetime, dict[str, int]]]:
    query = select(
        HourlyConnectionCount.hour,
        HourlyConnectionCount.severity,
        HourlyConnectionCount.connections,
    ).where(HourlyConnectionCount.hour >= since)
    rows = db.session.execute(query.order_by(HourlyConnectionCount.hour)).all()
    for hour, same in groupby(rows, key=lambda row: row.hour):
        yield hour, dict.fromkeys(SEVERITIES, 0) | {row.severity: row.connections for row in same}
