"""The end of customers' consents to their banks."""

import re
from datetime import datetime, timedelta
from typing import Any

from dashboard.sandbox.connectors import CONSENT
from tests.support.api_caller import NOON, PARTNER, Caller

MIDNIGHT = NOON.replace(hour=0)


def ends(api: Caller, connection: Any) -> datetime:
    return datetime.fromisoformat(api.of(connection)["consent_expires_at"])


def test_bank_connections_alone_say_when_their_consent_ends(api: Caller) -> None:
    for connection in api.connections():
        assert ("consent_expires_at" in api.of(connection)) == (
            connection.connector.auth == "saltedge"
        )


def test_a_consent_that_lasts_ends_in_five_to_ninety_days_and_at_the_same_time_after_a_restart(
    api: Caller,
) -> None:
    lasting = [
        each
        for each in api.connections()
        if each.connector.auth == "saltedge" and each.failure is None
    ]
    found = [ends(api, each) for each in lasting]
    assert len(found) > 50
    assert all(timedelta(days=5) <= end - MIDNIGHT <= timedelta(days=90) for end in found)
    assert len(set(found)) == len(found)
    later = Caller(clock=lambda: NOON + timedelta(hours=3))
    assert [ends(later, each) for each in lasting] == found


def test_a_consent_that_ran_out_did_on_the_day_that_its_errors_name_however_old_they_are(
    api: Caller,
) -> None:
    expired = [each for each in api.connections() if each.failure is CONSENT]
    assert len(expired) >= 5
    for connection in expired:
        end = ends(api, connection)
        assert end < api.now
        texts = {
            run["source_error"]
            for run in api.of(connection, "runs/?per_page=30")["data"]
            if run["status"] == "ERROR"
        }
        assert {day for text in texts for day in re.findall(r"expired on (\S+);", text)} == {
            f"{end:%Y-%m-%d}"
        }


def test_a_customer_who_consents_does_so_for_ninety_days(api: Caller) -> None:
    for failure in ("consent", None):
        connection = api.find("saltedge", failure)
        link = api.of(connection, "saltedge-refresh/")["url"].removeprefix("http://localhost")
        before = ends(api, connection)
        api.wait(minutes=2)
        assert ends(api, connection) == before
        api.client.post(link, data={"answer": "allow"})
        given = api.now
        api.wait(days=1)
        assert ends(api, connection) == given + timedelta(days=90)


def test_a_bank_that_is_connected_in_the_widget_has_a_consent_of_ninety_days(api: Caller) -> None:
    form = {"external_id": "cust-00001"}
    token = api.client.post("/api/partner/sub-account/integrate/", json=form, headers=PARTNER).json[
        "integration_token"
    ]
    made = api.client.post(
        "/sandbox/widget/connections/",
        json={"connector": "SaltEdge_ING"},
        headers={"Authorization": f"JWT {token}"},
    )
    given = api.now
    api.wait(hours=1)
    assert ends(api, api.life.connection(made.json["id"])) == given + timedelta(days=90)
