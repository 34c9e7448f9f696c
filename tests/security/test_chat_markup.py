"""Texts in alerts cause no mention, hidden link or markup in any chat service."""

import smtplib
from collections.abc import Iterator
from email import message_from_string
from typing import Any

import apprise
import pytest
import requests
from bs4 import BeautifulSoup
from flask import Flask
from markdown_it import MarkdownIt
from requests.adapters import HTTPAdapter

from dashboard.alerts import outbox
from dashboard.alerts import sending as alert_delivery
from dashboard.alerts.models import AlertMessage
from dashboard.alerts.tasks import send_alerts
from dashboard.core.database import db
from dashboard.core.egress import AllowedDestination, EgressPolicy
from dashboard.peliqan.models import Account
from dashboard.refresh.writer import save_accounts
from dashboard.reports.since.views import markdown
from tests.security.chat_services import ADDRESSES, DISCORD, LIVE, SLACK, TEXTS, answered, words_of
from tests.support.alert_receiver import Clockwork, Receiver, messages, receive
from tests.support.clock import Clock
from tests.support.factories import refused_fleet

LINK = "https://console.example.com/causes/17"
MARK = "marked"
SOME = TEXTS[::4]
# Every service; requests to it are captured by the test.
HERE = EgressPolicy(
    AllowedDestination.read(f"{address.partition(':')[0]}://{host}")
    for address in (*ADDRESSES, "json:", "mailto:", "https:")
    for host in ("", "127.0.0.1")
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as receiver:
        yield receiver


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> list[requests.PreparedRequest]:
    """Capture requests to services on the internet; let those to the test's receiver pass."""
    found: list[requests.PreparedRequest] = []
    send = HTTPAdapter.send

    def record(
        self: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **more: Any
    ) -> requests.Response:
        if f"127.0.0.1:{receiver.server.server_port}/" in (request.url or ""):
            return send(self, request, *args, **more)
        found.append(request)
        return answered(request)

    monkeypatch.setattr(HTTPAdapter, "send", record)
    # Without the services' own throttling, which would take minutes.
    monkeypatch.setattr(apprise.URLBase, "throttle", lambda *_, **__: None)
    return found


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_text_is_acted_upon_by_a_chat_service(
    address: str, sent: list[requests.PreparedRequest]
) -> None:
    for text in TEXTS:
        sent.clear()
        body = f"{text} {MARK} has it.\nFor example: {text}, x{text}{text}\n\n{LINK}"
        assert (
            alert_delivery.send(address, f"Critical: {text} {MARK}", body, policy=HERE) is None
        ), address
        words = [word for request in sent for word in words_of(request)]
        assert sum(MARK in word for word in words) in (1, 2), words
        assert any(LINK in word.replace("\\", "") for word in words), words
        live = [(LIVE.search(word), word) for word in words if LIVE.search(word)]
        assert not live, f"{text}: {live}"
        assert not any(
            key in str(request.body)
            for request in sent
            for key in ('"allow_mentions"', '"entities"')
        )


def test_words_without_markup_reach_every_service_as_they_are(
    sent: list[requests.PreparedRequest],
) -> None:
    text = "401 invalid_grant (a, b) for R&D, 5% of x/y: *not* valid ‘é’"
    for address in ADDRESSES:
        if "mdv=2" in address or "format=html" in address:
            continue
        sent.clear()
        alert_delivery.send(address, "Title", text, policy=HERE)
        words = [word.replace("&amp;", "&") for request in sent for word in words_of(request)]
        assert any(text in word for word in words), (address, words)


@pytest.mark.parametrize("text", TEXTS)
def test_a_receiver_of_json_gets_the_words_unchanged(text: str, receiver: Receiver) -> None:
    assert alert_delivery.send(receiver.address, text, f"{text}\n\n{LINK}", policy=HERE) is None
    assert (receiver.got[0]["title"], receiver.got[0]["message"]) == (text, f"{text}\n\n{LINK}")


@pytest.mark.parametrize("options", ["", "&format=text", "&format=markdown"])
def test_an_email_holds_every_text_as_text(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Server:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def sendmail(self, _from: str, _to: Any, content: str) -> None:
            written.append(content)

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    monkeypatch.setattr(smtplib, "SMTP", Server)
    for text in TEXTS:
        written.clear()
        body = f"For example: {text}\n\n{LINK}"
        address = f"mailto://bob:pw@127.0.0.1?to=a@example.com&from=b@example.com{options}"
        assert alert_delivery.send(address, "Critical", body, policy=HERE) is None
        parts = {part.get_content_type(): part for part in message_from_string(written[0]).walk()}
        part = parts.get("text/html", parts["text/plain"])
        shown = part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        if part.get_content_type() == "text/html":
            soup = BeautifulSoup(shown, "html.parser")
            assert not soup.find(["a", "img", "at", "script"]), shown
            shown = soup.get_text().replace("\xa0", " ")
        assert f"For example: {text}" in shown


def test_every_kind_of_message_from_the_worker_is_harmless(
    app: Flask, clock: Clock, receiver: Receiver, sent: list[requests.PreparedRequest]
) -> None:
    with app.app_context():
        worker = Clockwork(app.extensions["services"], clock, receiver)
        ids = _save_errors(clock, "")
        worker.at("09:00")
        rule_ids = _create_rules(worker, receiver)
        _save_errors(clock, "401 {} " + MARK)
        named = zip(ids, SOME, strict=True)
        save_accounts(
            [Account(id=id, name=f"{text} {MARK}", external_id=f"made-{id}") for id, text in named],
            clock(),
        )
        db.session.commit()
        _send_until_digest(worker)
        _save_errors(clock, "")
        _send_until_digest(worker)
        stored = messages(AlertMessage.rule_id.in_(rule_ids), AlertMessage.state != outbox.DROPPED)
        assert {message.state for message in stored} == {outbox.SENT}
        kinds = {
            message.key.rpartition("/")[2] if message.cause_id else message.key.partition("/")[0]
            for message in stored
        }
        assert kinds == {"new", "recovered", "digest", "test"}
        db.session.remove()
    # The rule for other tests sends JSON.
    chats = [request for request in sent if ":9/" not in (request.url or "")]
    for texts in (
        [message["text"] for message in receiver.got],
        [text for request in chats for text in words_of(request)],
    ):
        assert len(texts) > 2 * len(SOME)
        assert any(MARK in text for text in texts)
        live = [(LIVE.search(text), text) for text in texts if LIVE.search(text)]
        assert not live, live[:3]


def _save_errors(clock: Clock, error: str) -> list[int]:
    """Store the error, with each text in place of ``{}``; return each first account's id.

    An empty error lets the connections recover.
    """
    return [
        refused_fleet(clock, 2, error.format(text), f"{text}{n}", first=600_000 + 10 * n)[0]
        for n, text in enumerate(SOME)
    ]


def _create_rules(worker: Clockwork, receiver: Receiver) -> list[int]:
    """Create two rules for each chat service, and send a test message by the second."""
    mattermost = f"mmost://127.0.0.1:{receiver.server.server_port}/aaaaaaaaaaaaaaaaaaaaaaaaaa"
    options: dict[str, Any] = {
        "sends": (outbox.NEW, outbox.RECOVERED, outbox.DIGEST),
        "severity": "info",
        "digest_at": 10 * 60,
    }
    rule_ids: list[int] = []
    for address in (
        mattermost,
        SLACK,
        f"{DISCORD}?format=markdown",
        "gchat://workspace/key/token/",
    ):
        rule_ids.append(worker.rule(address=address, **options).id)
        rule = worker.rule(
            address=address,
            name="@here <!here> [x](https://evil.example)",
            account="made-600000",
            **options,
        )
        rule_ids.append(rule.id)
        assert alert_delivery.send_test(worker.services, rule, "adam@example.com", None) is None
    return rule_ids


def _send_until_digest(worker: Clockwork) -> None:
    """Send alerts four times, 6 minutes apart, and once more at 10:00, the digest's time."""
    for _ in range(4):
        worker.clock.move(minutes=6)
        _send(worker)
    worker.at("10:00")
    worker.clock.move()
    _send(worker)


def _send(worker: Clockwork) -> None:
    send_alerts()
    db.session.expire_all()


@pytest.mark.parametrize("text", TEXTS)
def test_a_report_in_markdown_has_every_text_as_text(text: str) -> None:
    soup = BeautifulSoup(
        MarkdownIt("gfm-like", {"linkify": False}).render(f"- Critical: {markdown(text)}"),
        "html.parser",
    )
    assert not soup.find(["a", "img", "code", "at", "em", "strong"]), soup
    assert soup.get_text().replace("\u200b", "").strip() == f"Critical: {text}"
    assert not any(
        word in soup.get_text() for word in ("@everyone", "@here", "@olga", "@channel", "@all")
    )
