"""Deliveries to a hook that fails, and with killed workers; on both databases."""

import json
import logging
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from dashboard.app import create_app
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.limits import RETRY_WAITS
from dashboard.deliveries.models import Delivery
from dashboard.deliveries.tasks import deliver_new_connection
from dashboard.peliqan import Outage
from dashboard.peliqan.webhooks import is_signed
from dashboard.webhooks.tasks import process_events
from dashboard.worker import dispatch
from tests.support.clock import Clock
from tests.support.databases import free_port, wait_for
from tests.support.hook_receiver import (
    SECRET,
    all_deliveries,
    audited,
    connect,
    keys,
    received_rows,
    tables_at_peliqan,
    the_delivery,
    work,
    work_after,
)
from tests.support.processes import Processes, make_environ
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings
from tests.support.webhook_sender import SECRET as EVENTS_SECRET
from tests.support.webhook_sender import made, post
from tests.support.webhook_target import Receiver, receiving

pytestmark = pytest.mark.both_engines


WHO = "olga@example.com"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def store(store: dict[str, str], hook: Receiver) -> dict[str, str]:
    ours = {
        "dashboard_hook": hook.url,
        "dashboard_hook_secret": SECRET,
        "peliqan_webhook_secret": EVENTS_SECRET,
    }
    return {**store, **ours}


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def started(services: Services, sandbox: Sandbox) -> Any:
    """Return a connection whose delivery has started."""
    connection = connect(sandbox)
    assert deliver_new_connection(connection.account_id, connection.id, WHO) is not None
    return connection


def send_events(app: Flask, services: Services, *events: dict[str, Any]) -> None:
    """Send Peliqan's events and process them."""
    for each in events:
        assert post(app.test_client(), each).status_code == 204
    process_events()


def wait_of(number: int) -> float:
    return RETRY_WAITS[number].total_seconds() + 1


def check_messages(services: Services, sandbox: Sandbox, connection: Any, hook: Receiver) -> None:
    """Each message has its own key, and names the account, the connection and its last run."""
    messages = hook.bodies
    assert len(set(keys(hook))) == len(messages)
    account = services.api.account(sandbox.life.account(connection.account_id).external_id)
    for message in messages:
        assert message["account"] == {
            "id": account.id,
            "external_id": account.external_id,
            "name": account.name,
        }
        assert {name: message["connection"][name] for name in ("id", "name", "connector")} == {
            "id": connection.id, "name": "New shop", "connector": "shopify",
        }  # fmt: skip
        assert message["connection"]["run_id"] == sandbox.life.runs(connection, 1)[0].id


def check_parts(messages: list[dict[str, Any]], name: str) -> None:
    """The parts of this table are numbered from 1 and have at most 200 rows each."""
    parts = [
        message
        for message in messages
        if not message["complete"] and message["table"]["name"] == name
    ]
    assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))
    assert [part["last"] for part in parts] == [False] * (len(parts) - 1) + [True]
    for part in parts:
        assert len(part["rows"]) <= 200
        names = [column["name"] for column in part["columns"]]
        assert names[0] == "id"
        assert all(list(row) == names for row in part["rows"])


def test_a_new_connections_tables_are_handed_over_whole_in_parts(
    app: Flask, services: Services, sandbox: Sandbox, hook: Receiver
) -> None:
    connection = connect(sandbox)
    send_events(app, services, made(connection, "connection_added"))
    assert the_delivery().state == "waiting"
    assert services.queues["deliveries"].pending_count() == 1
    work(services)
    tables, messages = tables_at_peliqan(services, connection), hook.bodies
    assert received_rows(messages) == tables
    assert any(len(rows) > 200 for rows in tables.values())
    check_messages(services, sandbox, connection, hook)
    for name in tables:
        check_parts(messages, name)
    last = messages[-1]
    assert (last["complete"], last["rows"], last["remarks"]) == (
        True,
        sum(map(len, tables.values())),
        [],
    )
    assert {table["name"]: table["rows"] for table in last["tables"]} == {
        name: len(rows) for name, rows in tables.items()
    }
    delivery = the_delivery()
    assert (delivery.state, delivery.rows, delivery.error, delivery.due_at) == (
        "delivered",
        last["rows"],
        "",
        None,
    )
    assert audited() == [("deliver", "webhook", "done")]


def test_what_is_posted_is_signed_with_its_time_and_has_its_key(
    services: Services, started: Any, hook: Receiver, clock: Clock
) -> None:
    work(services)
    assert hook.posts
    for headers, body in hook.posts:
        timestamp = headers["X-Console-Timestamp"]
        assert headers["X-Console-Signature"].startswith("sha256=")
        assert is_signed(timestamp.encode() + b"." + body, headers["X-Console-Signature"], SECRET)
        assert not is_signed(body, headers["X-Console-Signature"], SECRET)
        assert abs(clock().timestamp() - int(timestamp)) < 30
        assert headers["Idempotency-Key"] == json.loads(body)["key"]


def test_events_that_come_again_begin_nothing_more(
    app: Flask, services: Services, sandbox: Sandbox, hook: Receiver
) -> None:
    connection = connect(sandbox)
    send_events(
        app, services, made(connection, "connection_added"), made(connection, "connection_added")
    )
    work(services)
    posts = len(hook.posts)
    send_events(app, services, made(connection, "connection_added"))
    work(services)
    assert (len(all_deliveries()), len(hook.posts)) == (1, posts)


def test_a_first_run_that_failed_is_said_and_the_next_one_waited_for(
    app: Flask, services: Services, sandbox: Sandbox, hook: Receiver, clock: Clock
) -> None:
    connection = connect(sandbox, first_run="ERROR")
    send_events(app, services, made(connection, "connection_added"))
    work(services)
    delivery = the_delivery()
    assert (delivery.state, delivery.looks, hook.posts) == ("waiting", 1, [])
    assert "ended ERROR" in delivery.error
    assert delivery.error.endswith("A completed one is waited for.")
    # The event of the run's end arrives before the next poll, as with a long interval.
    db.session.execute(update(Delivery).values(due_at=clock() + timedelta(minutes=5)))
    db.session.commit()
    before = services.queues["deliveries"].pending_count()
    run = sandbox.life.start(connection)
    assert run.outcome == "COMPLETED"
    send_events(app, services, made(connection, "pipeline_run_completed", run.id))
    assert services.queues["deliveries"].pending_count() == before + 1
    work(services)
    assert (the_delivery().state, the_delivery().run_id, the_delivery().error) == (
        "delivered",
        run.id,
        "",
    )


def test_after_a_day_without_a_completed_run_it_is_dead_with_the_reason(
    services: Services, sandbox: Sandbox, hook: Receiver, clock: Clock
) -> None:
    connection = connect(sandbox, first_run="ERROR")
    deliver_new_connection(connection.account_id, connection.id, WHO)
    work(services)
    work_after(services, clock, hours=23, minutes=59)
    assert the_delivery().state == "waiting"
    work_after(services, clock, minutes=5)
    delivery = the_delivery()
    assert delivery.state == "dead"
    assert delivery.error.startswith("No run of it completed within 24 hours. Run ")
    assert (hook.posts, audited()) == ([], [("deliver", WHO, "failed")])


def test_peliqan_being_away_is_waited_out(
    services: Services, sandbox: Sandbox, started: Any, hook: Receiver, clock: Clock
) -> None:
    sandbox.fault("server", status=500, times=1)
    work(services)
    assert (the_delivery().state, the_delivery().tries) == ("waiting", 0)
    assert "internal error" in the_delivery().error
    sandbox.fault("applications", status=403, times=1)
    work_after(services, clock, minutes=2)
    assert (the_delivery().state, the_delivery().tries, hook.posts) == ("reading", 1, [])
    work_after(services, clock, seconds=wait_of(0))
    assert (the_delivery().state, the_delivery().error) == ("delivered", "")
    assert received_rows(hook.bodies) == tables_at_peliqan(services, started)


def test_while_peliqan_answers_nobody_no_try_is_used_up(
    services: Services, sandbox: Sandbox, started: Any, hook: Receiver, clock: Clock
) -> None:
    sandbox.fault("applications", status=403, times=1)
    work(services)
    assert (the_delivery().state, the_delivery().tries) == ("reading", 1)
    services.outages.start(Outage(clock(), clock() + timedelta(days=2)))
    for _ in range(len(RETRY_WAITS) + 2):
        work_after(services, clock, seconds=wait_of(0))
        assert (the_delivery().state, the_delivery().tries, hook.posts) == ("reading", 1, [])
        assert "Peliqan does not answer." in the_delivery().error
    services.outages.finish(clock())
    work_after(services, clock, seconds=wait_of(0))
    assert (the_delivery().state, the_delivery().error) == ("delivered", "")


def test_an_account_that_is_not_known_yet_is_waited_for(
    app: Flask, services: Services, sandbox: Sandbox, hook: Receiver
) -> None:
    connection = connect(sandbox)
    send_events(app, services, {**made(connection, "connection_added"), "account_id": 777_777})
    work(services)
    assert (the_delivery().state, hook.posts) == ("waiting", [])
    assert "does not know its account yet" in the_delivery().error


def test_a_hook_that_answers_500_three_times_gets_the_same_part_again_and_then_the_rest(
    services: Services, started: Any, hook: Receiver, clock: Clock
) -> None:
    hook.answers += [200, 500, 500, 500]
    work(services)
    delivery = the_delivery()
    assert (delivery.state, delivery.tries, delivery.error) == (
        "sending",
        1,
        "The hook answered 500: it is in trouble.",
    )
    work_after(services, clock, seconds=50)
    assert len(hook.posts) == 2, "it waits"
    for number in range(3):
        assert the_delivery().tries == number + 1
        work_after(services, clock, seconds=wait_of(number))
    sent = keys(hook)
    assert sent[0] != sent[1] == sent[2] == sent[3] == sent[4] != sent[5]
    assert len(set(sent)) == len(sent) - 3
    assert (the_delivery().state, the_delivery().tries, the_delivery().error) == (
        "delivered",
        0,
        "",
    )
    assert received_rows(hook.bodies) == tables_at_peliqan(services, started)


def test_a_wait_that_the_hook_asks_for_is_kept(
    services: Services, started: Any, hook: Receiver, clock: Clock
) -> None:
    hook.answers, hook.retry_after = [503], "1200"
    work(services)
    assert the_delivery().due_at > clock() + timedelta(minutes=19)  # type: ignore[operator]
    assert len(hook.posts) == 1


def test_a_redirect_is_not_followed(services: Services, started: Any, hook: Receiver) -> None:
    hook.answers += [302]
    work(services)
    assert len(hook.posts) == 1
    assert (
        the_delivery().error
        == "The hook answered 302: it points to another address, and redirects are not followed."
    )


class TestAHookThatIsAway:
    @pytest.fixture
    def port(self) -> int:
        return free_port()

    @pytest.fixture
    def store(self, store: dict[str, str], port: int) -> dict[str, str]:
        # The path may be a secret.
        return {**store, "dashboard_hook": f"http://127.0.0.1:{port}/hush-4711"}

    def test_it_is_given_up_after_six_tries_and_sent_again_from_the_part_that_is_missing(
        self,
        services: Services,
        started: Any,
        clock: Clock,
        port: int,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with receiving(port) as first:
            first.answers += [200, 500]
            work(services)
            assert len(first.posts) == 2
        for number in range(5):
            assert (the_delivery().state, the_delivery().tries) == ("sending", number + 1)
            work_after(services, clock, seconds=wait_of(number))
        delivery = the_delivery()
        assert (delivery.state, delivery.tries) == ("dead", 6)
        assert delivery.error == "The hook cannot be reached: the connection was refused."
        assert "hush" not in caplog.text + delivery.error
        assert audited() == [("deliver", WHO, "failed")]
        work_after(services, clock, days=1)
        with receiving(port) as second:
            assert deliveries.send_again(the_delivery(), WHO, clock())
            work(services)
        assert the_delivery().state == "delivered"
        assert keys(second)[0] == keys(first)[1], "accepted services are not sent again"
        assert received_rows([first.bodies[0], *second.bodies]) == tables_at_peliqan(
            services, started
        )
        assert audited() == [("deliver", WHO, "failed"), ("send_delivery", WHO, "done")]


def test_a_table_that_is_gone_is_left_out_and_said(
    services: Services, sandbox: Sandbox, started: Any, hook: Receiver
) -> None:
    sandbox.fault("fields", status=404, times=1)
    work(services)
    tables, last = tables_at_peliqan(services, started), hook.bodies[-1]
    assert len(received_rows(hook.bodies)) == len(tables) - 1
    (missing,) = set(tables) - set(received_rows(hook.bodies))
    assert last["remarks"] == [f"“{missing}” was gone at Peliqan before it was read to its end."]
    assert (the_delivery().state, the_delivery().remarks) == ("delivered", last["remarks"])


def test_others_have_their_turn_and_it_goes_on_with_the_next_part(
    services: Services, started: Any, hook: Receiver, clock: Clock
) -> None:
    services.queues.stop.set()
    for turns in range(30):
        assert len(hook.posts) == turns
        if the_delivery().settled_at is not None:
            break
        work(services)
    assert turns == len(hook.posts) == len(set(keys(hook))) > 3
    assert received_rows(hook.bodies) == tables_at_peliqan(services, started)


def test_a_part_that_a_cancelled_delivery_had_on_its_way_is_its_last(
    services: Services, started: Any, hook: Receiver
) -> None:
    hook.answers += [200, 500]
    work(services)
    assert deliveries.cancel(the_delivery(), WHO, services.clock())
    work(services)
    assert (the_delivery().state, len(hook.posts)) == ("cancelled", 2)


@pytest.fixture
def machines(store: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> Iterator[Processes]:
    found = Processes(make_environ(sandbox.url, tmp_path, **store))
    yield found
    found.end_all()


def test_what_a_killed_worker_had_in_hand_is_taken_over_and_no_row_is_lost_or_there_twice(
    services: Services, started: Any, hook: Receiver, machines: Processes
) -> None:
    hook.holds_from = 2
    victim = machines.start("worker")
    wait_for(lambda: len(hook.posts) >= 2, "the second part is being sent")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert (the_delivery().state, the_delivery().parts) == ("sending", 1)
    # The lease has expired, as after eleven minutes.
    db.session.execute(
        update(Delivery).values(leased_until=services.clock() - timedelta(seconds=1))
    )
    db.session.commit()
    hook.holds_from = None
    hook.may_go_on.set()
    machines.start("worker")
    wait_for(lambda: the_delivery().state == "delivered", "another worker continues")
    sent = keys(hook)
    assert sent[1] == sent[2], "its outcome is unknown, so it is sent again with its key"
    assert len(set(sent)) == len(sent) - 1
    assert received_rows(hook.bodies) == tables_at_peliqan(services, started)


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
class TestWhichTables:
    @pytest.fixture
    def services(
        self, store: dict[str, str], sandbox: Sandbox, tmp_path: Path, clock: Clock, names: str
    ) -> Iterator[Services]:
        made = create_app(
            make_settings(sandbox.url, tmp_path, **{**store, "dashboard_hook_tables": names}),
            clock=clock,
        )
        with made.app_context():
            yield made.extensions["services"]
            db.session.remove()
            db.engine.dispose()

    @pytest.mark.parametrize(
        "names", ["orders", " Shopify_ORDERS ,nothing", "ｏｒｄｅｒｓ", "or\u00adders\u00a0"]
    )
    def test_those_that_are_named_with_or_without_the_connectors_name_in_any_case(
        self, services: Services, sandbox: Sandbox, hook: Receiver
    ) -> None:
        connection = connect(sandbox)
        deliver_new_connection(connection.account_id, connection.id, WHO)
        work(services)
        assert set(received_rows(hook.bodies)) == {"shopify_orders"}

    @pytest.mark.parametrize("names", ["nothing"])
    def test_where_it_has_none_of_them_that_is_said(
        self, services: Services, sandbox: Sandbox, hook: Receiver
    ) -> None:
        connection = connect(sandbox)
        deliver_new_connection(connection.account_id, connection.id, WHO)
        work(services)
        assert hook.bodies == [{**hook.bodies[0], "complete": True, "tables": [], "rows": 0}]
        assert (
            hook.bodies[0]["remarks"]
            == the_delivery().remarks
            == ["It has no table that DASHBOARD_HOOK_TABLES names."]
        )


def test_a_lost_message_is_made_good_by_the_next_tick(
    services: Services, started: Any, clock: Clock
) -> None:
    services.queues["deliveries"].storage.flush_queue()
    clock.move(minutes=2)
    dispatch.every_minute()
    assert services.queues["deliveries"].pending_count() == 1
