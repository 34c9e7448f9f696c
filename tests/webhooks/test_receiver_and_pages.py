"""The webhook receiver and the administrators' page of events; on both databases."""

import inspect
import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from dashboard.app import create_app
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.peliqan.webhooks import is_signed
from dashboard.settings import Settings, SettingsError, read_settings
from dashboard.webhooks import retention as event_retention
from dashboard.webhooks.limits import EVENTS_KEPT_FOR
from dashboard.webhooks.models import WebhookEvent
from dashboard.webhooks.service import EventBatcher
from dashboard.webhooks.tasks import process_events, read_reported
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings
from tests.support.webhook_sender import ADDRESS, SECRET, made, post, sign

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("nothing_is_due")]


HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def peliqan(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def unsigned(
    app: Flask, store: dict[str, str], sandbox: Sandbox, tmp_path: Path, clock: Clock
) -> FlaskClient:
    """A console without a secret, on the same database."""
    return create_app(
        make_settings(sandbox.url, tmp_path, **{**store, "peliqan_webhook_secret": ""}), clock=clock
    ).test_client()


def stored(app: Flask) -> list[WebhookEvent]:
    with app.app_context():
        found = list(db.session.scalars(select(WebhookEvent).order_by(WebhookEvent.id)))
        db.session.expunge_all()
    return found


def work(app: Flask, services: Services) -> None:
    """Process the events as a worker does."""
    with app.app_context():
        process_events()
        read_reported()


def test_a_signed_event_is_kept_as_it_came_and_answered_with_nothing(
    app: Flask, peliqan: FlaskClient, sandbox: Sandbox
) -> None:
    sent = made(sandbox.healthy, "pipeline_run_started", 7, "RUNNING")
    response = post(peliqan, sent)
    assert (response.status_code, response.data) == (204, b"")
    assert "Set-Cookie" not in response.headers
    (event,) = stored(app)
    assert (event.key, event.event, event.status, event.state, event.times) == (
        sent["event_id"], "pipeline_run_started", "RUNNING", "waiting", 1,
    )  # fmt: skip
    assert (event.account_id, event.connection_id, event.run_id) == (
        sandbox.healthy.account_id,
        sandbox.healthy.id,
        7,
    )
    assert event.sent_at == datetime.fromisoformat(sent["timestamp"])
    assert json.loads(event.body) == sent


@pytest.mark.parametrize("written", ["{}", "sha256={}", " {} ", "SHA256={}"])
def test_the_signature_may_have_its_algorithm_in_front(
    peliqan: FlaskClient, sandbox: Sandbox, written: str
) -> None:
    body = json.dumps(made(sandbox.healthy, "connection_added")).encode()
    assert (
        post(peliqan, body, **{"X-Peliqan-Signature": written.format(sign(body))}).status_code
        == 204
    )
    assert (
        post(
            peliqan, body, **{"X-Peliqan-Signature": written.format(sign(body).upper())}
        ).status_code
        == 204
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Other": "1"},
        {"X-Peliqan-Signature": ""},
        {"X-Peliqan-Signature": "sha256="},
        {"X-Peliqan-Signature": "0" * 64},
        {"X-Peliqan-Signature": sign(b"{}", "another secret")},
        {"X-Peliqan-Signature": sign(b"{}")[:-1]},
        {"X-Peliqan-Signature": sign(b"{}") + "0"},
        {"X-Peliqan-Signature": "sha1=" + sign(b"{}")},
        {"X-Peliqan-Signature": "\u00fc\u00fc"},
        {"X-Hub-Signature-256": "sha256=" + sign(b"{}")},
    ],
)
def test_what_is_not_signed_with_the_secret_is_refused_and_not_kept(
    app: Flask, peliqan: FlaskClient, headers: dict[str, str]
) -> None:
    response = post(peliqan, b"{}", **headers)
    assert (response.status_code, response.json["error"]) == (401, "bad_signature")  # type: ignore[index]
    assert SECRET not in response.text
    assert stored(app) == []


def test_the_signature_is_of_the_raw_body_to_the_last_byte(
    app: Flask, peliqan: FlaskClient
) -> None:
    body = b'{"event": "connection_added",  "z": 1, "a": "\xc3\xa9"}\n'
    assert post(peliqan, body, **{"X-Peliqan-Signature": sign(body)}).status_code == 204
    for other in (
        body.strip(),
        body.replace(b"  ", b" "),
        json.dumps(json.loads(body)).encode(),
        body + b" ",
    ):
        assert post(peliqan, other, **{"X-Peliqan-Signature": sign(body)}).status_code == 401
    assert [event.body.encode() for event in stored(app)] == [body]


def test_an_unsigned_body_is_not_even_read(app: Flask, peliqan: FlaskClient) -> None:
    for body in (b"not json", b"[]", b"\xff"):
        assert post(peliqan, body, **{"X-Other": "1"}).status_code == 401


def test_the_signature_is_compared_in_constant_time() -> None:
    source = inspect.getsource(is_signed)
    assert "hmac.compare_digest" in source
    assert "==" not in source


def test_the_headers_name_is_a_setting(
    app: Flask, store: dict[str, str], sandbox: Sandbox, tmp_path: Path, clock: Clock
) -> None:
    changed = make_settings(
        sandbox.url, tmp_path, **store, peliqan_webhook_header="X-Hub-Signature-256"
    )
    client = create_app(changed, clock=clock).test_client()
    body = b'{"event": "connection_added"}'
    assert post(client, body, **{"X-Hub-Signature-256": "sha256=" + sign(body)}).status_code == 204
    assert post(client, body, **{"X-Peliqan-Signature": sign(body)}).status_code == 401


def test_the_secret_is_in_no_text_of_the_settings_and_a_header_must_be_one(tmp_path: Path) -> None:
    good = {"SECRET_KEY": "s" * 40, "PELIQAN_PARTNER_TOKEN": "t"}
    found = read_settings({**good, "PELIQAN_WEBHOOK_SECRET": SECRET}, tmp_path / "none")
    assert found.peliqan_webhook_secret == SECRET
    assert SECRET not in repr(found)
    with pytest.raises(SettingsError, match="PELIQAN_WEBHOOK_HEADER"):
        read_settings({**good, "PELIQAN_WEBHOOK_HEADER": "X Signature:"}, tmp_path / "none")
    assert Settings.model_fields["peliqan_webhook_secret"].repr is False


def test_without_a_secret_unsigned_events_are_taken(app: Flask, unsigned: FlaskClient) -> None:
    assert post(unsigned, b'{"event": "connection_added"}', **{"X-Other": "1"}).status_code == 204
    assert len(stored(app)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"[{}]",
        b'"text"',
        b"1",
        b"null",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a": "\x00"}',
        b'{"a"',
    ],
)
def test_what_is_no_json_object_is_refused_and_not_kept(
    app: Flask, peliqan: FlaskClient, body: bytes
) -> None:
    response = post(peliqan, body)
    assert (response.status_code, response.json["error"]) == (400, "bad_event")  # type: ignore[index]
    assert stored(app) == []


def test_a_body_of_more_than_256_kilobytes_is_refused_and_one_of_less_is_not(
    app: Flask, peliqan: FlaskClient
) -> None:
    around = b'{"event": "connection_added", "more": "%s"}'
    fits, too_large = (around % (b"x" * (256 * 1024 - len(around) + more)) for more in (2, 3))
    assert post(peliqan, too_large).status_code == 413
    assert stored(app) == []
    assert post(peliqan, fits).status_code == 204


def test_the_same_event_counts_once_however_often_it_comes(
    app: Flask, peliqan: FlaskClient, sandbox: Sandbox
) -> None:
    sent = made(sandbox.healthy, "pipeline_run_completed", 7)
    assert {post(peliqan, sent).status_code for _ in range(3)} == {204}
    # A proxy may rewrite the JSON: another body, but the same event.
    assert post(peliqan, json.dumps(sent, indent=1).encode()).status_code == 204
    (event,) = stored(app)
    assert event.times == 4


def test_without_an_id_the_body_tells_events_apart(app: Flask, peliqan: FlaskClient) -> None:
    for number in (1, 1, 2):
        post(peliqan, {"event": "connection_added", "server_id": number})
    post(peliqan, {"event": "connection_added", "event_id": "x" * 129})
    assert [(event.times, len(event.key)) for event in stored(app)] == [(2, 64), (1, 64), (1, 64)]


def test_many_that_come_at_once_are_all_kept(app: Flask, sandbox: Sandbox) -> None:
    bodies = [
        json.dumps(made(sandbox.healthy, "pipeline_run_started", number)).encode()
        for number in range(200)
    ]
    clients = [app.test_client() for _ in range(16)]

    def send(index: int) -> set[int]:
        return {post(clients[index], body).status_code for body in bodies[index::16] + bodies[:3]}

    with ThreadPoolExecutor(16) as pool:
        assert set.union(*pool.map(send, range(16))) == {204}
    found = {event.run_id: event.times for event in stored(app)}
    assert len(found) == 200
    assert {found[number] for number in range(3)} == {17}
    assert {times for run_id, times in found.items() if run_id is not None and run_id >= 3} == {1}


def test_a_write_that_fails_is_told_to_all_it_was_for_and_holds_up_nobody_after_it(
    app: Flask, clock: Clock
) -> None:
    batcher = EventBatcher()
    outcomes: list[str | None] = []
    with app.app_context():
        engine = db.engine

    def send(key: str, received_at: datetime | None) -> None:
        row = {
            "key": key,
            "received_at": received_at,
            "sent_at": None,
            "event": "",
            "status": "",
            "body": "{}",
        }
        try:
            batcher.store(
                engine, {**row, "account_id": None, "connection_id": None, "run_id": None}
            )
        except IntegrityError:
            outcomes.append(None)
        else:
            outcomes.append(key)

    times = [None if number % 10 == 0 else clock() for number in range(60)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(send, map("key {}".format, range(60)), times, timeout=60))
    send("the last", clock())
    assert len(outcomes) == 61
    assert {event.key for event in stored(app)} == {key for key in outcomes if key is not None}
    assert "the last" in outcomes


def test_a_body_that_does_not_say_how_long_it_is_is_read_to_the_limit_and_no_further(
    app: Flask, peliqan: FlaskClient
) -> None:
    for size, expected in ((1000, 204), (257 * 1024, 413)):
        body = json.dumps({"event": "connection_added", "more": "x" * size}).encode()
        response = peliqan.post(
            ADDRESS,
            input_stream=io.BytesIO(body),
            headers={"X-Peliqan-Signature": sign(body)},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert response.status_code == expected
    assert len(stored(app)) == 1


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sent=st.dictionaries(
        st.sampled_from(
            [
                "event",
                "event_id",
                "timestamp",
                "account_id",
                "server_id",
                "pipeline_run_id",
                "status",
            ]
        ),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=200)
        | st.lists(st.integers(), max_size=2),
    )
)
def test_whatever_the_fields_hold_an_object_is_kept_and_worked_through(
    app: Flask, services: Services, peliqan: FlaskClient, sent: dict[str, Any]
) -> None:
    assert post(peliqan, json.dumps(sent).encode()).status_code == 204
    with app.app_context():
        process_events()
        assert not db.session.scalar(select(func.count()).where(WebhookEvent.applied_at.is_(None)))


def test_an_event_that_nobody_knows_is_kept_and_ignored(
    app: Flask, services: Services, peliqan: FlaskClient, sandbox: Sandbox
) -> None:
    for name in ("table_created", "pipeline_run_dreamt_of", ""):
        assert post(peliqan, made(sandbox.healthy, name)).status_code == 204
    before = sandbox.state()["calls"]
    work(app, services)
    assert {event.state for event in stored(app)} == {"ignored"}
    assert sandbox.state()["calls"] == before


def test_the_page_says_that_nothing_came_and_which_address_to_enter(adam: Person) -> None:
    text = words(adam.get("/webhooks"))
    assert "No event has come yet" in text
    assert "http://localhost/webhooks/peliqan" in text
    assert "A secret is set" in text
    assert SECRET not in text


def test_the_page_says_when_no_secret_is_set(unsigned: FlaskClient) -> None:
    assert "No secret is set" in words(Person(unsigned, "adam@example.com").get("/webhooks"))


def test_the_page_says_that_events_were_refused(
    adam: Person, peliqan: FlaskClient, clock: Clock
) -> None:
    assert "Last refused" not in words(adam.get("/webhooks"))
    for _ in range(3):
        post(peliqan, b"{}", **{"X-Peliqan-Signature": "0" * 64})
    assert "Last refused" in words(adam.get("/webhooks"))


def test_the_list_is_searched_filtered_and_has_its_twins(
    app: Flask, services: Services, adam: Person, peliqan: FlaskClient, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    post(peliqan, made(connection, "table_created"))
    post(peliqan, made(connection, "pipeline_run_started", 2**40, "RUNNING"))
    work(app, services)
    post(peliqan, made(connection, "connection_added"))
    rows = adam.json("/webhooks.json")["items"]
    assert [(row["event"], row["state"]) for row in rows] == [
        ("connection_added", "waiting"),
        ("pipeline_run_started", "done"),
        ("table_created", "ignored"),
    ]
    for query, expected in {
        "state=ignored": ["table_created"],
        "event=connection_added": ["connection_added"],
        f"q={2**40}": ["pipeline_run_started"],
        f"connection={connection.id}&sort=event": [
            "connection_added",
            "pipeline_run_started",
            "table_created",
        ],
        "q=table": ["table_created"],
    }.items():
        assert [
            row["event"] for row in adam.json(f"/webhooks.json?{query}")["items"]
        ] == expected, query
    assert "pipeline_run_started" in adam.client.get("/webhooks.csv").text
    page = adam.get("/webhooks")
    assert page.select_one(f'a[href="{path_of(connection)}"]') is not None
    assert "Nothing matches" in words(adam.get("/webhooks?q=zzzz"))


def test_an_event_is_shown_with_its_body_and_nothing_in_it_is_markup(
    adam: Person, peliqan: FlaskClient, app: Flask
) -> None:
    post(
        peliqan,
        {
            "event": HOSTILE,
            "event_id": HOSTILE,
            "status": HOSTILE,
            "deep": {"a": [1, HOSTILE, "é"]},
        },
    )
    (event,) = stored(app)
    for path in ("/webhooks", f"/webhooks/{event.id}"):
        adam.get(path)
        assert HOSTILE not in adam.client.get(path).text
    body = adam.get(f"/webhooks/{event.id}").select_one("pre")
    assert body is not None
    assert json.loads(body.text)["deep"] == {"a": [1, HOSTILE, "é"]}
    assert '\n  "deep": {' in body.text
    adam.get("/webhooks/999999", 404)


def test_a_replay_is_worked_through_again_and_stands_in_the_audit_trail(
    app: Flask, services: Services, adam: Person, peliqan: FlaskClient, sandbox: Sandbox
) -> None:
    post(peliqan, made(sandbox.healthy, "pipeline_run_completed", 2**40, "COMPLETED"))
    work(app, services)
    (event,) = stored(app)
    assert event.state == "done"
    response = adam.post(f"/webhooks/{event.id}/replay", page=f"/webhooks/{event.id}")
    assert (response.status_code, response.location) == (303, f"/webhooks/{event.id}")
    (event,) = stored(app)
    assert (event.state, event.settled_at, event.times) == ("waiting", None, 1)
    with app.app_context():
        entry = db.session.scalars(
            select(AuditEntry).where(AuditEntry.what == "replay_webhook")
        ).one()
        assert (entry.who, entry.connection_id) == ("adam@example.com", sandbox.healthy.id)
    work(app, services)
    (event,) = stored(app)
    assert event.state == "done"


def test_the_pages_are_for_administrators_and_the_address_for_nobody_signed_in(
    viv: Person, olga: Person, mallory: Person, app: Flask, peliqan: FlaskClient
) -> None:
    post(peliqan, b'{"event": "connection_added"}')
    (event,) = stored(app)
    for person in (viv, olga):
        for path in ("/webhooks", f"/webhooks/{event.id}", "/webhooks.json"):
            assert person.client.get(path).status_code == 403
        assert person.post(f"/webhooks/{event.id}/replay").status_code == 403
    assert mallory.client.get("/webhooks").status_code == 302
    assert stored(app)[0].state == "waiting"
    assert peliqan.get(ADDRESS).status_code == 405


def test_events_are_forgotten_after_two_weeks(
    app: Flask, peliqan: FlaskClient, clock: Clock
) -> None:
    post(peliqan, {"event": "connection_added", "event_id": "old"})
    clock.move(days=14)
    post(peliqan, {"event": "connection_added", "event_id": "new"})
    clock.move(seconds=60)
    with app.app_context():
        assert event_retention.delete_old_events(clock()) == 1
        assert timedelta(days=14) == EVENTS_KEPT_FOR
    assert [event.key for event in stored(app)] == ["new"]
    assert datetime.now(UTC) < clock()
