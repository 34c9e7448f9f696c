"""Webhooks that a test requests: any event, any number of times, with a wrong signature."""

import hashlib
import hmac
from typing import Any

import pytest

from tests.support.api_caller import Caller
from tests.support.databases import free_port
from tests.support.webhook_target import SECRET, Receiver, counts, posting


def test_an_event_is_sent_on_demand_as_often_and_as_badly_signed_as_asked(
    hooked: Caller, receiver: Receiver
) -> None:
    connection = hooked.find()
    newest = hooked.of(connection, "runs/?per_page=1")["data"][0]["id"]
    receiver.answers = [200, 503]
    requested = {
        "connection_id": connection.id,
        "event": "pipeline_run_error",
        "event_id": "e-1",
        "timestamp": "2026-01-01T00:00:00Z",
    }
    assert hooked.control("webhooks/send", times=3, **requested) == [200, 503, 200]
    bodies = receiver.bodies
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0] == {
        "event": "pipeline_run_error", "event_id": "e-1", "timestamp": "2026-01-01T00:00:00Z",
        "account_id": connection.account_id,
        "server_id": connection.id, "pipeline_run_id": newest, "status": "ERROR",
    }  # fmt: skip
    assert counts(hooked) == {"sent": 2, "failed": 1}
    hooked.control(
        "webhooks/send", bad_signature=True, pipeline_run_id=7, status="ODD", **requested
    )
    signatures = [headers["X-Peliqan-Signature"] for headers, _ in receiver.posts]
    right = [
        hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest() for _, body in receiver.posts
    ]
    assert [a == b for a, b in zip(signatures, right, strict=True)] == [True, True, True, False]
    assert len(signatures[3]) == len(right[3])
    assert (receiver.bodies[3]["pipeline_run_id"], receiver.bodies[3]["status"]) == (7, "ODD")


def test_an_event_on_demand_says_by_itself_what_belongs_to_it(
    hooked: Caller, receiver: Receiver
) -> None:
    connection = hooked.find(failure="expired")
    for event, status in (("pipeline_run_started", "RUNNING"), ("connection_removed", "ERROR")):
        assert hooked.control("webhooks/send", connection_id=connection.id, event=event) == [200]
        assert (receiver.bodies[-1]["event"], receiver.bodies[-1]["status"]) == (event, status)
        assert receiver.bodies[-1]["timestamp"] == hooked.now.isoformat()
    assert len({each["event_id"] for each in receiver.bodies}) == 2
    assert receiver.bodies[1]["pipeline_run_id"] is None


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"connection_id": 7}, 404),
        ({"connection_id": "100101"}, 404),
        ({"event": None}, 400),
        ({"times": 0}, 400),
        ({"times": 101}, 400),
        ({"times": "1"}, 400),
    ],
)
def test_what_cannot_be_sent_on_demand_is_refused(
    hooked: Caller, receiver: Receiver, wrong: dict[str, Any], status: int
) -> None:
    event = {"connection_id": 100101, "event": "connection_added", **wrong}
    assert hooked.client.post("/sandbox/control/webhooks/send", json=event).status_code == status
    assert receiver.posts == []


def test_nothing_is_sent_on_demand_where_there_is_no_address_or_nobody_answers(api: Caller) -> None:
    event = {"connection_id": 100101, "event": "connection_added"}
    assert api.client.post("/sandbox/control/webhooks/send", json=event).status_code == 400
    with posting(webhook_url=f"http://127.0.0.1:{free_port()}/") as other:
        assert other.control("webhooks/send", times=2, **event) == [None, None]
        assert counts(other) == {"sent": 0, "failed": 2}
