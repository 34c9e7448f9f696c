"""Outages of Peliqan: shared by all processes, probed by a worker, and no data is lost."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard import peliqan
from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.actions.service import ActionRequest
from dashboard.actions.tasks import poll_action
from dashboard.app import create_app
from dashboard.audit.models import AuditEntry
from dashboard.bulk import jobs as bulk_jobs
from dashboard.bulk import service as bulk
from dashboard.bulk.models import BulkItem
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.customer_links import service as customer_links
from dashboard.exports import service as exports
from dashboard.exports.tasks import write_export
from dashboard.fleet import queries
from dashboard.fleet.models import Account, AccountRefreshState, Connection
from dashboard.peliqan.circuit_breaker import Outage
from dashboard.peliqan.limits import FIRST_PROBE_AFTER
from dashboard.pulls.destinations.parquet import ParquetFolder
from dashboard.pulls.pull import Pull, Selection
from dashboard.refresh import passes
from dashboard.refresh import service as refresh
from dashboard.refresh.api_outages import DatabaseOutageStore
from dashboard.refresh.models import ApiOutage
from dashboard.refresh.tasks import probe_api, read_due, start_refresh
from dashboard.tables.health import service as table_checks
from dashboard.tables.tasks import check_tables
from dashboard.users.models import User
from tests.support.clock import Clock
from tests.support.sandbox import ACCOUNTS, Sandbox
from tests.support.settings import make_settings

pytestmark = pytest.mark.both_engines


WHO = "olga@example.com"


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def begin_outage(services: Services, clock: Clock) -> Outage:
    """Start an outage, as a process does; other processes know 1 second later."""
    at = clock()
    found = services.outages.start(
        Outage(at, at + FIRST_PROBE_AFTER, reason="Peliqan could not be reached.")
    )
    clock.move(seconds=1)
    return found


def unreadable() -> int:
    return (
        db.session.scalar(
            select(func.count()).select_from(Account).where(Account.unreadable_reason.is_not(None))
        )
        or 0
    )


def stored_connection(connection: Any) -> Connection:
    row = queries.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    return row


def calls(sandbox: Sandbox) -> int:
    return sum(sandbox.state()["calls"].values())


def test_what_is_written_down_is_the_first_ones_and_each_turn_is_had_once(
    services: Services, clock: Clock
) -> None:
    notes, at = services.outages, clock()
    outage = Outage(at, at + FIRST_PROBE_AFTER, reason="No.")
    assert notes.read() is None
    assert notes.ended_at() is None
    assert notes.start(outage) == outage
    assert (
        notes.start(Outage(at + FIRST_PROBE_AFTER, at + FIRST_PROBE_AFTER, reason="Another."))
        == outage
    )
    assert not notes.claim_probe(outage, at)
    assert [notes.claim_probe(outage, outage.turn_at) for _ in range(2)] == [True, False]
    assert notes.read() == outage.after_probe(outage.turn_at)
    notes.finish(at + timedelta(minutes=1))
    assert (notes.read(), notes.ended_at()) == (None, at + timedelta(minutes=1))
    again = Outage(at + timedelta(hours=1), at + timedelta(hours=2))
    assert notes.start(again) == again


def test_another_host_has_its_own(app: Flask, services: Services, clock: Clock) -> None:
    begin_outage(services, clock)
    assert DatabaseOutageStore(db.engine, "elsewhere.example.com").read() is None


def test_a_store_that_is_away_leaves_a_process_with_what_it_knows(
    services: Services, clock: Clock
) -> None:
    outage = begin_outage(services, clock)
    assert services.outages.read() == outage
    db.session.execute(db.text("ALTER TABLE api_outage RENAME TO elsewhere"))
    db.session.commit()
    assert services.outages.read() == outage
    assert not services.outages.claim_probe(outage, outage.turn_at)


def test_another_process_is_told_by_the_store(
    app: Flask, services: Services, clock: Clock, sandbox: Sandbox, store: dict[str, str]
) -> None:
    begin_outage(services, clock)
    settings = make_settings(sandbox.url, services.settings.dashboard_data, **store)
    other: Services = create_app(settings, clock=clock).extensions["services"]
    before = calls(sandbox)
    with pytest.raises(peliqan.ApiUnavailable):
        other.api.account_page()
    assert calls(sandbox) == before
    clock.move(seconds=4)
    assert other.api.breaker.claim_probe()
    assert not services.api.breaker.claim_probe()
    assert other.api.answers_again()
    clock.move(seconds=1)
    assert services.api.account_page().accounts
    with other.app.app_context():
        db.engine.dispose()


def test_a_pass_during_an_outage_says_nothing_of_accounts_that_nobody_asked(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    passes.start_or_join(clock())
    begin_outage(services, clock)
    before = calls(sandbox)
    refresh.read_due(services)
    db.session.expire_all()
    assert calls(sandbox) == before
    last = passes.latest()
    assert last is not None
    assert last.ended_at is not None
    assert "Peliqan does not answer." in str(last.error)
    assert unreadable() == 0


def test_an_outage_in_the_middle_of_a_pass_says_nothing_of_those_who_were_not_asked(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    assert refresh.refresh_fleet(services).error is None
    before = sandbox.state()["calls"]["servers"]
    sandbox.fault("servers", status=503)
    result = refresh.refresh_fleet(services)
    assert result.error is not None
    assert unreadable() == 0
    assert services.api.breaker.outage is not None
    # Without the breaker each of ten accounts would be read four times.
    assert (
        sandbox.state()["calls"]["servers"] - before
        < 10 + 2 * services.settings.dashboard_api_concurrency
    )
    # A refresh that a user starts sends one probe.
    sandbox.fault("sub_accounts", status=503)
    before = calls(sandbox)
    assert refresh.refresh_fleet(services).error is not None
    assert calls(sandbox) == before + 1
    sandbox.clear()
    assert refresh.refresh_fleet(services) == refresh.Result(ACCOUNTS, {}, None)


def test_accounts_between_two_passes_are_put_off_and_not_called_unreadable(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    db.session.execute(
        db.update(AccountRefreshState)
        .where(AccountRefreshState.account_id.in_((1001, 1002)))
        .values(due_at=clock())
    )
    db.session.commit()
    begin_outage(services, clock)
    refresh.read_due(services)
    assert "Peliqan does not answer." in refresh.refresh_account(services, 1003).unreadable[1003]
    assert unreadable() == 0
    services.outages.finish(clock())
    clock.move(minutes=1)
    assert sandbox.state()["calls"].get("servers", 0) == 0
    at = clock()
    refresh.read_due(services)
    db.session.expire_all()
    assert all(
        db.session.get_one(AccountRefreshState, account_id).checked_at >= at
        for account_id in (1001, 1002)
    )


def test_the_worker_asks_ever_more_rarely_and_begins_a_pass_as_soon_as_there_is_an_answer(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    passes.start_or_join(clock())
    begin_outage(services, clock)
    read_due()
    assert "ask_again" in {
        task.name for task in services.queues["jobs"].pending() if task.eta is None
    }
    services.queues["jobs"].flush()
    sandbox.fault("sub_accounts", status=503)
    before = sandbox.state()["calls"].get("sub_accounts", 0)
    for seconds, times in (
        (1, 0),
        (4, 1),
        (9, 1),
        (1, 2),
        (19, 2),
        (1, 3),
        (120, 4),
        (60, 5),
        (60, 6),
    ):
        clock.move(seconds=seconds)
        probe_api()
        assert sandbox.state()["calls"].get("sub_accounts", 0) - before == times, seconds
    assert passes.current_id() is None
    start_refresh()
    assert passes.current_id() is None
    sandbox.clear()
    clock.move(seconds=60)
    services.queues["jobs"].flush()
    services.queues["readings"].flush()
    probe_api()
    assert services.api.breaker.outage is None
    assert passes.current_id() is not None
    assert services.queues["readings"].pending_count() == 1
    services.queues["readings"].flush()
    refresh.read_due(services)
    last = passes.latest()
    assert last is not None
    assert last.error is None


def test_each_turn_is_one_message_however_many_notice(services: Services, clock: Clock) -> None:
    begin_outage(services, clock)
    services.queues["jobs"].flush()
    for _ in range(5):
        probe_api()
    assert [task.name for task in services.queues["jobs"].pending() if task.eta is not None] == [
        "ask_again"
    ]
    services.queues["jobs"].flush()


def test_where_a_page_found_out_that_it_is_over_the_next_tick_begins_a_pass(
    services: Services, clock: Clock
) -> None:
    passes.start_or_join(clock())
    begin_outage(services, clock)
    refresh.read_due(services)
    clock.move(seconds=1)
    services.outages.finish(clock())
    clock.move(seconds=1)
    start_refresh()
    assert passes.current_id() is not None


def test_what_starts_something_is_not_begun_and_an_earlier_link_stays(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    connection = stored_connection(sandbox.find(failure="expired", auth="oauth2"))
    account = connection.account
    earlier = customer_links.request_link(
        services.api, actions.REAUTHORISE, connection, ActionRequest(WHO, clock(), 15)
    )
    begin_outage(services, clock)
    before = calls(sandbox)
    for press in (
        lambda: sync.start(services.api, connection, ActionRequest(WHO, clock(), 15)),
        lambda: customer_links.request_link(
            services.api, actions.REAUTHORISE, connection, ActionRequest(WHO, clock(), 15)
        ),
        lambda: customer_links.invite(services.api, account, "xero", WHO, clock(), 15),
    ):
        with pytest.raises(peliqan.ApiUnavailable, match="so this was not sent"):
            press()
    assert calls(sandbox) == before
    assert earlier.state == actions.WAITING
    assert db.session.scalars(select(Action)).all() == [earlier]


def test_a_bulk_job_waits_for_the_end_and_no_connection_loses_its_turn(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    found = [(sandbox.healthy.account_id, sandbox.healthy.id)]
    job = bulk.open_job(
        bulk.NewJob(actions.SYNC, found, found[0], WHO, "the vendor mended it", 2), clock()
    )
    begin_outage(services, clock)
    for _ in range(3):
        leased = bulk.lease(job.id, clock())
        assert leased is not None
        bulk_jobs.step(services.api, leased, clock, 15, lambda _: None)
        assert bulk.lease(job.id, clock()) is None
        clock.move(seconds=16)
    assert set(db.session.scalars(select(BulkItem.state))) == {bulk.WAITING}
    assert db.session.scalar(select(func.count()).select_from(Action)) == 0
    services.outages.finish(clock())
    clock.move(seconds=16)
    leased = bulk.lease(job.id, clock())
    assert leased is not None
    bulk_jobs.step(services.api, leased, clock, 15, lambda _: None)
    assert db.session.scalar(select(func.count()).select_from(Action)) == 1


def test_an_export_waits_for_the_end_however_long_and_is_not_given_up(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    olga = db.session.scalars(select(User).where(User.email == WHO)).one()
    columns = [
        (column.name, column.type, column.decimals)
        for column in services.api.for_account(1001).columns(10011903)
    ]
    query = {"search": "", "order_by": "", "filters": {}, "include": []}
    export = exports.open_export(
        olga,
        exports.NewExport(1001, 10011903, "Wide", "csv", query, columns, [], "Table as a file."),
        clock(),
    )
    begin_outage(services, clock)
    before = sandbox.state()["calls"].get("rows", 0)
    for _ in range(8):
        outage = services.outages.read()
        assert outage is not None
        services.outages.claim_probe(outage, clock())
        write_export(export.id)
        assert (export.state, export.tries, export.error) == (
            "running",
            0,
            "Peliqan does not answer.",
        )
        clock.move(seconds=31)
    assert sandbox.state()["calls"].get("rows", 0) == before
    services.outages.finish(clock())
    clock.move(seconds=31)
    write_export(export.id)
    assert (export.state, export.error) == ("done", "")


def test_daily_counts_are_put_off_by_minutes_and_not_by_an_hour_each(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    table_checks.write(
        1001,
        [
            table_checks.TableStats(table_id, f"Table {table_id}", None, 60)
            for table_id in (10011000, 10011903)
        ],
        clock(),
    )
    clock.move(hours=25)
    begin_outage(services, clock)
    check_tables()
    assert sandbox.state()["calls"].get("rows", 0) == 0
    services.outages.finish(clock())
    clock.move(minutes=6)
    assert len(table_checks.due(clock())) == 2
    check_tables()
    assert table_checks.due(clock()) == []


def test_a_pull_stops_at_the_first_account_that_was_not_asked(
    services: Services, clock: Clock, tmp_path: Path
) -> None:
    begin_outage(services, clock)
    copied = Pull(
        services.api, ParquetFolder(tmp_path / "copies"), tables_of=lambda *_: (), clock=clock
    ).run(Selection())
    assert copied.stopped is not None
    assert "Peliqan does not answer." in copied.stopped
    assert copied.failures == []


def test_looks_during_an_outage_are_none_after_which_no_run_could_be_said_to_have_begun(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    sandbox.fault("syncdb", status=500, times=1)
    action = sync.start(
        services.api, stored_connection(sandbox.healthy), ActionRequest(WHO, clock(), 15)
    )
    assert action.state == actions.UNKNOWN
    begin_outage(services, clock)
    for _ in range(5):
        clock.move(seconds=70)
        begin = services.outages.read()
        assert begin is not None
        # The worker has just claimed the probe.
        services.outages.claim_probe(begin, clock())
        poll_action(action.id)
    services.outages.finish(clock())
    clock.move(seconds=70)
    poll_action(action.id)
    assert action.settled_at is None
    for _ in range(2):
        clock.move(seconds=70)
        poll_action(action.id)
    assert (action.state, db.session.get_one(AuditEntry, action.audit_id).result) == (
        "failed",
        "failed",
    )


def test_there_is_one_row_a_host(services: Services, clock: Clock) -> None:
    for _ in range(3):
        begin_outage(services, clock)
        services.outages.finish(clock())
    assert db.session.scalar(select(func.count()).select_from(ApiOutage)) == 1
