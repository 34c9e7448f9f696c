"""How the fleet fared over days: connections by severity, noted for each hour in which a pass was complete."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import groupby

from sqlalchemy import select

from dashboard.core.database import db
from dashboard.fleet.models import SEVERITIES, HourlyConnectionCount


@dataclass(frozen=True)
class Day:
    """One day of the viewer's; ``counts`` has every severity, as last noted on that day, in the hour from ``noted_at``.

    Both are None where no pass was complete on it: nothing is known then, which is not the same as nothing being wrong.
    """

    day: date
    noted_at: datetime | None
    counts: dict[str, int] | None

    @property
    def connections(self) -> int | None:
        """How many there were."""
        return sum(self.counts.values()) if self.counts is not None else None


def by_day(at: datetime, zone: tzinfo, days: int = 30) -> list[Day]:
    """The last ``days`` days of ``zone`` up to ``at``, oldest first, from the first of which something is known."""
    today = at.astimezone(zone).date()
    first = today - timedelta(days=days - 1)
    begins = datetime(first.year, first.month, first.day, tzinfo=zone)
    known = {noted.astimezone(zone).date(): (noted, counts) for noted, counts in _hours(begins)}
    if not known:
        return []
    shown = (first + timedelta(days=number) for number in range(days))
    return [Day(day, *known.get(day, (None, None))) for day in shown if day >= min(known)]


def _hours(since: datetime) -> Iterator[tuple[datetime, dict[str, int]]]:
    noted = select(
        HourlyConnectionCount.hour,
        HourlyConnectionCount.severity,
        HourlyConnectionCount.connections,
    ).where(HourlyConnectionCount.hour >= since)
    rows = db.session.execute(noted.order_by(HourlyConnectionCount.hour)).all()
    for hour, same in groupby(rows, key=lambda row: row.hour):
        yield hour, dict.fromkeys(SEVERITIES, 0) | {row.severity: row.connections for row in same}
