"""A refresh of the fleet, against the sandbox over HTTP."""

from datetime import timedelta
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import func, select, update

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.fleet import queries
from dashboard.fleet.models import Account, AccountRefreshState, Connection, HealthChange
from dashboard.refresh import passes, reader, writer
from dashboard.refresh import queue as refresh_queue
from dashboard.refresh import service as refresh
from dashboard.refresh.fetch import AccountToRead
from dashboard.refresh.writer import AccountFetch, save_readings
from tests.support.clock import Clock
from tests.support.databases import wait_for
from tests.support.sandbox import ACCOUNTS, Sandbox

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def run(services: Services, **more: Any) -> refresh.Result:
    result = refresh.refresh_fleet(services, **more)
    db.session.expire_all()
    return result


def test_the_first_pass_knows_every_account_and_connection_of_the_api(sandbox: Sandbox) -> None:
    assert db.session.scalar(select(func.count()).select_from(Account)) == ACCOUNTS
    sources = sum(
        len(sandbox.life.connections(account.id)) for account in sandbox.life.accounts(0, ACCOUNTS)
    )
    stored_count = (
        select(func.count()).select_from(Connection).where(Connection.is_warehouse.is_(False))
    )
    assert db.session.scalar(stored_count) == sources


def test_one_turn_reads_all_that_is_due_however_long_it_takes_to_write(
    services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes.start_or_join(services.clock())
    leased, read = [], []
    lease_accounts, read_account, save = (
        refresh_queue.lease_accounts,
        reader.read_account,
        writer.save_readings,
    )

    def record_leased(*args: Any) -> Any:
        found = lease_accounts(*args)
        leased.extend(found)
        return found

    def record_read(api: Any, wanted: AccountToRead, *more: Any) -> AccountFetch:
        found = read_account(api, wanted, *more)
        # So that every read has something to write.
        clock.move(seconds=0.2)
        read.append(wanted.account_id)
        return found

    def save_slowly(*args: Any) -> None:
        wait_for(lambda: len(read) == len(leased), "all leased accounts are read")
        save(*args)

    monkeypatch.setattr(refresh_queue, "lease_accounts", record_leased)
    monkeypatch.setattr(reader, "read_account", record_read)
    monkeypatch.setattr(writer, "save_readings", save_slowly)
    refresh.read_due(services)
    assert passes.current_id() is None
    assert len(read) == ACCOUNTS


def test_an_account_that_cannot_be_read_keeps_its_state_and_stops_nobody(
    services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    before = db.session.get_one(Connection, (connection.account_id, connection.id)).status
    sandbox.fault("identity", status=403)
    sandbox.fault("servers", status=403, times=1)
    services.api.tokens.drop(1001, services.api.tokens.get(1001) or "")
    result = run(services)
    assert 1 <= len(result.unreadable) <= 2
    assert result.error is None
    assert db.session.get_one(Connection, (connection.account_id, connection.id)).status == before
    account_id = next(iter(result.unreadable))
    assert "does not allow" in str(db.session.get_one(Account, account_id).unreadable_reason)
    sandbox.clear()
    assert run(services).unreadable == {}
    assert db.session.get_one(Account, account_id).readable


def test_a_changed_status_becomes_history(services: Services, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    sandbox.set(connection.id, health_status="ERROR")
    run(services)
    row = db.session.get_one(Connection, (connection.account_id, connection.id))
    assert (row.status, row.severity) == ("ERROR", "error")
    change = db.session.scalars(
        select(HealthChange)
        .where(HealthChange.connection_id == connection.id)
        .order_by(HealthChange.id.desc())
    ).first()
    assert change is not None
    assert (change.was_severity, change.became) == ("ok", "ERROR")


def test_one_empty_answer_forgets_nothing_and_a_second_one_marks_it_gone(
    services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sandbox.fault("servers", kind=None, status=200, body=[])
    # They are really removed: none can be read alone.
    sandbox.fault("server", status=404)
    run(services)
    row = db.session.get_one(Connection, (connection.account_id, connection.id))
    assert row.gone_at is None
    run(services)
    assert (
        db.session.get_one(Connection, (connection.account_id, connection.id)).gone_at is not None
    )
    sandbox.clear()
    run(services)
    assert db.session.get_one(Connection, (connection.account_id, connection.id)).gone_at is None


def test_an_outage_is_one_error_and_not_one_for_each_account(
    services: Services, sandbox: Sandbox
) -> None:
    sandbox.fault("servers", status=500)
    result = run(services)
    assert result.error is not None
    assert "internal error" in result.error
    assert (
        db.session.scalar(
            select(func.count()).select_from(Account).where(Account.unreadable_reason.is_not(None))
        )
        == 0
    )


def test_a_listing_that_cannot_be_read_leaves_every_account_as_it_was(
    services: Services, sandbox: Sandbox
) -> None:
    sandbox.fault("sub_accounts", kind="html")
    result = run(services)
    assert result.error is not None
    assert "web page" in result.error
    assert (
        db.session.scalar(
            select(func.count()).select_from(Account).where(Account.gone_at.is_not(None))
        )
        == 0
    )


def test_an_account_missing_from_two_complete_listings_is_gone(
    services: Services, sandbox: Sandbox
) -> None:
    one = {"data": [{"id": 1001, "name": "Alone"}], "next": None}
    sandbox.fault("sub_accounts", status=200, body=one)
    run(services)
    assert db.session.get_one(Account, 1002).gone_at is None
    run(services)
    assert db.session.get_one(Account, 1002).gone_at is not None
    assert db.session.get_one(Account, 1001).gone_at is None


def test_a_second_pass_costs_one_call_an_account_and_asks_for_the_runs_of_what_moved_only(
    services: Services, sandbox: Sandbox
) -> None:
    run(services)
    before = sandbox.state()["calls"]
    moved = sandbox.healthy
    sandbox.set(moved.id, health_status="ERROR")
    run(services)
    after = sandbox.state()["calls"]
    assert after["servers"] - before["servers"] == ACCOUNTS
    assert after["runs"] - before.get("runs", 0) == 1


def test_runs_are_expected_a_day_apart_where_peliqan_names_no_interval(sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    row = queries.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    assert row.last_run_at is not None
    for interval, scheduler_off, expected in (
        (900, False, 900),
        (None, False, 86_400),
        (0, False, 86_400),
        (None, True, None),
    ):
        row.run_interval, row.scheduler_off = interval, scheduler_off
        db.session.flush()
        stored_connection = writer.known_of([connection.account_id])[connection.account_id][
            connection.id
        ]
        assert stored_connection.run_expected_at == (
            row.last_run_at + timedelta(seconds=expected) if expected else None
        )


def test_a_pass_that_was_interrupted_goes_on_where_it_was(
    services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    """A killed worker has tried half of the accounts; the next one reads the other half."""
    pass_id = passes.start_or_join(clock()).id
    half = refresh_queue.lease_accounts(clock(), ACCOUNTS // 2)
    readings = [
        AccountFetch(each.account_id, clock(), clock() + timedelta(days=1), news=False)
        for each in half
    ]
    save_readings(readings, {})
    before = sandbox.state()["calls"].get("servers", 0)
    result = run(services)
    assert sandbox.state()["calls"]["servers"] - before == ACCOUNTS - ACCOUNTS // 2
    assert (result.accounts, result.error) == (ACCOUNTS, None)
    closed = passes.get(pass_id)
    assert (closed.done, closed.unreadable, closed.active) == (ACCOUNTS, 0, None)


def test_a_pass_reads_what_was_written_down_after_it_began_but_read_before(
    services: Services, clock: Clock
) -> None:
    """Otherwise the refresh would wait for ever for accounts that nobody reads."""
    before = clock()
    clock.move(seconds=1)
    pass_id = passes.start_or_join(clock()).id
    save_readings([AccountFetch(1001, before, clock() + timedelta(days=1), news=False)], {})
    assert run(services).error is None
    closed = passes.get(pass_id)
    assert (closed.active, closed.done) == (None, ACCOUNTS)


def test_a_closed_pass_has_all_that_was_done_whoever_counted_last(
    services: Services, clock: Clock
) -> None:
    pass_id = passes.start_or_join(clock()).id
    passes.end_listing(pass_id, clock())
    # A worker counted before others saved, and saves after them.
    assert not passes.save_progress(pass_id, clock())
    db.session.execute(update(AccountRefreshState).values(tried_at=clock()))
    db.session.commit()
    assert passes.close(pass_id, clock())
    db.session.expire_all()
    assert (passes.get(pass_id).done, passes.get(pass_id).accounts) == (ACCOUNTS, ACCOUNTS)


def test_what_a_killed_worker_had_in_hand_is_due_again_within_a_minute(
    services: Services, clock: Clock
) -> None:
    passes.start_or_join(clock())
    assert len(refresh_queue.lease_accounts(clock(), ACCOUNTS)) == ACCOUNTS
    assert refresh_queue.lease_accounts(clock(), 1) == []
    clock.move(seconds=59)
    assert len(refresh_queue.lease_accounts(clock(), ACCOUNTS)) == ACCOUNTS


def test_a_revoked_token_is_fetched_anew_once(services: Services, sandbox: Sandbox) -> None:
    requests.post(f"{sandbox.url}/sandbox/control/accounts/1001/revoke-token", timeout=30)
    before = sandbox.state()["tokens"]
    assert refresh.refresh_account(services, 1001).unreadable == {}
    assert sandbox.state()["tokens"] == before + 1


@pytest.mark.parametrize("kind", ["bare_list", "extra_fields"])
def test_other_shapes_of_the_same_answers_are_read(
    services: Services, sandbox: Sandbox, kind: str
) -> None:
    sandbox.fault("*", kind=kind)
    result = run(services)
    assert (result.error, result.unreadable) == (None, {})


def test_an_unknown_status_is_shown_as_it_is_and_counted_as_unknown(
    services: Services, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    sandbox.set(connection.id, health_status="HIBERNATING")
    run(services)
    row = db.session.get_one(Connection, (connection.account_id, connection.id))
    assert (row.status, row.severity) == ("HIBERNATING", "unknown")


def test_tokens_are_not_readable_in_the_database(app: Flask, services: Services) -> None:
    token = services.api.tokens.get(1001)
    assert token
    stored = db.session.scalar(select(Account.token).where(Account.id == 1001))
    assert stored is not None
    assert token.encode() not in stored
    assert stored.startswith(b"gAAAA")
