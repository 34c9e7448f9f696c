"""Alert messages and their times: from the cause to the receiver, on both databases."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.alerts import outbox
from dashboard.alerts import rules as alert_rules
from dashboard.app import create_app
from dashboard.core.database import db
from dashboard.findings import suppression
from dashboard.findings.models import Cause
from tests.support.alert_receiver import Clockwork, Receiver, messages, the_cause
from tests.support.clock import Clock
from tests.support.factories import dark_fleet, refused_fleet
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

pytestmark = pytest.mark.both_engines


@pytest.fixture(autouse=True)
def context(app: Flask) -> Any:
    with app.app_context():
        yield


def test_a_critical_cause_of_three_hundred_connections_is_one_message(
    worker: Clockwork, clock: Clock
) -> None:
    worker.rule()
    assert worker.minute(minutes=6) == []  # Causes older than the rule are not sent.
    refused_fleet(clock, 300)
    assert worker.minute() == []
    assert worker.minute(minutes=4) == []
    assert worker.minute(minutes=2) == ["Critical: Access is refused: made_up (300 customers)"]
    [got] = worker.receiver.got
    assert "300 connections of 300 customers have it, since " in got["message"]
    assert got["message"].splitlines()[0].endswith(" UTC.")
    assert "For example: 401 invalid_grant" in got["message"]
    assert "http" not in got["message"]
    assert got["type"] == "failure"
    refused_fleet(clock, 320)
    for _ in range(3):
        assert worker.minute(minutes=10) == []


@pytest.mark.parametrize("url", ["https://console.example.com/", "https://example.com/console/"])
def test_what_the_platform_did_is_said_so_with_a_link(
    store: dict[str, str],
    sandbox: Sandbox,
    tmp_path: Path,
    clock: Clock,
    receiver: Receiver,
    url: str,
) -> None:
    linked = make_settings(sandbox.url, tmp_path, dashboard_url=url, **store)
    app = create_app(linked, clock=clock)
    worker = Clockwork(app.extensions["services"], clock, receiver)
    with app.app_context():
        worker.rule()
        dark_fleet(clock, 12)
        assert len(worker.minute(minutes=6)) == 1
        db.session.remove()
        db.engine.dispose()
    text = worker.receiver.got[0]["message"]
    assert "it lies on the platform's side" in text
    assert text.splitlines()[-1] == f"{url}causes/{the_cause().id}"
    with app.test_request_context():
        from flask import url_for

        assert url_for("causes.show", cause_id=7) == f"{urlsplit(url).path}causes/7"


def test_a_recovery_is_told_where_its_cause_was_and_a_return_is_another_episode(
    worker: Clockwork, clock: Clock
) -> None:
    worker.rule()
    refused_fleet(clock, 3)
    worker.minute(minutes=6)
    refused_fleet(clock, 3, error="")
    assert worker.minute() == []
    assert worker.minute(minutes=6) == ["Recovered: Access is refused: made_up"]
    assert "At most 3 connections had it at once." in worker.receiver.got[-1]["message"]
    assert worker.minute(minutes=60) == []
    refused_fleet(clock, 2)
    assert worker.minute(minutes=6) == ["Critical: Access is refused: made_up (2 customers)"]
    assert "It is back: this is time number 2." in worker.receiver.got[-1]["message"]
    assert [each.key.split("/", 2)[2] for each in messages()] == ["1/new", "1/recovered", "2/new"]


def test_what_comes_and_goes_within_minutes_alarms_nobody(worker: Clockwork, clock: Clock) -> None:
    worker.rule()
    for _ in range(4):
        refused_fleet(clock, 3)
        assert worker.minute(minutes=3) == []
        refused_fleet(clock, 3, error="")
        assert worker.minute(minutes=3) == []
    assert messages() == []


def test_a_recovery_is_not_told_where_its_cause_was_not_sent(
    worker: Clockwork, clock: Clock
) -> None:
    refused_fleet(clock, 3)
    worker.rule()
    clock.move(minutes=6)
    refused_fleet(clock, 3, error="")
    assert worker.minute(minutes=6) == []


def test_findings_that_move_to_another_cause_have_not_recovered(
    worker: Clockwork, clock: Clock
) -> None:
    worker.rule()
    refused_fleet(clock, 3, error="401 this")
    worker.minute(minutes=6)
    first = the_cause().id
    refused_fleet(clock, 3, error="401 that")
    assert worker.minute(minutes=6) == ["Critical: Access is refused: made_up (3 customers)"]
    # The sent cause stays, so that its id is not used again.
    assert (db.session.get_one(Cause, first).state, the_cause().id > first) == ("recovered", True)


class TestQuietHours:
    """Quiet hours are 22:00 to 07:00 UTC."""

    @pytest.fixture(autouse=True)
    def night(self, worker: Clockwork, clock: Clock) -> None:
        worker.at("21:00")
        worker.rule(quiet_from=22 * 60, quiet_to=7 * 60)
        worker.at("23:30")

    def test_a_message_waits_until_they_end_and_says_what_is_so_then(
        self, worker: Clockwork, clock: Clock
    ) -> None:
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
        assert (dropped.state, dropped.error) == (
            "dropped",
            "It recovered before it was to be told.",
        )

    def test_what_recovered_and_came_again_is_told_once(
        self, worker: Clockwork, clock: Clock
    ) -> None:
        refused_fleet(clock, 3)
        worker.minute(minutes=6)
        refused_fleet(clock, 3, error="")
        worker.minute(minutes=6)
        refused_fleet(clock, 3)
        worker.minute(minutes=6)
        worker.at("07:30")
        assert worker.minute() == ["Critical: Access is refused: made_up (3 customers)"]

    def test_what_is_suppressed_meanwhile_is_told_when_it_is_not_any_longer(
        self, worker: Clockwork, clock: Clock
    ) -> None:
        refused_fleet(clock, 3)
        worker.minute(minutes=6)
        suppression.suppress(the_cause(), "olga@example.com", "known", 1, clock())
        worker.at("07:30")
        assert worker.minute() == []
        suppression.unsuppress(the_cause(), clock())
        assert worker.minute() == ["Critical: Access is refused: made_up (3 customers)"]

    def test_a_second_try_waits_for_their_end_as_well(
        self, worker: Clockwork, clock: Clock
    ) -> None:
        worker.at("21:50")
        refused_fleet(clock, 3)
        worker.receiver.status = 500
        worker.minute(minutes=9)
        worker.receiver.status = 200
        assert worker.minute(minutes=5) == []
        worker.at("07:00")
        assert len(worker.minute()) == 1


def test_a_digest_goes_out_once_a_day_with_counts_of_customers(
    worker: Clockwork, clock: Clock
) -> None:
    worker.at("06:00")
    worker.rule(
        sends=(outbox.DIGEST,),
        digest_at=8 * 60,
        connector="made_up",
        quiet_from=7 * 60,
        quiet_to=9 * 60,
    )
    refused_fleet(clock, 3)
    assert worker.minute() == []
    worker.at("07:59")
    assert worker.minute() == []
    assert worker.minute(minutes=1) == ["Digest: 1 new, 0 worse, 0 recovered, 0 still open"]
    assert (
        "New:\n- Critical: Access is refused: made_up, 3 customers"
        in worker.receiver.got[-1]["message"]
    )
    assert worker.minute(minutes=1) == []
    worker.at("07:00")
    refused_fleet(clock, 5)
    worker.at("08:00")
    assert worker.minute() == ["Digest: 0 new, 1 worse, 0 recovered, 0 still open"]
    assert "made_up, 5 customers, 2 more" in worker.receiver.got[-1]["message"]
    worker.at("08:00")
    assert worker.minute() == ["Digest: 0 new, 0 worse, 0 recovered, 1 still open"]
    worker.at("07:00")
    refused_fleet(clock, 5, error="")
    worker.at("08:00")
    assert worker.minute() == ["Digest: 0 new, 0 worse, 1 recovered, 0 still open"]
    assert (
        "Recovered:\n- Critical: Access is refused: made_up, 5 customers"
        in worker.receiver.got[-1]["message"]
    )
    worker.at("08:00")
    assert worker.minute() == ["Digest: 0 new, 0 worse, 0 recovered, 0 still open"]
    assert "Nothing came, nothing is open." in worker.receiver.got[-1]["message"]


def test_a_rule_that_is_made_after_its_minute_sends_its_first_digest_tomorrow(
    worker: Clockwork,
) -> None:
    worker.at("09:00")
    worker.rule(sends=(outbox.DIGEST,), digest_at=8 * 60)
    assert worker.minute(minutes=1) == []
    worker.at("08:00")
    assert len(worker.minute()) == 1


def test_a_rule_hears_of_its_connector_its_account_and_its_severity_alone(
    worker: Clockwork, clock: Clock
) -> None:
    ids = refused_fleet(clock, 3, connector="other", first=700_000)
    refused_fleet(clock, 3, error="", connector="other", first=700_000)
    worker.rule(name="one", connector="made_up")
    mine = worker.rule(name="two", account=f"made-{ids[1]}")
    worker.rule(name="three", severity="info", connector="nobody has it")
    assert mine.account_id == ids[1]
    refused_fleet(clock, 3, connector="other", first=700_000)
    assert worker.minute(minutes=6) == [f"Critical: Access is refused: other at Customer {ids[1]}"]
    assert f"1 connection of Customer {ids[1]} has it" in worker.receiver.got[-1]["message"]
    assert "Others have it too: 3 customers in all." in worker.receiver.got[-1]["message"]
    refused_fleet(clock, 3)
    assert worker.minute(minutes=6) == ["Critical: Access is refused: made_up (3 customers)"]
    # The account's own recovery, while others still have it.
    refused_fleet(clock, 1, error="", connector="other", first=ids[1])
    assert worker.minute(minutes=6) == [f"Recovered: Access is refused: other at Customer {ids[1]}"]
    assert "Others still do: 2 customers." in worker.receiver.got[-1]["message"]


def test_a_cause_of_peliqans_runner_is_told_to_the_rules_of_the_connectors_that_have_it(
    worker: Clockwork, clock: Clock
) -> None:
    crash = {"error": "Pipeline runner crashed", "status": "INTERNAL_ERROR"}
    worker.rule(name="one", connector="made_up")
    worker.rule(name="two", connector="nobody has it")
    refused_fleet(clock, 3, connector="other", first=700_000, **crash)
    assert worker.minute(minutes=6) == []
    refused_fleet(clock, 2, **crash)
    assert worker.minute(minutes=6) == ["Critical: Peliqan’s runner fails (5 customers)"]
    refused_fleet(clock, 3, error="", connector="other", first=700_000)
    refused_fleet(clock, 2, error="")
    assert worker.minute(minutes=6) == ["Recovered: Peliqan’s runner fails"]


def test_a_rule_that_asks_for_more_hears_of_what_comes_and_not_of_what_was(
    worker: Clockwork, clock: Clock
) -> None:
    rule = worker.rule()
    warned = (
        select(func.count())
        .select_from(Cause)
        .where(Cause.severity == "warning", Cause.state.in_(("new", "open")))
    )
    assert db.session.scalar(warned)
    wanted = alert_rules.AlertRuleInput(
        "Support", (outbox.NEW,), "warning", None, "", None, None, None, "UTC"
    )
    alert_rules.save(rule, wanted, clock())
    assert worker.minute(minutes=6) == []
    alert_rules.switch(rule, False, clock())
    refused_fleet(clock, 3)
    assert worker.minute(minutes=6) == []
    alert_rules.switch(rule, True, clock())
    assert worker.minute(minutes=6) == []
    refused_fleet(clock, 3, connector="later", first=700_000)
    assert worker.minute(minutes=6) == ["Critical: Access is refused: later (3 customers)"]


def test_a_cause_that_becomes_critical_is_told_by_a_rule_for_critical_ones(
    worker: Clockwork, clock: Clock
) -> None:
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
