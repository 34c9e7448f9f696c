"""Alerts from the cause to the place they are sent to, over sockets, on both databases."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.app import Console, create_app
from dashboard.fleet import alerts as sending
from dashboard.store import alert_rules, alerts, retention, suppression
from dashboard.store.database import db
from dashboard.store.models import AlertMessage, AlertRule, Cause, Finding
from tests.conftest import Clock, Sandbox, make_settings
from tests.engines import wait_for
from tests.made import dark_fleet, refused_fleet
from tests.receiver import SECRET, Receiver, receive


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


@pytest.fixture
def place() -> Iterator[Receiver]:
    with receive() as receiver:
        yield receiver


class Clockwork:
    """The worker's minute, made by hand."""

    def __init__(self, parts: Console, clock: Clock, place: Receiver) -> None:
        self.parts, self.clock, self.place = parts, clock, place

    def rule(self, **wanted: Any) -> AlertRule:
        fields: dict[str, Any] = {
            "name": "Support", "sends": (alerts.NEW, alerts.RECOVERED), "severity": "critical", "connector": None, "account": "",
            "quiet_from": None, "quiet_to": None, "digest_at": None, "zone": "UTC",
        }  # fmt: skip
        rule = AlertRule(on=True, created_at=self.clock(), created_by="adam@example.com")
        rule.place, rule.address = "JSON", self.parts.fleet.vault.encrypt(wanted.pop("address", self.place.address))
        alert_rules.save(rule, alert_rules.Wanted(**{**fields, **wanted}), self.clock())
        return rule

    def minute(self, **later: float) -> list[str]:
        """What arrives when the worker does its minute so much later."""
        self.clock.move(**later)
        before = len(self.place.got)
        self.parts.work.alert()
        db.session.expire_all()
        return self.place.titles[before:]

    def at(self, text: str) -> None:
        """Go on to the next such moment in UTC."""
        wanted, now = datetime.strptime(text, "%H:%M").time(), self.clock()
        moment = datetime.combine(now.date(), wanted, UTC)
        self.clock.ahead += (moment if moment > now else moment + timedelta(days=1)) - now


@pytest.fixture
def worker(parts: Console, clock: Clock, place: Receiver) -> Clockwork:
    return Clockwork(parts, clock, place)


def messages(*conditions: Any) -> list[AlertMessage]:
    db.session.expire_all()
    shown = select(AlertMessage).where(AlertMessage.state != alerts.KNOWN, *conditions)
    return list(db.session.scalars(shown.order_by(AlertMessage.id)))


def the_cause(connector: str = "made_up") -> Cause:
    db.session.expire_all()
    return db.session.scalars(select(Cause).where(Cause.connector == connector).order_by(Cause.id.desc())).first()  # type: ignore[return-value]


def test_a_critical_cause_of_three_hundred_connections_is_one_message(worker: Clockwork, clock: Clock) -> None:
    worker.rule()
    assert worker.minute(minutes=6) == []  # what was wrong before the rule was made is not told
    refused_fleet(clock, 300)
    assert worker.minute() == []
    assert worker.minute(minutes=4) == []
    assert worker.minute(minutes=2) == ["Critical: Access is refused: made_up (300 customers)"]
    [got] = worker.place.got
    assert "300 connections of 300 customers have it, since " in got["message"]
    assert got["message"].splitlines()[0].endswith(" UTC.")
    assert "For example: 401 invalid_grant" in got["message"]
    assert "http" not in got["message"]
    assert got["type"] == "failure"
    refused_fleet(clock, 320)
    for _ in range(3):
        assert worker.minute(minutes=10) == []


def test_what_the_platform_did_is_said_so_with_a_link(
    app: Flask, store: dict[str, str], sandbox: Sandbox, tmp_path: Path, clock: Clock, place: Receiver
) -> None:
    linked = make_settings(sandbox.url, tmp_path, dashboard_url="https://console.example.com/", **store)
    worker = Clockwork(create_app(linked, clock=clock).extensions["console"], clock, place)
    worker.rule()
    dark_fleet(clock, 12)
    assert len(worker.minute(minutes=6)) == 1
    text = worker.place.got[0]["message"]
    assert "it lies on the platform's side" in text
    assert text.splitlines()[-1] == f"https://console.example.com/causes/{the_cause().id}"
    with app.test_request_context():
        from flask import url_for

        assert url_for("causes.show", cause_id=7) == "/causes/7"


def test_two_workers_at_once_send_it_once(
    app: Flask, parts: Console, store: dict[str, str], sandbox: Sandbox, tmp_path: Path, worker: Clockwork, clock: Clock
) -> None:
    worker.rule()
    refused_fleet(clock, 3)
    dark_fleet(clock, 12)
    clock.move(minutes=6)
    db.session.remove()
    others = [create_app(make_settings(sandbox.url, tmp_path, **store), clock=clock) for _ in range(4)]

    def work(other: Flask) -> None:
        with other.app_context():
            for _ in range(3):
                other.extensions["console"].work.alert()
                db.session.remove()

    worker.place.may_answer.clear()
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, other) for other in others]
        wait_for(lambda: len(worker.place.paths) >= 1, "something is on its way")
        worker.place.may_answer.set()
        for each in done:
            each.result(30)
    assert len(worker.place.titles) == len(set(worker.place.titles)) == 2
    assert [each.tries for each in messages()] == [1, 1]
    for other in others:
        with other.app_context():
            db.engine.dispose()


def test_a_recovery_is_told_where_its_cause_was_and_a_return_is_another_episode(worker: Clockwork, clock: Clock) -> None:
    worker.rule()
    refused_fleet(clock, 3)
    worker.minute(minutes=6)
    refused_fleet(clock, 3, error="")
    assert worker.minute() == []
    assert worker.minute(minutes=6) == ["Recovered: Access is refused: made_up"]
    assert "At most 3 connections had it at once." in worker.place.got[-1]["message"]
    assert worker.minute(minutes=60) == []
    refused_fleet(clock, 2)
    assert worker.minute(minutes=6) == ["Critical: Access is refused: made_up (2 customers)"]
    assert "It is back: this is time number 2." in worker.place.got[-1]["message"]
    assert [each.key.split("/", 2)[2] for each in messages()] == ["1/new", "1/recovered", "2/new"]


def test_what_comes_and_goes_within_minutes_alarms_nobody(worker: Clockwork, clock: Clock) -> None:
    worker.rule()
    for _ in range(4):
        refused_fleet(clock, 3)
        assert worker.minute(minutes=3) == []
        refused_fleet(clock, 3, error="")
        assert worker.minute(minutes=3) == []
    assert messages() == []


def test_a_recovery_is_not_told_where_its_cause_was_not_sent(worker: Clockwork, clock: Clock) -> None:
    refused_fleet(clock, 3)
    worker.rule()
    clock.move(minutes=6)
    refused_fleet(clock, 3, error="")
    assert worker.minute(minutes=6) == []


def test_findings_that_move_to_another_cause_have_not_recovered(worker: Clockwork, clock: Clock) -> None:
    worker.rule()
    refused_fleet(clock, 3, error="401 this")
    worker.minute(minutes=6)
    first = the_cause().id
    refused_fleet(clock, 3, error="401 that")
    assert worker.minute(minutes=6) == ["Critical: Access is refused: made_up (3 customers)"]
    # The told one is kept, so that its number is not given to another.
    assert (db.session.get_one(Cause, first).state, the_cause().id > first) == ("recovered", True)


class TestQuietHours:
    """22:00 to 07:00 in UTC."""

    @pytest.fixture(autouse=True)
    def night(self, worker: Clockwork, clock: Clock) -> None:
        worker.at("21:00")
        worker.rule(quiet_from=22 * 60, quiet_to=7 * 60)
        worker.at("23:30")

    def test_a_message_waits_until_they_end_and_says_what_is_so_then(self, worker: Clockwork, clock: Clock) -> None:
        refused_fleet(clock, 3)
        assert worker.minute(minutes=6) == []
        [waiting] = messages()
        assert waiting.due_at is not None
        assert (waiting.state, waiting.due_at.strftime("%H:%M")) == ("waiting", "07:00")
        refused_fleet(clock, 40)
        worker.at("06:58")
        assert worker.minute() == []
        assert worker.minute(minutes=3) == ["Critical: Access is refused: made_up (40 customers)"]

    def test_what_recovers_meanwhile_is_not_told(self, worker: Clockwork, clock: Clock) -> None:
        refused_fleet(clock, 3)
        worker.minute(minutes=6)
        refused_fleet(clock, 3, error="")
        worker.minute(minutes=6)
        worker.at("07:30")
        assert worker.minute() == []
        [dropped] = messages()
        assert (dropped.state, dropped.error) == ("dropped", "It recovered before it was to be told.")

    def test_what_recovered_and_came_again_is_told_once(self, worker: Clockwork, clock: Clock) -> None:
        refused_fleet(clock, 3)
        worker.minute(minutes=6)
        refused_fleet(clock, 3, error="")
        worker.minute(minutes=6)
        refused_fleet(clock, 3)
        worker.minute(minutes=6)
        worker.at("07:30")
        assert worker.minute() == ["Critical: Access is refused: made_up (3 customers)"]

    def test_what_is_suppressed_meanwhile_is_told_when_it_is_not_any_longer(self, worker: Clockwork, clock: Clock) -> None:
        refused_fleet(clock, 3)
        worker.minute(minutes=6)
        suppression.suppress(the_cause(), "olga@example.com", "known", 1, clock())
        worker.at("07:30")
        assert worker.minute() == []
        suppression.wake(the_cause(), clock())
        assert worker.minute() == ["Critical: Access is refused: made_up (3 customers)"]

    def test_a_second_try_waits_for_their_end_as_well(self, worker: Clockwork, clock: Clock) -> None:
        worker.at("21:50")
        refused_fleet(clock, 3)
        worker.place.status = 500
        worker.minute(minutes=9)
        worker.place.status = 200
        assert worker.minute(minutes=5) == []
        worker.at("07:00")
        assert len(worker.minute()) == 1


def test_a_digest_goes_out_once_a_day_with_counts_of_customers(worker: Clockwork, clock: Clock) -> None:
    worker.at("06:00")
    worker.rule(sends=(alerts.DIGEST,), digest_at=8 * 60, connector="made_up", quiet_from=7 * 60, quiet_to=9 * 60)
    refused_fleet(clock, 3)
    assert worker.minute() == []
    worker.at("07:59")
    assert worker.minute() == []
    assert worker.minute(minutes=1) == ["Digest: 1 new, 0 worse, 0 recovered, 0 still open"]
    assert "New:\n- Critical: Access is refused: made_up, 3 customers" in worker.place.got[-1]["message"]
    assert worker.minute(minutes=1) == []
    worker.at("07:00")
    refused_fleet(clock, 5)
    worker.at("08:00")
    assert worker.minute() == ["Digest: 0 new, 1 worse, 0 recovered, 0 still open"]
    assert "made_up, 5 customers, 2 more" in worker.place.got[-1]["message"]
    worker.at("08:00")
    assert worker.minute() == ["Digest: 0 new, 0 worse, 0 recovered, 1 still open"]
    worker.at("07:00")
    refused_fleet(clock, 5, error="")
    worker.at("08:00")
    assert worker.minute() == ["Digest: 0 new, 0 worse, 1 recovered, 0 still open"]
    assert "Recovered:\n- Critical: Access is refused: made_up, 5 customers" in worker.place.got[-1]["message"]
    worker.at("08:00")
    assert worker.minute() == ["Digest: 0 new, 0 worse, 0 recovered, 0 still open"]
    assert "Nothing came, nothing is open." in worker.place.got[-1]["message"]


def test_a_rule_that_is_made_after_its_minute_sends_its_first_digest_tomorrow(worker: Clockwork) -> None:
    worker.at("09:00")
    worker.rule(sends=(alerts.DIGEST,), digest_at=8 * 60)
    assert worker.minute(minutes=1) == []
    worker.at("08:00")
    assert len(worker.minute()) == 1


def test_what_cannot_be_sent_is_tried_three_times_more_and_given_up(worker: Clockwork, clock: Clock) -> None:
    worker.rule()
    refused_fleet(clock, 3)
    worker.place.status = 503
    worker.minute(minutes=6)
    waits = []
    for _ in range(3):
        [message] = messages()
        assert message.due_at is not None
        waits.append(round((message.due_at - clock()).total_seconds() / 60))
        assert (message.state, message.error) == ("waiting", "The place answered 503: it is in trouble.")
        clock.ahead += message.due_at - clock() + timedelta(seconds=1)
        worker.minute()
    assert waits == [1, 5, 30]
    [message] = messages()
    assert (message.state, message.tries, message.due_at) == ("failed", 4, None)
    assert len(worker.place.paths) == 4
    worker.minute(hours=5)
    assert len(worker.place.paths) == 4
    # Recovery is told to whoever heard of it alone.
    refused_fleet(clock, 3, error="")
    worker.place.status = 200
    assert worker.minute(minutes=6) == []
    assert sending.send_again(worker.parts.fleet, message.id) is None
    assert [each.state for each in messages(AlertMessage.id == message.id)] == ["sent"]
    with pytest.raises(LookupError):
        sending.send_again(worker.parts.fleet, message.id)


def test_a_place_that_is_away_is_tried_once_a_minute_and_keeps_nobody_else_waiting(worker: Clockwork, clock: Clock) -> None:
    worker.rule(address="json://127.0.0.1:9/nobody", name="Away")
    worker.rule()
    refused_fleet(clock, 3)
    dark_fleet(clock, 12)
    assert len(worker.minute(minutes=6)) == 2
    away = messages(AlertMessage.state == alerts.WAITING)
    assert sorted(each.tries for each in away) == [0, 1]
    assert {each.error for each in away} == {"", "No connection to the place came about, or it broke off."}


def test_a_rule_hears_of_its_connector_its_account_and_its_severity_alone(worker: Clockwork, clock: Clock) -> None:
    ids = refused_fleet(clock, 3, connector="other", first=700_000)
    refused_fleet(clock, 3, error="", connector="other", first=700_000)
    worker.rule(name="one", connector="made_up")
    mine = worker.rule(name="two", account=f"made-{ids[1]}")
    worker.rule(name="three", severity="info", connector="nobody has it")
    assert mine.account_id == ids[1]
    refused_fleet(clock, 3, connector="other", first=700_000)
    assert worker.minute(minutes=6) == [f"Critical: Access is refused: other at Customer {ids[1]}"]
    assert f"1 connection of Customer {ids[1]} has it" in worker.place.got[-1]["message"]
    assert "Others have it too: 3 customers in all." in worker.place.got[-1]["message"]
    refused_fleet(clock, 3)
    assert worker.minute(minutes=6) == ["Critical: Access is refused: made_up (3 customers)"]
    # The account's own recovery, while others still have it.
    refused_fleet(clock, 1, error="", connector="other", first=ids[1])
    assert worker.minute(minutes=6) == [f"Recovered: Access is refused: other at Customer {ids[1]}"]
    assert "Others still do: 2 customers." in worker.place.got[-1]["message"]


def test_a_rule_that_asks_for_more_hears_of_what_comes_and_not_of_what_was(worker: Clockwork, clock: Clock) -> None:
    rule = worker.rule()
    warned = select(func.count()).select_from(Cause).where(Cause.severity == "warning", Cause.state.in_(("new", "open")))
    assert db.session.scalar(warned)
    wanted = alert_rules.Wanted("Support", (alerts.NEW,), "warning", None, "", None, None, None, "UTC")
    alert_rules.save(rule, wanted, clock())
    assert worker.minute(minutes=6) == []
    alert_rules.switch(rule, False, clock())
    refused_fleet(clock, 3)
    assert worker.minute(minutes=6) == []
    alert_rules.switch(rule, True, clock())
    assert worker.minute(minutes=6) == []
    refused_fleet(clock, 3, connector="later", first=700_000)
    assert worker.minute(minutes=6) == ["Critical: Access is refused: later (3 customers)"]


def test_a_cause_that_becomes_critical_is_told_by_a_rule_for_critical_ones(worker: Clockwork, clock: Clock) -> None:
    refused_fleet(clock, 3)
    cause = the_cause()
    cause.severity = "warning"
    db.session.commit()
    worker.rule()
    assert worker.minute(minutes=6) == []
    cause.severity = "critical"
    db.session.commit()
    assert len(worker.minute()) == 1


def test_a_suppressed_cause_is_not_told(worker: Clockwork, clock: Clock) -> None:
    worker.rule()
    refused_fleet(clock, 3)
    suppression.suppress(the_cause(), "olga@example.com", "the vendor knows", 1, clock())
    assert worker.minute(minutes=6) == []
    assert messages() == []


def test_no_secret_of_an_error_nor_of_the_address_reaches_a_message_the_store_or_a_log(
    worker: Clockwork, clock: Clock, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(1)
    rule = worker.rule()
    refused_fleet(clock, 3, error=f"401 for https://u:{SECRET}@api.example.com/x?token={SECRET}, password: {SECRET}")
    assert len(worker.minute(minutes=6)) == 1
    assert SECRET in worker.place.paths[0]
    assert SECRET not in str(worker.place.got)
    assert "401 for https://api.example.com/…" in worker.place.got[0]["message"]
    for status in (500, 404, 302):
        worker.place.status = status
        refused_fleet(clock, 3, connector=f"connector {status}", first=700_000 + 1000 * status)
        worker.minute(minutes=6)
    sending.send_test(worker.parts.fleet, rule, "adam@example.com", None)
    with pytest.raises(sending.BadAddress) as caught:
        sending.check_address(f"slack://{SECRET}/{SECRET}")
    told = [f"{each.subject} {each.body} {each.error}" for each in messages()]
    out = "".join(capfd.readouterr())
    for text in (*told, caplog.text, out, str(caught.value), repr(rule)):
        assert SECRET not in text
    kept = db.session.execute(db.text("SELECT address FROM alert_rule")).scalar_one()
    assert SECRET.encode() not in bytes(kept)
    assert worker.parts.fleet.vault.decrypt(bytes(kept)) == worker.place.address
    assert logging.getLogger("apprise").propagate is False


def test_a_rule_that_is_deleted_while_its_message_is_on_its_way_is_gone(
    app: Flask, parts: Console, worker: Clockwork, clock: Clock
) -> None:
    rule_id = worker.rule().id
    refused_fleet(clock, 3)
    clock.move(minutes=6)
    worker.place.may_answer.clear()

    def work() -> None:
        with app.app_context():
            parts.work.alert()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        assert worker.place.arrived.wait(10)
        db.session.rollback()
        rule = alert_rules.rule_or_none(rule_id)
        assert rule is not None
        alert_rules.remove(rule)
        worker.place.may_answer.set()
        done.result(10)
    assert messages() == []


def test_an_address_of_another_secret_key_is_said_so(worker: Clockwork, clock: Clock) -> None:
    rule = worker.rule()
    rule.address = b"of another key"
    db.session.commit()
    refused_fleet(clock, 3)
    worker.minute(minutes=6)
    [message] = messages()
    assert "cannot be read with the SECRET_KEY" in message.error


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("json://bob:pw@127.0.0.1:8080/secret?x=1", "JSON (json://) at 127.0.0.1:8080"),
        ("mailto://bob:pw@example.com", "E-Mail (mailto://) at example.com:25"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "Slack (slack://)"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack (slack://)"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "Telegram (tgram://)"),
        ("ntfy://secret-topic", "ntfy (ntfy://)"),
    ],
)
def test_of_an_address_the_service_is_shown_and_the_host_where_it_is_no_secret(address: str, shown: str) -> None:
    assert sending.check_address(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "", "nonsense", "https://example.com/hook", "json://", "slack://too/short", "custom://x", "json://a\nb", "json://" + "a" * 3000,
        "file:///etc/passwd", "FILE:///etc/passwd", "syslog://", "SysLog://local0", "dbus://", "qt://", "kde://", "glib://", "gnome://",
        "windows://", "macosx://", "blink1://", "vapid://mailer@example.com/x", "fcm://project@key/x?mode=oauth2&keyfile=/etc/passwd",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=/etc/passwd",
        "mailto://u:p@example.com?pgp=yes&pgpkey=/etc/passwd",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_read_or_that_leads_to_the_machine_itself_is_refused(address: str) -> None:
    with pytest.raises(sending.BadAddress) as caught:
        sending.check_address(address)
    assert "/etc/passwd" not in str(caught.value)


def test_every_place_of_apprises_that_is_not_across_the_network_is_refused() -> None:
    """A later version may bring another: what runs programs or has no host, token or target."""
    from apprise.manager_plugins import NotificationManager

    for plugin in NotificationManager().plugins():
        source = Path(sys.modules[plugin.__module__].__file__ or "").read_text()
        runs = any(
            word in source
            for word in ("import subprocess", "os.system(", "import dbus", "import gi\n", "import win32", "import hid")
        )
        if runs or not plugin.template_tokens:
            names = [plugin.protocol, plugin.secure_protocol]
            schemas = {each for name in names if name for each in ([name] if isinstance(name, str) else name)}
            assert schemas <= sending.LOCAL, plugin.__name__


def test_an_address_cannot_keep_a_worker_waiting(place: Receiver) -> None:
    place.status = 500
    assert sending.send(place.address + "&retry=9&wait=60&rto=900&cto=900", "a", "b") is not None
    assert len(place.paths) == 1


def test_apprise_is_not_imported_before_something_is_sent() -> None:
    asked = "import sys, dashboard.app, dashboard.views; print('apprise' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "False"


def test_the_minute_asks_for_alerts(parts: Console) -> None:
    before = parts.work.jobs.pending_count()
    parts.work.begin()
    waiting = [task.name for task in parts.work.jobs.pending()]
    assert len(waiting) > before
    assert "alerts" in waiting


def test_what_was_told_is_forgotten_with_its_cause_and_not_before(worker: Clockwork, clock: Clock) -> None:
    rule = worker.rule()
    refused_fleet(clock, 3)
    worker.minute(minutes=6)
    alerts.begin_test(rule, "adam@example.com", clock(), None).state = alerts.SENT
    db.session.commit()
    retention.forget(clock() + timedelta(days=1))
    assert [each.key for each in messages()] == [f"cause/{the_cause().id}/1/new"]
    refused_fleet(clock, 3, error="")
    retention.forget(clock() + timedelta(days=1))
    assert messages() == []
    assert db.session.scalar(select(func.count()).select_from(Finding).where(Finding.connector == "made_up")) == 0
