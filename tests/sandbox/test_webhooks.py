"""Webhooks of the sandbox: events, times, order, signatures, and unreachable receivers."""

import hashlib
import hmac
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from dashboard.cli import main
from dashboard.sandbox.app import create_sandbox
from dashboard.sandbox.routes.control import ENDS
from dashboard.sandbox.webhooks import Target, Webhooks
from tests.support.api_caller import NOON, PARTNER, Caller
from tests.support.databases import free_port
from tests.support.processes import Processes, answering, make_environ
from tests.support.webhook_target import SECRET, Receiver, posting, receiving, wait_for_counts

KEYS = ["event", "event_id", "timestamp", "account_id", "server_id", "pipeline_run_id", "status"]


def test_a_run_by_hand_is_told_when_it_starts_and_when_it_ends_and_not_before(
    hooked: Caller, receiver: Receiver
) -> None:
    connection = hooked.find()
    hooked.of(connection, "syncdb/")
    receiver.wait_for(1)
    wait_for_counts(hooked, 1, 0)
    hooked.hooks.poll()
    hooked.wait(seconds=6)
    receiver.wait_for(2)
    started, ended = receiver.bodies
    assert [list(each) for each in (started, ended)] == [KEYS, KEYS]
    run = hooked.of(connection, "runs/")["data"][0]
    where = {
        "account_id": connection.account_id,
        "server_id": connection.id,
        "pipeline_run_id": run["id"],
    }
    assert (
        started.items()
        >= {
            "event": "pipeline_run_started",
            "status": "RUNNING",
            "timestamp": NOON.isoformat(),
            **where,
        }.items()
    )
    assert (
        ended.items() >= {"event": "pipeline_run_completed", "status": "COMPLETED", **where}.items()
    )
    assert ended["timestamp"] == run["timestamp_end"]
    assert started["event_id"] != ended["event_id"]
    wait_for_counts(hooked, 2, 0)


def test_each_event_is_signed_over_its_raw_body(hooked: Caller, receiver: Receiver) -> None:
    hooked.of(hooked.find(), "syncdb/")
    receiver.wait_for(1)
    headers, body = receiver.posts[0]
    assert (
        headers["X-Peliqan-Signature"]
        == hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    )
    assert headers["Content-Type"] == "application/json"


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    with posting(webhook_url=receiver.url) as api:
        api.of(api.find(), "syncdb/")
        receiver.wait_for(1)
    assert "X-Peliqan-Signature" not in receiver.posts[0][0]


@pytest.mark.parametrize("outcome", ENDS)
def test_each_end_of_a_run_has_an_event_of_its_own(
    hooked: Caller, receiver: Receiver, outcome: str
) -> None:
    connection = hooked.find()
    hooked.control(f"connections/{connection.id}", next_run=outcome)
    hooked.of(connection, "syncdb/")
    hooked.wait(seconds=6)
    receiver.wait_for(2)
    assert receiver.events == ["pipeline_run_started", f"pipeline_run_{outcome.lower()}"]
    assert receiver.bodies[1]["status"] == outcome


def test_a_run_that_is_stopped_is_told_as_killed(hooked: Caller, receiver: Receiver) -> None:
    connection = hooked.find()
    hooked.control(f"connections/{connection.id}", never_finishes=True)
    hooked.of(connection, "syncdb/")
    hooked.wait(hours=1)
    receiver.wait_for(1)
    hooked.control(f"connections/{connection.id}", never_finishes=False)
    receiver.wait_for(2)
    assert receiver.events[1] == "pipeline_run_killed"
    assert receiver.bodies[1]["timestamp"] == hooked.now.isoformat()


def test_a_connection_from_the_widget_is_told_before_its_first_run(
    hooked: Caller, receiver: Receiver
) -> None:
    form = {"external_id": "somebody-new"}
    token = hooked.client.post(
        "/api/partner/sub-account/integrate/", json=form, headers=PARTNER
    ).json["integration_token"]
    mine = {"Authorization": f"JWT {token}"}
    made = hooked.client.post(
        "/sandbox/widget/connections/", json={"connector": "hubspot"}, headers=mine
    ).json
    hooked.wait(seconds=6)
    receiver.wait_for(3)
    assert receiver.events == ["connection_added", "pipeline_run_started", "pipeline_run_completed"]
    assert {each["server_id"] for each in receiver.bodies} == {made["id"]}
    assert receiver.bodies[0]["pipeline_run_id"] is None


def test_nothing_is_told_of_scheduled_runs(hooked: Caller, receiver: Receiver) -> None:
    connection = hooked.find(interval=3600)
    for _ in range(3):
        hooked.wait(hours=5)
        assert hooked.get("servers/").status_code == 200
        hooked.hooks.poll()
    while hooked.of(connection, "syncdb/status/")["running"]:
        hooked.wait(minutes=5)
    hooked.of(connection, "syncdb/")
    receiver.wait_for(1)
    assert receiver.bodies[0]["server_id"] == connection.id


def test_events_that_one_look_finds_come_in_the_order_of_their_times(
    hooked: Caller, receiver: Receiver
) -> None:
    first, second = [
        each for each in hooked.connections() if each.interval == 86400 and not each.stuck
    ][:2]
    with hooked.life.lock:
        hooked.life.start(first)
        hooked.wait(seconds=6)
        hooked.life.start(second)
        hooked.wait(seconds=6)
    hooked.hooks.start()
    receiver.wait_for(4)
    assert [each["server_id"] for each in receiver.bodies] == [
        first.id,
        first.id,
        second.id,
        second.id,
    ]
    assert len({each["event_id"] for each in receiver.bodies}) == 4


def test_a_post_that_failed_is_tried_again_with_the_same_event(
    hooked: Caller, receiver: Receiver
) -> None:
    assert Webhooks(hooked.life).waits == (1, 2, 4)
    receiver.answers = [500, 302, 503]
    hooked.of(hooked.find(), "syncdb/")
    receiver.wait_for(4)
    assert len({body for _, body in receiver.posts}) == 1
    wait_for_counts(hooked, 1, 0)


def test_after_three_tries_more_it_is_given_up_and_the_next_event_is_sent(
    hooked: Caller, receiver: Receiver
) -> None:
    receiver.answers = [500] * 4
    hooked.of(hooked.find(), "syncdb/")
    receiver.wait_for(4)
    wait_for_counts(hooked, 0, 1)
    hooked.wait(seconds=6)
    receiver.wait_for(5)
    assert receiver.events == ["pipeline_run_started"] * 4 + ["pipeline_run_completed"]
    wait_for_counts(hooked, 1, 1)


def test_a_receiver_that_is_not_there_harms_nothing() -> None:
    with posting(webhook_url=f"http://127.0.0.1:{free_port()}/") as api:
        api.of(api.find(), "syncdb/")
        wait_for_counts(api, 0, 1)


def test_more_events_than_can_wait_are_counted_as_failed(
    api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.sandbox.webhooks.MOST_WAITING", 3)
    hooks = Webhooks(api.life, "http://127.0.0.1:9/")
    for connection in [
        each for each in api.connections() if each.interval == 86400 and not each.stuck
    ][:5]:
        api.life.start(connection)
    hooks.poll()
    assert (hooks.sent, hooks.failed) == (0, 2)


def test_an_address_that_is_given_later_hears_of_what_happens_from_then_on(
    receiver: Receiver,
) -> None:
    with posting() as api:
        connection = api.find()
        api.of(connection, "syncdb/")
        assert api.control("webhooks", url=receiver.url, secret=SECRET) == {
            "url": receiver.url,
            "signed": True,
        }
        api.wait(seconds=6)
        receiver.wait_for(1)
        assert receiver.events == ["pipeline_run_completed"]
        with receiving() as other:
            assert api.control("webhooks", url=other.url) == {"url": other.url, "signed": False}
            api.of(connection, "syncdb/")
            other.wait_for(1)
        assert api.control("webhooks") == {"url": None, "signed": False}
        api.wait(seconds=6)
        api.hooks.poll()
        api.control("webhooks", url=receiver.url)
        api.of(connection, "syncdb/")
        receiver.wait_for(2)
        assert receiver.events[1] == "pipeline_run_started"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80", "https://", "/webhooks"])
def test_an_address_that_nothing_can_be_posted_to_is_refused(api: Caller, url: str) -> None:
    assert api.client.post("/sandbox/control/webhooks", json={"url": url}).status_code == 400
    with pytest.raises(ValueError, match="http"):
        create_sandbox(webhook_url=url)
    result = CliRunner().invoke(main, ["sandbox", "--webhook-url", url])
    assert (result.exit_code, "begins with http:// or https://" in result.output) == (2, True)


def test_a_reset_forgets_what_was_sent_and_goes_back_to_the_first_address(
    hooked: Caller, receiver: Receiver
) -> None:
    connection = hooked.find()
    before = hooked.client.get("/sandbox/control/state").json
    with receiving() as other:
        hooked.control("webhooks", url=other.url)
        hooked.of(connection, "syncdb/")
        wait_for_counts(hooked, 1, 0)
        hooked.control("reset")
        assert hooked.client.get("/sandbox/control/state").json == before
        hooked.wait(seconds=6)
        hooked.of(connection, "syncdb/")
        receiver.wait_for(1)
        assert receiver.events == ["pipeline_run_started"]
        assert len(other.posts) == 1


def test_what_waits_for_one_address_is_never_sent_to_another(receiver: Receiver) -> None:
    with receiving() as other, posting(webhook_url=other.url) as api:
        api.hooks.waits = (0.2,) * 3
        other.answers = [500] * 4
        api.of(api.find(), "syncdb/")
        other.wait_for(1)
        api.control("webhooks", url=receiver.url)
        api.wait(seconds=6)
        receiver.wait_for(1)
        assert receiver.events == ["pipeline_run_completed"]
        assert len(other.posts) == 1


def test_the_secret_is_shown_nowhere(hooked: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [hooked.client.get("/sandbox/control/state"), hooked.client.get("/")]
    answers.append(
        hooked.client.post(
            "/sandbox/control/webhooks", json={"url": "http://127.0.0.1:9/", "secret": SECRET}
        )
    )
    assert all(SECRET not in each.text for each in answers)
    assert SECRET not in repr(Target("http://127.0.0.1:9/", SECRET))
    monkeypatch.setenv("SANDBOX_WEBHOOK_SECRET", SECRET)
    assert SECRET not in CliRunner().invoke(main, ["sandbox", "--help"]).output


def test_the_process_that_serves_is_the_one_that_posts(receiver: Receiver, tmp_path: Path) -> None:
    port = free_port()
    processes = Processes({**make_environ("", tmp_path), "SANDBOX_WEBHOOK_SECRET": SECRET})
    try:
        options = [
            f"--port={port}",
            "--accounts=5",
            "--run-seconds=0,0",
            f"--webhook-url={receiver.url}",
        ]
        processes.start(*options, module="dashboard.sandbox")
        url = answering(f"http://127.0.0.1:{port}", "/")
        identity = requests.get(
            f"{url}/api/partner/sub-account/identity/?account_id=1001", headers=PARTNER, timeout=30
        ).json()
        mine = {"Authorization": f"JWT {identity['token']}"}
        quiet = create_sandbox(5).extensions["sandbox"].life.connections(1001)
        started = [
            requests.get(f"{url}/api/servers/{each.id}/syncdb/", headers=mine, timeout=30)
            for each in quiet
        ]
        count = 2 * sum(each.status_code == 200 for each in started)
        assert count
        receiver.wait_for(count)
        assert receiver.events.count("pipeline_run_started") == count / 2
    finally:
        processes.end_all()
    assert "X-Peliqan-Signature" in receiver.posts[0][0]


def test_it_begins_with_the_first_request_and_only_where_there_is_an_address(
    receiver: Receiver,
) -> None:
    with posting(webhook_url=receiver.url) as api:
        assert api.hooks._threads == []
        api.partner("sub-accounts/")
        threads = api.hooks._threads
        assert all(thread.is_alive() and thread.daemon for thread in threads)
        api.partner("sub-accounts/")
        assert api.hooks._threads is threads
    assert not any(thread.is_alive() for thread in threads)
    api = Caller()
    api.partner("sub-accounts/")
    assert api.hooks._threads == []
