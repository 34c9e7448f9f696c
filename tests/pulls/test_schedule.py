"""Due times of the next pull: across zones, after late starts, and at clock changes."""

from datetime import UTC, datetime

import pytest

from dashboard.pulls.models import PullSchedule
from dashboard.pulls.schedule import due_after, next_due, when_words

DAY, WEEK, TWO = 1440, 7 * 1440, 2 * 60
BRUSSELS = "Europe/Brussels"


def schedule(every: int, at_minute: int | None, zone: str = "UTC") -> PullSchedule:
    return PullSchedule(every=every, at_minute=at_minute, zone=zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "at_minute", "zone", "started_at", "due"),
    [
        (60, None, "UTC", "2026-03-10T09:10:00", "2026-03-10T10:10:00"),
        (DAY, None, "UTC", "2026-03-10T09:10:00", "2026-03-11T09:10:00"),
        # Saved before two o'clock and after it.
        (DAY, TWO, "UTC", "2026-03-10T01:00:00", "2026-03-10T02:00:00"),
        (DAY, TWO, "UTC", "2026-03-10T09:10:00", "2026-03-11T02:00:00"),
        # Started on time, a little late and very late: the next one is not delayed.
        (DAY, TWO, "UTC", "2026-03-10T02:00:00", "2026-03-11T02:00:00"),
        (DAY, TWO, "UTC", "2026-03-10T23:59:00", "2026-03-11T02:00:00"),
        (WEEK, TWO, "UTC", "2026-03-09T02:00:07", "2026-03-16T02:00:00"),
        (WEEK, TWO, "UTC", "2026-03-09T09:00:00", "2026-03-16T02:00:00"),
        # The zone's day differs from that of UTC.
        (DAY, TWO, "Asia/Tokyo", "2026-03-10T17:00:30", "2026-03-11T17:00:00"),
        (DAY, 23 * 60, "America/Los_Angeles", "2026-03-11T05:59:00", "2026-03-11T06:00:00"),
        # When clocks are put forward, there is no two o'clock: it starts at three.
        (DAY, TWO + 30, BRUSSELS, "2026-03-28T01:30:01", "2026-03-29T01:30:00"),
        # When clocks are put back, two o'clock occurs twice: only the first counts.
        (DAY, TWO + 30, BRUSSELS, "2026-10-24T00:30:01", "2026-10-25T00:30:00"),
        (DAY, TWO + 30, BRUSSELS, "2026-10-25T00:30:01", "2026-10-26T01:30:00"),
    ],
)
def test_the_next_pull_is_due_by_its_interval_or_its_clock(
    every: int, at_minute: int | None, zone: str, started_at: str, due: str
) -> None:
    assert next_due(schedule(every, at_minute, zone), utc(started_at)) == utc(due)


def test_a_pull_that_took_longer_than_a_day_goes_on_at_once_or_waits_for_its_clock() -> None:
    started_at, ended = utc("2026-03-10T02:00:00"), utc("2026-03-11T05:00:00")
    assert due_after(schedule(DAY, None), started_at, ended) == ended
    assert due_after(schedule(DAY, TWO), started_at, ended) == utc("2026-03-12T02:00:00")


def test_how_often_it_runs_is_said_with_the_clock_that_it_goes_by() -> None:
    assert when_words(schedule(360, None)) == "every six hours"
    assert when_words(schedule(DAY, TWO, BRUSSELS)) == "every day at 02:00, Europe/Brussels"
