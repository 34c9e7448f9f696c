"""Quiet hours and digests by local time: over midnight, across zones, at clock changes."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from dashboard.alerts.models import AlertRule
from dashboard.alerts.schedule import digest_due, quiet_until


def rule(
    quiet: tuple[int, int] | None = None, zone: str = "UTC", digest_at: int | None = None
) -> AlertRule:
    start, end = quiet or (None, None)
    return AlertRule(quiet_from=start, quiet_to=end, zone=zone, digest_at=digest_at)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(hour: int, minute: int = 0) -> int:
    return hour * 60 + minute


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-03-10T21:59", None),
        ("2026-03-10T22:00", "2026-03-11T07:00"),
        ("2026-03-10T23:59", "2026-03-11T07:00"),
        ("2026-03-11T00:00", "2026-03-11T07:00"),
        ("2026-03-11T06:59", "2026-03-11T07:00"),
        ("2026-03-11T07:00", None),
        ("2026-03-11T12:00", None),
    ],
)
def test_quiet_hours_go_over_midnight(now: str, end: str | None) -> None:
    assert quiet_until(rule((at(22), at(7))), utc(now)) == (utc(end) if end else None)


def test_quiet_hours_within_a_day_and_none_at_all() -> None:
    noon = rule((at(12), at(13, 30)))
    assert quiet_until(noon, utc("2026-03-10T11:59")) is None
    assert quiet_until(noon, utc("2026-03-10T12:00")) == utc("2026-03-10T13:30")
    assert quiet_until(noon, utc("2026-03-10T13:30")) is None
    assert quiet_until(rule(), utc("2026-03-10T03:00")) is None


def test_quiet_hours_are_those_of_the_rules_zone() -> None:
    night = (at(22), at(7))
    assert quiet_until(rule(night, "Asia/Kolkata"), utc("2026-03-10T16:30")) == utc(
        "2026-03-11T01:30"
    )
    assert quiet_until(rule(night, "Asia/Kolkata"), utc("2026-03-10T16:29")) is None
    assert quiet_until(rule(night, "America/New_York"), utc("2026-01-10T03:00")) == utc(
        "2026-01-10T12:00"
    )
    # This zone is a day ahead of UTC: its evening is the noon of the day before elsewhere.
    assert quiet_until(rule(night, "Pacific/Kiritimati"), utc("2026-03-10T08:00")) == utc(
        "2026-03-10T17:00"
    )


def test_quiet_hours_end_by_the_wall_in_the_nights_in_which_the_clock_changes() -> None:
    night = rule((at(22), at(7)), "Europe/Brussels")
    # Eight hours of night, then ten.
    assert quiet_until(night, utc("2026-03-28T21:00")) == utc("2026-03-29T05:00")
    assert quiet_until(night, utc("2026-10-24T20:00")) == utc("2026-10-25T06:00")


def test_an_end_that_the_clock_leaves_out_or_shows_twice() -> None:
    short = rule((at(22), at(2, 30)), "Europe/Brussels")
    # 02:30 does not exist on this night; 03:30 summer time is as long after midnight.
    assert quiet_until(short, utc("2026-03-29T00:30")) == utc("2026-03-29T01:30")
    # 02:30 occurs twice: quiet until the first, and again from 02:00 until the second.
    assert quiet_until(short, utc("2026-10-25T00:00")) == utc("2026-10-25T00:30")
    assert quiet_until(short, utc("2026-10-25T00:45")) is None
    assert quiet_until(short, utc("2026-10-25T01:10")) == utc("2026-10-25T01:30")
    assert quiet_until(short, utc("2026-10-25T01:30")) is None


def test_a_digest_is_due_from_its_minute_on_in_its_zone() -> None:
    morning = rule(zone="Europe/Brussels", digest_at=at(8))
    assert digest_due(morning, utc("2026-03-10T06:59")) is None
    assert digest_due(morning, utc("2026-03-10T07:00")) == date(2026, 3, 10)
    # A late digest is sent until 12 hours have passed.
    assert digest_due(morning, utc("2026-03-10T18:59")) == date(2026, 3, 10)
    assert digest_due(morning, utc("2026-03-10T19:00")) is None
    # A digest at 23:59 is still due after midnight.
    assert digest_due(rule(digest_at=at(23, 59)), utc("2026-03-11T00:03")) == date(2026, 3, 10)
    assert digest_due(rule(zone="Europe/Brussels"), utc("2026-03-10T12:00")) is None


@pytest.mark.parametrize("minute", [at(2, 30), at(8), at(0), at(23, 59)])
@pytest.mark.parametrize(
    "zone", ["Europe/Brussels", "America/New_York", "Australia/Lord_Howe", "UTC"]
)
def test_there_is_one_digest_a_day_through_a_whole_year(minute: int, zone: str) -> None:
    each, days = rule(zone=zone, digest_at=minute), []
    now = utc("2026-01-01T12:00")
    while now < utc("2027-01-01T12:00"):
        day = digest_due(each, now)
        if day is not None and (not days or days[-1] != day):
            days.append(day)
        now += timedelta(minutes=20)
    assert len(days) == len(set(days)) >= 364
    assert all(after - before == timedelta(days=1) for before, after in pairwise(days))
