"""Links for customers: requested once, polled until used, and given up after a day."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.actions.service import ActionRequest
from dashboard.actions.tasks import poll_action
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.customer_links import queries as waiting_links
from dashboard.customer_links import service as customer_links
from dashboard.fleet import queries
from dashboard.fleet.models import Account, Connection
from dashboard.refresh import live
from dashboard.refresh import service as refresh
from tests.support.clock import Clock
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


WHO = "olga@example.com"
ACCOUNT = 1001


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


@pytest.fixture
def account() -> Account:
    return db.session.get_one(Account, ACCOUNT)


def stored_connection(connection: Any) -> Connection:
    row = queries.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    return row


def invite(services: Services, account: Account, connector: str = "sftp_files") -> Action:
    return customer_links.invite(services.api, account, connector, WHO, services.clock(), 15)


def poll(services: Services, clock: Clock, action: Action, **by: float) -> Action:
    clock.move(**(by or {"seconds": 70}))
    leased = actions.lease(action.id, clock())
    assert leased is not None
    customer_links.poll(services.api, leased, clock(), 15)
    db.session.refresh(action)
    return action


def entry_of(action: Action) -> AuditEntry:
    return db.session.get_one(AuditEntry, action.audit_id)


def test_an_invite_gives_a_checked_link_and_ends_when_the_account_has_the_connection(
    services: Services, clock: Clock, sandbox: Sandbox, account: Account
) -> None:
    action = invite(services, account)
    assert (action.state, action.kind, action.connection_id) == ("waiting", "invite", 0)
    assert str(action.url).startswith(f"{sandbox.url}/sandbox/invite/")
    assert entry_of(action).result == "pending"
    calls = sandbox.state()["calls"]
    assert poll(services, clock, action).settled_at is None
    assert sandbox.state()["calls"] == calls
    made = sandbox.life.add_connection(ACCOUNT, "sftp_files", "Their files")
    refresh.refresh_account(services, ACCOUNT)
    poll(services, clock, action)
    assert (action.state, action.url, action.in_flight) == ("done", None, None)
    assert action.followed_at == stored_connection(made).first_seen_at
    assert entry_of(action).result == "done"
    assert "Their files" in action.detail


def test_a_connection_that_was_there_before_or_is_of_another_kind_is_no_answer_to_an_invite(
    services: Services, clock: Clock, sandbox: Sandbox, account: Account
) -> None:
    sandbox.life.add_connection(ACCOUNT, "sftp_files", "Older")
    refresh.refresh_account(services, ACCOUNT)
    clock.move(minutes=1)
    action = invite(services, account)
    sandbox.life.add_connection(ACCOUNT, "woocommerce", "Shop")
    refresh.refresh_account(services, ACCOUNT)
    assert poll(services, clock, action).settled_at is None


def test_an_invite_is_given_up_after_a_day(
    services: Services, clock: Clock, account: Account
) -> None:
    action = poll(services, clock, invite(services, account), hours=24, minutes=1)
    assert (action.state, action.url, entry_of(action).result) == ("failed", None, "failed")
    assert "within 24 hours" in action.detail


def test_a_second_invite_replaces_the_first_and_one_for_something_else_stands_beside_it(
    services: Services, account: Account
) -> None:
    first, other, second = (
        invite(services, account),
        invite(services, account, "woocommerce"),
        invite(services, account),
    )
    db.session.refresh(first)
    db.session.refresh(other)
    assert (first.state, other.state, second.state) == ("superseded", "waiting", "waiting")
    assert first.url is None


def test_an_invite_that_is_being_asked_for_is_not_asked_for_again(
    services: Services, clock: Clock, sandbox: Sandbox, account: Account
) -> None:
    written, is_new = actions.start_invite(account, "sftp_files", WHO, clock())
    assert is_new
    assert invite(services, account).id == written.id
    assert sandbox.state()["calls"].get("invite", 0) == 0
    # The process died after storing the action: a worker ends it, and the next request is new.
    assert poll(services, clock, written).state == "failed"
    assert invite(services, account).state == "waiting"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            {
                "status": 403,
                "body": {"error": "ERROR_LICENSE", "detail": "No invites in this licence."},
            },
            "No invites in this licence.",
        ),
        ({"status": 500}, "internal error"),
        ({"kind": "html"}, "could not be read"),
        ({"status": 204, "body": None}, "could not be read"),
        ({"status": 200, "body": {"url": "javascript:alert(document.cookie)"}}, "not safe to open"),
        ({"status": 200, "body": {"url": "http://example.com/x"}}, "not safe to open"),
    ],
)
def test_an_invite_that_is_refused_or_not_safe_is_a_failure_in_words(
    services: Services, sandbox: Sandbox, account: Account, fault: dict[str, Any], says: str
) -> None:
    sandbox.fault("invite", **fault)
    action = invite(services, account)
    assert (action.state, action.url, entry_of(action).result) == ("failed", None, "failed")
    assert says in action.detail
    assert sandbox.state()["calls"]["invite"] == 1
    assert (
        db.session.scalar(select(func.count()).select_from(Action).where(Action.url.is_not(None)))
        == 0
    )


def test_the_worker_looks_at_an_invite_as_at_everything_else(
    services: Services, clock: Clock, account: Account
) -> None:
    action = invite(services, account)
    clock.move(hours=25)
    poll_action(action.id)
    db.session.refresh(action)
    assert action.state == "failed"


def request_link(services: Services, connection: Any) -> Action:
    return customer_links.request_link(
        services.api,
        actions.REAUTHORISE,
        stored_connection(connection),
        ActionRequest(WHO, services.clock(), 15),
    )


def test_that_a_link_was_asked_for_is_no_sign_that_anybody_followed_it(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    """Peliqan may report RE_AUTHORISING as soon as a link has been requested."""
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = poll(services, clock, request_link(services, connection))
    assert stored_connection(connection).status == "RE_AUTHORISING"
    assert action.followed_at is None
    assert poll(services, clock, action, minutes=20).followed_at is None


def test_nor_is_it_when_no_worker_looked_for_hours(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    action = poll(
        services,
        clock,
        request_link(services, sandbox.find(failure="expired", auth="oauth2")),
        hours=5,
    )
    assert action.followed_at is None
    assert poll(services, clock, action).followed_at is None


@pytest.mark.parametrize(
    ("status", "minutes"), [("AUTHORIZING", 2), ("RE_AUTHORISED", 2), ("RE_AUTHORISING", 12)]
)
def test_a_status_that_comes_of_following_a_link_is_kept_even_when_it_passes(
    services: Services, clock: Clock, sandbox: Sandbox, status: str, minutes: int
) -> None:
    connection = sandbox.find(failure="expired", auth="oauth2")
    action = request_link(services, connection)
    sandbox.set(connection.id, health_status="ERROR")
    poll(services, clock, action)
    clock.move(minutes=minutes)
    sandbox.set(connection.id, health_status=status)
    # An open page reads the status between two polls of the worker.
    live.read_connection(services.api, connection.account_id, connection.id, clock())
    seen = clock()
    sandbox.set(connection.id, health_status="ERROR")
    poll(services, clock, action)
    assert action.settled_at is None
    assert action.followed_at is not None
    assert abs(action.followed_at - seen) < timedelta(seconds=5)


def test_what_waits_is_found_by_what_is_next(
    services: Services, clock: Clock, sandbox: Sandbox
) -> None:
    action = request_link(services, sandbox.find(failure="expired", auth="oauth2"))
    assert waiting_links.stage_of(action, clock()) == "unsent"
    assert waiting_links.record_sent(action, WHO, "nl", clock())
    assert waiting_links.stage_of(action, clock()) == "sent"
    assert waiting_links.stage_of(action, clock() + timedelta(hours=19, minutes=59)) == "sent"
    assert waiting_links.stage_of(action, clock() + timedelta(hours=20)) == "remind"
    clock.move(hours=21)
    assert waiting_links.record_sent(action, WHO, "nl", clock(), reminder=True)
    assert (waiting_links.stage_of(action, clock()), action.sent_by, action.language) == (
        "sent",
        WHO,
        "nl",
    )
    action.followed_at = clock()
    db.session.commit()
    assert waiting_links.stage_of(action, clock() + timedelta(hours=30)) == "followed"
    actions.complete(action, "failed", clock(), "Nobody followed the link within 24 hours.")
    assert waiting_links.stage_of(action, clock()) is None
    assert not waiting_links.record_sent(action, WHO, "fr", clock())
    assert action.language == "nl"
