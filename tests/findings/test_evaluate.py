"""Findings from first seen to recovered and their causes, on both databases."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, select

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings import causes, evaluate, suppression
from dashboard.findings.models import Cause, Finding
from dashboard.fleet.models import Account, Connection
from dashboard.peliqan import models
from dashboard.refresh import live, writer
from dashboard.refresh import service as refresh
from dashboard.refresh.writer import AccountFetch, save_readings
from dashboard.worker import retention
from tests.support.clock import Clock
from tests.support.factories import dark_fleet
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def open_findings(*conditions: Any) -> list[Finding]:
    db.session.expire_all()
    return list(
        db.session.scalars(
            select(Finding).where(Finding.recovered_at.is_(None), *conditions).order_by(Finding.id)
        )
    )


def of(connection: Any) -> list[str]:
    return [each.rule for each in open_findings(Finding.connection_id == connection.id)]


def read(services: Services, connection: Any) -> None:
    live.read_connection(services.api, connection.account_id, connection.id, services.clock())


def check_counts() -> None:
    """Check that the numbers of causes equal the counts of their findings."""
    db.session.expire_all()
    numbers = select(
        Finding.cause_id,
        func.count(Finding.connection_id),
        func.count(Finding.account_id.distinct()),
    )
    counted = {
        row[0]: tuple(row[1:])
        for row in db.session.execute(
            numbers.where(Finding.recovered_at.is_(None)).group_by(Finding.cause_id)
        )
    }
    for cause in db.session.scalars(select(Cause)):
        assert (cause.connections, cause.accounts) == counted.get(cause.id, (0, 0)), (
            cause.rule,
            cause.connector,
        )
        assert (cause.state == "recovered") == (cause.id not in counted)


def test_the_first_pass_finds_what_is_wrong_and_counts_it_by_cause(sandbox: Sandbox) -> None:
    check_counts()
    expired = sandbox.find(failure="expired", auth="oauth2")
    assert of(expired) == ["auth_failed"]
    [finding] = open_findings(Finding.connection_id == expired.id)
    cause = db.session.get_one(Cause, finding.cause_id)
    assert "invalid_grant" in cause.example
    assert "invalid_grant" in cause.text
    by_cause = Counter(each.cause_id for each in open_findings(Finding.rule == "auth_failed"))
    largest = db.session.get_one(Cause, by_cause.most_common(1)[0][0])
    assert largest.connections == by_cause[largest.id] > 1


def test_a_finding_is_new_then_open_then_recovered_and_comes_again_as_another(
    services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    sandbox.set(connection.id, health_status="DISABLED")
    read(services, connection)
    [finding] = open_findings(Finding.connection_id == connection.id)
    assert (finding.rule, finding.state) == ("disabled", "new")
    first_id, cause_id = finding.id, finding.cause_id
    clock.move(hours=25)
    evaluate.expire_states(clock())
    [finding] = open_findings(Finding.connection_id == connection.id)
    assert finding.state == "open"
    assert db.session.get_one(Cause, cause_id).state == "open"
    sandbox.set(connection.id, health_status=None)
    read(services, connection)
    assert of(connection) == []
    recovered = db.session.get_one(Finding, first_id)
    assert (recovered.state, recovered.recovered_at) == (
        "recovered",
        pytest.approx(clock(), abs=timedelta(seconds=20)),
    )
    assert db.session.get_one(Cause, cause_id).state == "recovered"
    sandbox.set(connection.id, health_status="DISABLED")
    read(services, connection)
    [again] = open_findings(Finding.connection_id == connection.id)
    assert (again.id != first_id, again.cause_id) == (True, cause_id)
    cause = db.session.get_one(Cause, cause_id)
    assert (cause.state, cause.times) == ("new", 2)
    check_counts()


def test_only_what_brings_news_is_evaluated(sandbox: Sandbox, clock: Clock) -> None:
    account_id, evaluated = sandbox.healthy.account_id, []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        evaluated.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        save_readings(
            [AccountFetch(account_id, clock(), clock() + timedelta(days=1), news=False)], {}
        )
        assert evaluated
        assert not [statement for statement in evaluated if "finding" in statement]
        seen = (
            models.Connection(
                id=sandbox.healthy.id, name="Other", connector="xero", status="DISABLED"
            ),
        )
        save_readings([AccountFetch(account_id, clock(), clock() + timedelta(days=1), seen)], {})
        assert [statement for statement in evaluated if "finding" in statement]
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def test_an_account_that_cannot_be_read_is_a_finding_and_its_others_are_unchecked(
    services: Services, sandbox: Sandbox
) -> None:
    expired = sandbox.find(failure="expired", auth="oauth2")
    sandbox.fault("servers", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."})
    refresh.refresh_account(services, expired.account_id)
    [unreadable] = open_findings(
        Finding.account_id == expired.account_id, Finding.connection_id.is_(None)
    )
    assert (unreadable.rule, unreadable.severity) == ("account_unreadable", "critical")
    assert "Trial over." in unreadable.evidence
    [finding] = open_findings(Finding.connection_id == expired.id)
    assert (finding.rule, finding.state) == ("auth_failed", "unchecked")
    check_counts()
    sandbox.clear()
    refresh.refresh_account(services, expired.account_id)
    [finding] = open_findings(
        Finding.account_id == expired.account_id, Finding.connection_id == expired.id
    )
    assert finding.state == "new"
    assert (
        open_findings(Finding.account_id == expired.account_id, Finding.connection_id.is_(None))
        == []
    )
    check_counts()


def test_what_is_wrong_with_a_connection_that_is_gone_has_ended(
    services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    expired = sandbox.find(failure="expired", auth="oauth2")
    others = [
        each for each in sandbox.life.connections(expired.account_id) if each.id != expired.id
    ]
    listed = tuple(
        models.Connection(id=each.id, name=each.name, connector=each.connector.name, status="OK")
        for each in others
    )
    for _ in range(2):
        clock.move(minutes=5)
        save_readings(
            [AccountFetch(expired.account_id, clock(), clock() + timedelta(days=1), listed)], {}
        )
    assert of(expired) == []
    check_counts()


def dark_causes(connector: str = "made_up") -> Sequence[Cause]:
    db.session.expire_all()
    return db.session.scalars(
        select(Cause).where(Cause.connector == connector, Cause.state != "recovered")
    ).all()


def test_ten_connections_dark_since_the_same_hour_are_one_cause_on_the_platforms_side(
    clock: Clock,
) -> None:
    dark_fleet(clock, 9)
    [cause] = dark_causes()
    assert (cause.rule, cause.platform, cause.connections) == ("dark", False, 9)
    dark_fleet(clock, 1, first=910_000)
    [cause] = dark_causes()
    assert (cause.rule, cause.platform, cause.connections, cause.accounts) == ("dark", True, 10, 10)
    assert "10 connections of made_up have had no data since" in cause.example
    dark_fleet(clock, 3, hours=30, first=920_000)
    assert sorted((each.platform, each.connections) for each in dark_causes()) == [
        (False, 3),
        (True, 10),
    ]
    dark_fleet(clock, 1, first=930_000)
    assert sorted((each.platform, each.connections) for each in dark_causes()) == [
        (False, 3),
        (True, 11),
    ]
    check_counts()


def test_a_platform_cause_stays_one_while_its_connections_recover(clock: Clock) -> None:
    ids = dark_fleet(clock, 12)
    clock.move(minutes=10)
    at = clock()
    for id in ids[:11]:
        seen = models.Connection(
            id=id * 10, name="Books", connector="made_up", status="OK", run_interval=3600
        )
        run = models.Run(
            id=id * 100 + 1, status="COMPLETED", started_at=at - timedelta(minutes=2), ended_at=at
        )
        save_readings(
            [AccountFetch(id, at, at + timedelta(days=1), (seen,), {id * 10: (run,)})], {}
        )
    [cause] = dark_causes()
    assert (cause.platform, cause.connections, cause.most) == (True, 1, 12)
    evaluate.evaluate_all(at)
    [cause] = dark_causes()
    assert (cause.platform, cause.connections) == (True, 1)
    check_counts()


def test_evaluating_everything_changes_nothing_that_was_right(
    services: Services, clock: Clock
) -> None:
    before = [(each.id, each.rule, each.cause_id, each.state) for each in open_findings()]
    evaluate.evaluate_all(services.clock())
    assert [(each.id, each.rule, each.cause_id, each.state) for each in open_findings()] == before
    check_counts()


def test_a_wrong_count_is_put_right_by_the_daily_evaluation(services: Services) -> None:
    cause = db.session.scalars(select(Cause).where(Cause.state != "recovered")).first()
    assert cause is not None
    cause.connections = 4711
    db.session.commit()
    evaluate.evaluate_all(services.clock())
    check_counts()


def test_a_suppressed_cause_spares_people_what_is_and_comes_to_be_behind_it_until_it_ends(
    clock: Clock,
) -> None:
    dark_fleet(clock, 3)
    [cause] = dark_causes()
    suppression.suppress(cause, "olga@example.com", "The vendor moves house", 3, clock())
    assert {each.state for each in open_findings(Finding.cause_id == cause.id)} == {"suppressed"}
    dark_fleet(clock, 1, first=910_000)
    assert {each.state for each in open_findings(Finding.cause_id == cause.id)} == {"suppressed"}
    clock.move(days=2)
    evaluate.expire_states(clock())
    assert dark_causes()[0].state == "suppressed"
    clock.move(days=1.1)
    evaluate.expire_states(clock())
    assert dark_causes()[0].state == "open"
    assert {each.state for each in open_findings(Finding.cause_id == cause.id)} == {"open"}


def test_nobody_is_spared_anything_without_a_reason_or_for_ever(clock: Clock) -> None:
    dark_fleet(clock, 1)
    [cause] = dark_causes()
    for reason, days in (("  ", 3), ("Because", 3650), ("Because", 0)):
        with pytest.raises(suppression.NoReason):
            suppression.suppress(cause, "olga@example.com", reason, days, clock())
    assert dark_causes()[0].state == "new"


def test_only_so_much_is_kept_of_what_has_recovered(
    services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    sandbox.set(connection.id, health_status="DISABLED")
    read(services, connection)
    sandbox.set(connection.id, health_status=None)
    read(services, connection)
    old = select(func.count()).where(Finding.connection_id == connection.id)
    assert db.session.scalar(old) == 1
    retention.delete_old(clock() - timedelta(days=1))
    assert db.session.scalar(old) == 1
    clock.move(days=100)
    retention.delete_old(clock() - timedelta(days=90))
    assert db.session.scalar(old) == 0


def test_two_connections_of_one_name_are_found_and_the_elder_is_named(clock: Clock) -> None:
    at = clock()
    writer.save_accounts([models.Account(id=950_000, name="Twice")], at)
    run = (models.Run(id=1, status="COMPLETED", started_at=at, ended_at=at),)
    seen = tuple(
        models.Connection(id=id, name=name, connector="xero", status="OK", run_interval=3600)
        for id, name in ((1, "Books"), (2, "books "), (3, "Other"))
    )
    save_readings(
        [AccountFetch(950_000, at, at + timedelta(days=1), seen, {1: run, 2: run, 3: run})], {}
    )
    [other] = open_findings(Finding.account_id == 950_000)
    assert (other.rule, other.connection_id) == ("duplicate_connection", 2)
    assert "same name, 1" in other.evidence


def test_causes_of_the_same_error_at_another_connector_are_others() -> None:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    seed = causes.Seed("critical", "x")
    made = causes.find_or_create(
        {causes.Key("failing", "a", "t"): seed, causes.Key("failing", "b", "t"): seed}, at
    )
    again = causes.find_or_create({causes.Key("failing", "a", "t"): seed}, at)
    assert len({each.id for each in made.values()}) == 2
    assert again[causes.Key("failing", "a", "t")].id == made[causes.Key("failing", "a", "t")].id
    db.session.rollback()


def test_accounts_and_connections_keep_their_own_numbers(services: Services) -> None:
    """Evaluating writes findings and nothing else."""
    numbers = (
        select(func.count()).select_from(Account),
        select(func.count()).select_from(Connection),
    )
    before = [db.session.scalar(each) for each in numbers]
    evaluate.evaluate_all(services.clock())
    assert [db.session.scalar(each) for each in numbers] == before
