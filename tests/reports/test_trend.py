"""Counts of connections by severity: stored by refreshes each hour, shown by day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from sqlalchemy import delete, select

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.fleet import hourly_counts
from dashboard.fleet.models import SEVERITIES, ConnectionCount, HourlyConnectionCount
from dashboard.refresh import service as refresh
from dashboard.reports.trend import queries as trend
from dashboard.worker import retention
from tests.support.clock import Clock
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def stored_counts() -> dict[datetime, dict[str, int]]:
    found: dict[datetime, dict[str, int]] = {}
    for row in db.session.scalars(
        select(HourlyConnectionCount).execution_options(populate_existing=True)
    ):
        found.setdefault(row.hour, {})[row.severity] = row.connections
    return found


def count(severity: str) -> int:
    return sum(
        db.session.scalars(
            select(ConnectionCount.connections).where(ConnectionCount.severity == severity)
        )
    )


def note(at: datetime, **counts: int) -> None:
    """Store counts as of a time."""
    db.session.execute(delete(ConnectionCount))
    for severity, number in counts.items():
        db.session.add(
            ConnectionCount(severity=severity, status=severity, connector="any", connections=number)
        )
    db.session.commit()
    hourly_counts.save_hourly_counts(at)


def test_a_complete_pass_notes_the_hour_and_the_next_one_in_it_notes_it_anew(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    (hour,) = stored_counts()
    assert (hour.minute, hour.second) == (0, 0)
    assert set(stored_counts()[hour]) == set(SEVERITIES)
    assert stored_counts()[hour]["error"] == count("error")
    db.session.execute(delete(HourlyConnectionCount))
    db.session.commit()
    clock.move(hours=1, minutes=-clock().minute)
    refresh.refresh_fleet(services)
    before = stored_counts()
    sandbox.set(sandbox.healthy.id, health_status="ERROR")
    clock.move(minutes=10)
    refresh.refresh_fleet(services)
    after = stored_counts()
    assert list(after) == list(before)
    (hour,) = after
    assert after[hour]["error"] == before[hour]["error"] + 1 == count("error")


def test_a_pass_that_ended_in_an_outage_notes_nothing(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    before = stored_counts()
    clock.move(hours=2)
    sandbox.fault("sub_accounts", status=500)
    assert refresh.refresh_fleet(services).error is not None
    assert stored_counts() == before


def test_a_day_is_the_viewers_and_shows_its_last_count_and_a_day_without_a_pass_nothing() -> None:
    db.session.execute(delete(HourlyConnectionCount))
    at = datetime(2026, 3, 31, 7, 12, tzinfo=UTC)
    for hours, errors in ((56, 1), (34, 4), (33, 5), (32, 6), (8, 7), (0, 8)):
        note(at - timedelta(hours=hours), error=errors, ok=100)
    brussels = trend.by_day(at, ZoneInfo("Europe/Brussels"))
    # 21:12 and 22:12 UTC of the 29th are before and after midnight in Brussels, which changed to
    # summer time on that day.
    shown = [(day.day.day, day.counts and day.counts["error"], day.connections) for day in brussels]
    assert shown == [(29, 4, 104), (30, 6, 106), (31, 8, 108)]
    tokyo = trend.by_day(at, ZoneInfo("Asia/Tokyo"))
    assert [(day.day, day.counts["error"] if day.counts else None) for day in tokyo][-1] == (
        date(2026, 3, 31),
        8,
    )
    note(at + timedelta(days=3), error=9)
    later = trend.by_day(at + timedelta(days=3), UTC)
    assert [(day.day.day, day.connections) for day in later][-4:] == [
        (31, 108),
        (1, None),
        (2, None),
        (3, 9),
    ]


def test_no_more_than_thirty_days_are_shown_and_none_before_the_first_that_is_known() -> None:
    db.session.execute(delete(HourlyConnectionCount))
    at = datetime(2026, 3, 31, 7, 12, tzinfo=UTC)
    assert trend.by_day(at, UTC) == []
    for days in (40, 10, 0):
        note(at - timedelta(days=days), error=days)
    assert [day.day for day in trend.by_day(at, UTC)] == [
        date(2026, 3, 21) + timedelta(days=number) for number in range(11)
    ]
    assert len(trend.by_day(at, UTC, days=60)) == 41


def test_old_hours_are_forgotten_with_the_rest_of_history(clock: Clock) -> None:
    note(clock() - timedelta(days=100), error=1)
    assert len(stored_counts()) == 2
    retention.delete_old(clock() - timedelta(days=90))
    assert len(stored_counts()) == 1
