"""Suppression of findings and causes: with a reason, until a date."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings import causes, evaluate, suppression
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Connection
from dashboard.notes import service as notes
from dashboard.tasks import periodic
from dashboard.worker import dispatch
from tests.support.clock import Clock

pytestmark = pytest.mark.both_engines


WHO = "olga@example.com"


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def refused() -> Cause:
    """Return a cause of refused access with more than one connection."""
    shared_causes = (
        select(Cause)
        .where(Cause.rule == "auth_failed", Cause.connections > 1)
        .order_by(Cause.connections.desc())
    )
    found = db.session.scalars(shared_causes).first()
    assert found is not None
    return found


def behind(cause: Cause) -> list[Finding]:
    db.session.expire_all()
    return list(
        db.session.scalars(
            select(Finding).where(Finding.cause_id == cause.id, Finding.recovered_at.is_(None))
        )
    )


def states(cause: Cause) -> set[str]:
    return {each.state for each in behind(cause)}


def run_every_minute(services: Services) -> None:
    """Run the worker's tasks of every minute, without the daily evaluation of everything."""
    for name in ("findings", "retention"):
        periodic.claim_periodic(name, services.clock(), timedelta(days=1))
    db.session.commit()
    with services.app.app_context():
        dispatch.every_minute()


def test_a_cause_is_suppressed_with_all_behind_it_until_its_date_and_comes_back_by_itself(
    services: Services, clock: Clock
) -> None:
    cause = refused()
    suppression.suppress(cause, WHO, "The vendor mends it on Friday.", 3, clock())
    assert (cause.state, cause.suppressed_by, cause.suppressed_reason) == (
        "suppressed",
        WHO,
        "The vendor mends it on Friday.",
    )
    assert states(cause) == {"suppressed"}
    clock.move(days=2, hours=23)
    run_every_minute(services)
    assert (states(cause), cause.state) == ({"suppressed"}, "suppressed")
    clock.move(hours=2)
    run_every_minute(services)
    assert (states(cause), cause.state) == ({"open"}, "open")


def test_one_finding_is_suppressed_alone(services: Services, clock: Clock) -> None:
    cause = refused()
    first, *others = behind(cause)
    suppression.suppress(first, WHO, "Known.", 1, clock())
    db.session.expire_all()
    assert (first.state, {each.state for each in others}, cause.state) == (
        "suppressed",
        {"new"},
        "new",
    )
    run_every_minute(services)
    db.session.refresh(first)
    assert first.state == "suppressed"
    clock.move(days=1, minutes=1)
    run_every_minute(services)
    db.session.refresh(first)
    assert first.state == "open"


def test_a_finding_that_is_suppressed_for_longer_than_its_cause_stays_so(
    services: Services, clock: Clock
) -> None:
    cause = refused()
    first, *_ = behind(cause)
    suppression.suppress(first, WHO, "Known.", 7, clock())
    suppression.suppress(cause, WHO, "Known.", 1, clock())
    clock.move(days=1, minutes=1)
    run_every_minute(services)
    assert states(cause) == {"suppressed", "open"}
    db.session.refresh(first)
    assert first.state == "suppressed"


def test_ending_it_by_hand_is_seen_at_once(services: Services, clock: Clock) -> None:
    cause = refused()
    suppression.suppress(cause, WHO, "Known.", 30, clock())
    suppression.unsuppress(cause, clock())
    assert states(cause) == {"new"}
    db.session.refresh(cause)
    assert (cause.state, cause.suppressed_until, cause.suppressed_by) == ("new", None, None)


def test_what_joins_a_suppressed_cause_is_suppressed_and_wakes_with_it(
    services: Services, clock: Clock
) -> None:
    cause = refused()
    error = db.session.scalars(
        select(Connection.last_error)
        .join(Finding, Finding.connection_id == Connection.id)
        .where(Finding.cause_id == cause.id)
    ).first()
    suppression.suppress(cause, WHO, "Known.", 3, clock())
    before = len(behind(cause))
    of_it = select(Finding.connection_id).where(
        Finding.recovered_at.is_(None), Finding.connection_id.is_not(None)
    )
    well = db.session.scalars(
        select(Connection).where(
            Connection.connector == cause.connector,
            Connection.severity == "ok",
            Connection.id.not_in(of_it),
        )
    ).first()
    assert well is not None
    well.status, well.severity, well.severity_rank, well.last_error, well.last_run_status = (
        "ERROR",
        "error",
        0,
        error,
        "ERROR",
    )
    evaluate.evaluate([well.account_id], clock())
    db.session.commit()
    joined = behind(cause)
    assert len(joined) == before + 1
    assert states(cause) == {"suppressed"}
    run_every_minute(services)
    assert states(cause) == {"suppressed"}
    clock.move(days=3, minutes=1)
    run_every_minute(services)
    assert states(cause) == {"open"}


def test_a_finding_that_moves_to_a_suppressed_cause_is_suppressed_and_the_other_way_round(
    services: Services, clock: Clock
) -> None:
    """Change the connection's error, which changes its cause."""
    cause = refused()
    finding = behind(cause)[0]
    row = db.session.scalars(select(Connection).where(Connection.id == finding.connection_id)).one()
    theirs = row.last_error
    row.last_error = "401 Unauthorized: quite another text"
    evaluate.evaluate([row.account_id], clock())
    db.session.commit()
    db.session.refresh(finding)
    assert (finding.cause_id != cause.id, finding.state) == (True, "new")
    suppression.suppress(cause, WHO, "Known.", 3, clock())
    for error, state in ((theirs, "suppressed"), ("401 Unauthorized: quite another text", "new")):
        row.last_error = error
        evaluate.evaluate([row.account_id], clock())
        db.session.commit()
        db.session.refresh(finding)
        assert finding.state == state


def test_what_recovers_and_breaks_again_while_it_is_suppressed_is_still_suppressed(
    services: Services, clock: Clock
) -> None:
    cause = refused()
    suppression.suppress(cause, WHO, "Known.", 7, clock())
    rows = list(
        db.session.scalars(
            select(Connection).where(
                Connection.id.in_([each.connection_id for each in behind(cause)])
            )
        )
    )
    before = [
        (row, row.status, row.severity, row.severity_rank, row.last_error, row.last_run_status)
        for row in rows
    ]
    for row in rows:
        row.status, row.severity, row.severity_rank, row.last_error, row.last_run_status = (
            "OK",
            "ok",
            5,
            None,
            "COMPLETED",
        )
    evaluate.evaluate({row.account_id for row in rows}, clock())
    db.session.commit()
    db.session.refresh(cause)
    assert (cause.state, behind(cause)) == ("recovered", [])
    for row, *values in before:
        row.status, row.severity, row.severity_rank, row.last_error, row.last_run_status = values
    evaluate.evaluate({row.account_id for row in rows}, clock())
    db.session.commit()
    db.session.refresh(cause)
    assert (cause.state, cause.times, states(cause)) == ("suppressed", 2, {"suppressed"})


def test_what_went_dark_and_joins_a_suppressed_cause_of_the_platform_is_suppressed(
    app: Flask, clock: Clock
) -> None:
    """One evaluation first counts it as dark alone, then moves it to the common cause."""
    hour = clock().replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
    rows = list(
        db.session.scalars(
            select(Connection)
            .where(Connection.severity == "ok", Connection.is_warehouse.is_(False))
            .limit(40)
        )
    )
    connector = max({row.connector for row in rows}, key=[row.connector for row in rows].count)
    mine = [row for row in rows if row.connector == connector][:3]
    assert len(mine) == 3
    app.extensions["thresholds"] = replace(evaluate.thresholds(), platform=2)
    interval = 3600
    for row in mine:
        row.run_interval, row.scheduler_off, row.running = interval, False, False
        row.last_success_at = row.last_run_at = (
            hour - timedelta(seconds=interval) + timedelta(minutes=5)
        )
        row.runs_read_at, row.last_run_status, row.status_since = (
            clock(),
            "COMPLETED",
            row.first_seen_at,
        )
    db.session.flush()
    evaluate.evaluate({row.account_id for row in mine[:2]}, clock())
    db.session.commit()
    platform = db.session.scalars(
        select(Cause).where(Cause.platform, Cause.connector == connector)
    ).one()
    suppression.suppress(platform, WHO, "Peliqan knows.", 1, clock())
    evaluate.evaluate([mine[2].account_id], clock())
    db.session.commit()
    assert (len(behind(platform)), states(platform)) == (3, {"suppressed"})


@pytest.mark.parametrize(
    ("reason", "days"), [("", 3), ("   ", 3), ("Known.", 0), ("Known.", 2), ("Known.", 31)]
)
def test_without_a_reason_or_for_other_than_the_days_offered_nothing_is_suppressed(
    clock: Clock, reason: str, days: int
) -> None:
    cause = refused()
    with pytest.raises(suppression.NoReason):
        suppression.suppress(cause, WHO, reason, days, clock())
    assert (cause.state, cause.suppressed_until) == ("new", None)


def test_a_cause_that_people_wrote_about_is_never_forgotten(clock: Clock) -> None:
    """All findings may move to another cause; the notes on this one stay."""
    cause, other = db.session.scalars(select(Cause).where(Cause.connections > 0).limit(2)).all()
    notes.add_note(notes.NoteTarget(cause_id=cause.id), WHO, "Ask Ann.", clock())
    db.session.execute(
        update(Finding).where(Finding.cause_id == cause.id).values(cause_id=other.id)
    )
    causes.update_counts(causes.PendingRecount(cause_ids={cause.id, other.id}), clock(), 10)
    db.session.commit()
    db.session.refresh(cause)
    assert cause.state == "recovered"
    assert [note.text for note in notes.notes_on(notes.NoteTarget(cause_id=cause.id))] == [
        "Ask Ann."
    ]
