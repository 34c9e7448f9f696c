"""Pages of alert rules and messages: for administrators only, and without addresses."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.alerts.tasks import send_alerts
from dashboard.context import Services
from dashboard.core.database import db
from tests.support.alert_receiver import RECEIVERS, SECRET, Receiver, receive
from tests.support.clock import Clock
from tests.support.factories import refused_fleet
from tests.support.people import Person, words


@pytest.fixture
def store(store: dict[str, str]) -> dict[str, str]:
    """Allow the receiver's address as a destination."""
    return {**store, **RECEIVERS}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as receiver:
        yield receiver


def save(adam: Person, receiver: Receiver, path: str = "/alerts", **fields: Any) -> Any:
    form = {
        "name": "Support on call",
        "address": receiver.address,
        "severity": "critical",
        "zone": "Europe/Brussels",
    }
    return adam.post(path, page="/alerts/new", **{**form, "sends": ["new", "recovered"], **fields})


def rules(adam: Person) -> list[dict[str, Any]]:
    return list(adam.json("/alerts.json")["items"])


def create_quiet_rule(adam: Person, receiver: Receiver) -> dict[str, Any]:
    """Create a rule with quiet hours, a digest and one account; return its JSON."""
    response = save(
        adam,
        receiver,
        quiet_from="22:00",
        quiet_to="07:00",
        sends=["new", "digest"],
        digest_at="08:30",
        account="cust-00001",
    )
    assert (response.status_code, response.location) == (303, "/alerts")
    [rule] = rules(adam)
    assert (rule["quiet_from"], rule["digest_at"], rule["account_id"], rule["created_by"]) == (
        "22:00",
        "08:30",
        1001,
        "adam@example.com",
    )
    return rule


def check_shown(adam: Person, rule: dict[str, Any]) -> None:
    """Check the rule's texts in the list, and its form, which omits the stored address."""
    shown = words(adam.get("/alerts"))
    for text in (
        "Support on call", "JSON (json://) at 127.0.0.1", "New causes", "Morning digest",
        "Quiet 22:00 to 07:00", "Digest at 08:30", "Europe/Brussels", "Amber Foods BV",
    ):  # fmt: skip
        assert text in shown
    page = adam.get(f"/alerts/{rule['id']}")
    assert page.select_one("#quiet_from")["value"] == "22:00"  # type: ignore[index]
    assert page.select_one("#address").get("value") is None  # type: ignore[union-attr]


def change_rule(adam: Person, receiver: Receiver, rule: dict[str, Any]) -> None:
    """Change the rule without its address, and remove its quiet hours and its account."""
    response = save(
        adam,
        receiver,
        f"/alerts/{rule['id']}",
        address="",
        name="Renamed",
        severity="warning",
        connector="shopify",
    )
    assert response.status_code == 303
    [changed] = rules(adam)
    fields = ("name", "severity", "connector", "quiet_from", "account_id")
    assert [changed[name] for name in fields] == ["Renamed", "warning", "shopify", None, None]


def test_a_rule_is_made_shown_changed_switched_off_and_deleted(
    adam: Person, receiver: Receiver
) -> None:
    assert "Nobody is told of anything yet" in words(adam.get("/alerts"))
    rule = create_quiet_rule(adam, receiver)
    check_shown(adam, rule)
    change_rule(adam, receiver, rule)
    adam.post(f"/alerts/{rule['id']}/switch", to="off")
    assert rules(adam)[0]["on"] is False
    assert "Switch on" in words(adam.get("/alerts"))
    adam.post(f"/alerts/{rule['id']}/test")
    assert receiver.titles == ["Test of the Partner Console's alerts"]  # with the stored address
    adam.post(f"/alerts/{rule['id']}/delete")
    assert rules(adam) == []
    audited = [(entry["what"], entry["result"]) for entry in adam.json("/audit.json")["items"]]
    for action in (
        "create_alert_rule",
        "change_alert_rule",
        "test_alert_rule",
        "delete_alert_rule",
    ):
        assert (action, "done") in audited


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"address": "slack://nothing"}, "Apprise cannot read that address"),
        ({"address": ""}, "Type the address"),
        ({"address": "syslog://"}, "own machine, not to people"),
        ({"name": "  "}, "Give the rule a name"),
        ({"sends": []}, "Choose what the rule sends"),
        ({"sends": ["recovered"]}, "choose new causes as well"),
        ({"severity": "terrible"}, "Choose from which severity"),
        ({"zone": "Belgium/Ghent"}, "is no time zone"),
        ({"quiet_from": "22:00"}, "both a beginning and an end"),
        ({"quiet_from": "22:00", "quiet_to": "22:00"}, "switch the rule off"),
        ({"quiet_from": "25:00", "quiet_to": "07:00"}, "is no time of day"),
        ({"quiet_from": "x", "quiet_to": "07:00"}, "is no time of day"),
        ({"sends": ["digest"], "digest_at": ""}, "at what time the digest"),
        ({"account": "nobody"}, "No account has the id"),
    ],
)
def test_a_wrong_rule_is_refused_with_a_sentence_and_the_rest_of_the_form_is_kept(
    adam: Person, receiver: Receiver, fields: dict[str, Any], error: str
) -> None:
    answer = save(adam, receiver, **{"name": "Kept name", "connector": "shopify", **fields})
    assert answer.status_code == 400
    assert error in answer.text
    assert SECRET not in answer.text
    assert "slack://nothing" not in answer.text
    assert 'value="shopify" selected' in answer.text
    assert rules(adam) == []


def test_a_wrong_change_leaves_the_rule_as_it_was(adam: Person, receiver: Receiver) -> None:
    save(adam, receiver)
    before = rules(adam)
    assert (
        save(
            adam,
            receiver,
            f"/alerts/{before[0]['id']}",
            address="xml://elsewhere",
            account="nobody",
        ).status_code
        == 400
    )
    assert rules(adam) == before


def test_a_test_says_how_it_went(adam: Person, receiver: Receiver) -> None:
    save(adam, receiver)
    [rule] = rules(adam)
    adam.post(f"/alerts/{rule['id']}/test")
    assert "was sent" in words(adam.get("/alerts"))
    assert "adam@example.com tried the rule “Support on call” on " in receiver.got[0]["message"]
    receiver.status = 401
    adam.post(f"/alerts/{rule['id']}/test")
    shown = words(adam.get("/alerts"))
    assert (
        "was not sent. The place answered 401:"
        " the address's token or password is not valid any more." in shown
    )
    assert [each["state"] for each in adam.json("/alerts/messages.json")["items"]] == [
        "failed",
        "sent",
    ]


def test_what_could_not_be_sent_is_shown_and_sent_again_by_hand(
    adam: Person, app: Flask, services: Services, clock: Clock, receiver: Receiver
) -> None:
    assert "No alert was sent yet" in words(adam.get("/alerts/messages"))
    save(adam, receiver)
    receiver.status = 500
    with app.app_context():
        refused_fleet(clock, 3)
        for minutes in (6, 2, 6, 31):
            clock.move(minutes=minutes)
            send_alerts()
    [message] = adam.json("/alerts/messages.json?state=failed")["items"]
    assert (message["tries"], message["error"]) == (4, "The place answered 500: it is in trouble.")
    page = adam.get("/alerts/messages")
    assert page.select_one(f"a[href='/causes/{message['cause_id']}']") is not None
    assert "Critical: Access is refused: made_up (3 customers)" in words(page)
    receiver.status = 200
    # The clock is an hour later: the first session has expired.
    again = Person(app.test_client(), "adam@example.com")
    response = again.post(f"/alerts/messages/{message['id']}/send")
    assert (response.status_code, response.location) == (303, "/alerts/messages")
    assert "It was sent." in words(again.get("/alerts/messages"))
    assert receiver.titles == ["Critical: Access is refused: made_up (3 customers)"]
    again.post(f"/alerts/messages/{message['id']}/send")
    assert "nothing to send" in words(again.get("/alerts/messages"))
    assert len(receiver.titles) == 1
    assert "Send again" not in words(again.get("/alerts/messages"))


def test_no_page_twin_or_audit_entry_holds_a_part_of_the_address(
    adam: Person, app: Flask, services: Services, clock: Clock, receiver: Receiver
) -> None:
    save(adam, receiver)
    [rule] = rules(adam)
    receiver.status = 500
    with app.app_context():
        refused_fleet(clock, 3, error=f"401 token={SECRET}")
        clock.move(minutes=6)
        send_alerts()
    adam.post(f"/alerts/{rule['id']}/test")
    save(adam, receiver, f"/alerts/{rule['id']}", zone="nowhere")
    adam.post(f"/alerts/{rule['id']}/switch", to="off")
    for path in (
        "/alerts", "/alerts.json", "/alerts.csv", f"/alerts/{rule['id']}", "/alerts/messages",
        "/alerts/messages.json", "/alerts/messages.csv", "/audit", "/audit.json",
    ):  # fmt: skip
        assert SECRET not in adam.client.get(path).text, path
    with app.app_context():
        for message in db.session.scalars(select(AlertMessage)):
            assert SECRET not in f"{message.subject} {message.body} {message.error}"
        assert receiver.address not in str(db.session.execute(select(AlertRule.__table__)).all())


@pytest.mark.parametrize(
    "path",
    [
        "/alerts",
        "/alerts.json",
        "/alerts/new",
        "/alerts/1",
        "/alerts/messages",
        "/alerts/messages.csv",
    ],
)
def test_only_administrators_see_alerts(
    viv: Person, olga: Person, mallory: Person, path: str
) -> None:
    assert viv.client.get(path).status_code == 403
    assert olga.client.get(path).status_code == 403
    assert mallory.client.get(path).status_code in {302, 401}


@pytest.mark.parametrize(
    "path", ["", "/1", "/1/switch", "/1/delete", "/1/test", "/messages/1/send"]
)
def test_only_administrators_change_them(
    olga: Person, adam: Person, receiver: Receiver, path: str
) -> None:
    save(adam, receiver)
    before = rules(adam)
    assert olga.post(f"/alerts{path}").status_code == 403
    assert (rules(adam), receiver.titles) == (before, [])


def test_what_is_not_there_is_said(adam: Person) -> None:
    for path in ("/alerts/77", f"/alerts/{2**64}"):
        assert adam.client.get(path).status_code == 404
    for path in ("/alerts/77", "/alerts/77/switch", "/alerts/77/delete", "/alerts/77/test"):
        assert adam.post(path, to="off").status_code == 404
    assert adam.post("/alerts/messages/77/send").status_code == 303
    assert adam.post(f"/alerts/messages/{2**64}/send").status_code == 404
    assert adam.client.get("/alerts?sort=nonsense").status_code == 400
