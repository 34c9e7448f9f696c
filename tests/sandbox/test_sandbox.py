"""The sandbox behaves like the known parts of Peliqan's API."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from dashboard.sandbox.app import create_sandbox

PARTNER = {"Authorization": "JWT sandbox-partner-token"}
DOCUMENTED = {
    "OK", "HEALTHY", "ERROR", "CHECKING", "AUTHORIZING", "CONFIG_SELECT", "DISABLED", "RE_ENABLED",
    "RE_AUTHORISED",
    "RE_AUTHORISING", "COMPLETED_WITH_ERRORS",
}  # fmt: skip


class Time:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def at() -> Time:
    return Time()


@pytest.fixture
def client(at: Time) -> FlaskClient:
    return create_sandbox(clock=at, run_seconds=(5, 5)).test_client()


def account(client: FlaskClient, account_id: int = 1001) -> dict[str, str]:
    token = client.get(
        f"/api/partner/sub-account/identity/?account_id={account_id}", headers=PARTNER
    ).json["token"]
    return {"Authorization": f"JWT {token}"}


def statuses(client: FlaskClient) -> Counter[str]:
    life = client.application.extensions["sandbox"].life
    return Counter(
        life.status(each) for one in life.accounts(0, 200) for each in life.connections(one.id)
    )


def test_a_fleet_of_200_has_about_700_connections_in_every_documented_status_and_one_unknown(
    client: FlaskClient,
) -> None:
    found = statuses(client)
    assert 650 <= sum(found.values()) <= 750
    assert set(found) == DOCUMENTED | {"PAUSED_BY_VENDOR"}
    assert 0.8 < (found["OK"] + found["HEALTHY"]) / sum(found.values()) < 0.95


def test_the_same_seed_makes_the_same_fleet_and_another_seed_another() -> None:
    def fleet(seed: int) -> Any:
        made = create_sandbox(seed=seed, clock=Time()).test_client()
        return made.get("/api/servers/", headers=account(made)).json

    assert fleet(1) == fleet(1)
    assert fleet(1) != fleet(2)


def test_ten_thousand_accounts_and_a_million_rows_cost_no_start_time() -> None:
    started_at = time.monotonic()
    client = create_sandbox(10_000).test_client()
    last = client.get("/api/partner/sub-accounts/?page=100&per_page=100", headers=PARTNER).json
    assert (last["data"][-1]["external_id"], last["next"]) == ("cust-10000", None)
    page = client.get(
        "/api/database/rows/table/10011902/?size=2&page=500000&user_field_names=True",
        headers=account(client),
    ).json
    assert (page["count"], page["results"][-1]["Nr"], page["next"]) == (1_000_000, 1_000_000, None)
    assert time.monotonic() - started_at < 2


def test_each_kind_of_token_opens_its_own_routes_alone(client: FlaskClient) -> None:
    mine = account(client)
    assert client.get("/api/servers/", headers=PARTNER).status_code == 401
    assert client.get("/api/partner/sub-accounts/", headers=mine).status_code == 401
    assert client.get("/api/servers/").json == {
        "detail": "Authentication credentials were not provided."
    }
    forged = {"Authorization": mine["Authorization"][:-2] + "xx"}
    assert client.get("/api/servers/", headers=forged).json["error"] == "ERROR_INVALID_ACCESS_TOKEN"


def test_somebody_elses_connection_and_table_are_refused_as_baserow_does(
    client: FlaskClient,
) -> None:
    theirs = account(client, 1002)
    assert client.get("/api/servers/100101/", headers=theirs).status_code == 404
    response = client.get("/api/database/rows/table/10011900/", headers=theirs)
    assert (response.status_code, response.json["error"]) == (400, "ERROR_USER_NOT_IN_GROUP")


def test_a_sync_runs_for_its_seconds_and_a_second_start_is_refused(
    client: FlaskClient, at: Time
) -> None:
    mine = account(client)
    started = client.get("/api/servers/100102/syncdb/?pipeline=true", headers=mine).json
    assert client.get("/api/servers/100102/syncdb/", headers=mine).status_code == 409
    status = "/api/servers/100102/syncdb/status/"
    assert client.get(status, headers=mine).json["running"] is True
    at.now += timedelta(seconds=6)
    ended = client.get(status, headers=mine).json
    assert (ended["running"], ended["status"]) == (False, "COMPLETED")
    assert ended["run_id"] == started["run_data"][0]["pipeline_run_id"]


def test_schedules_fire_with_the_clock(client: FlaskClient, at: Time) -> None:
    mine = account(client)
    before = client.get("/api/servers/100102/runs/", headers=mine).json["data"][0]["id"]
    at.now += timedelta(days=2)
    assert client.get("/api/servers/100102/runs/", headers=mine).json["data"][0]["id"] > before


def test_consent_brings_an_expired_connection_back_through_authorizing(
    client: FlaskClient, at: Time
) -> None:
    mine, url = account(client, 1048), "/api/servers/104801/"
    assert client.get(url, headers=mine).json["health_status"] == "ERROR"
    uri = client.get(url + "reauthorise/", headers=mine).json["auth_uri"]
    assert client.get(url, headers=mine).json["health_status"] == "RE_AUTHORISING"
    path = uri.removeprefix("http://localhost")
    assert b"Allow access" in client.get(path).data
    assert client.post(path, data={"answer": "allow"}).status_code == 302
    assert client.get(url, headers=mine).json["health_status"] == "AUTHORIZING"
    at.now += timedelta(seconds=3)
    assert client.get(url, headers=mine).json["health_status"] == "OK"
    client.get(url + "syncdb/", headers=mine)
    at.now += timedelta(seconds=6)
    assert client.get(url + "runs/", headers=mine).json["data"][0]["status"] == "COMPLETED"


def test_a_bank_is_refreshed_once_an_hour(client: FlaskClient, at: Time) -> None:
    mine, url = account(client), "/api/servers/100101/saltedge-refresh/"
    assert client.get(url, headers=mine).status_code == 200
    again = client.get(url, headers=mine)
    assert (again.status_code, again.json["error"]) == (400, "ERROR_SALTEDGE_REFRESH_TOO_SOON")
    at.now += timedelta(hours=1, seconds=1)
    assert client.get(url, headers=mine).status_code == 200


def test_only_an_oauth_connection_is_reauthorised(client: FlaskClient) -> None:
    assert (
        client.get("/api/servers/100101/reauthorise/", headers=account(client)).json["error"]
        == "ERROR_NOT_AN_OAUTH_CONNECTION"
    )


@pytest.mark.parametrize(
    ("query", "status", "first"),
    [
        ("page=0", 200, 1),
        ("page=abc&size=-1", 200, 1),
        ("page=2&size=10", 200, 11),
        ("page=99999", 200, None),
        ("size=201", 400, None),
    ],
)
def test_rows_are_paged_as_baserow_pages_them(
    client: FlaskClient, query: str, status: int, first: int | None
) -> None:
    response = client.get(f"/api/database/rows/table/10011900/?{query}", headers=account(client))
    assert response.status_code == status
    if status == 200:
        assert response.json["count"] == 60
        assert [row["id"] for row in response.json["results"]][:1] == ([first] if first else [])


def test_rows_are_sorted_searched_and_filtered(client: FlaskClient) -> None:
    mine, base = account(client), "/api/database/rows/table/10011900/?user_field_names=True&size=5"
    stars = [
        row["Stars"] for row in client.get(f"{base}&order_by=-Stars", headers=mine).json["results"]
    ]
    assert stars == sorted(stars, reverse=True)
    assert (
        client.get(f"{base}&order_by=Nowhere", headers=mine).json["error"]
        == "ERROR_ORDER_BY_FIELD_NOT_FOUND"
    )
    assert client.get(f"{base}&search=reversed", headers=mine).json["count"] == 6
    assert client.get(f"{base}&filter__Active__boolean=true", headers=mine).json["count"] == 30
    assert client.get(f"{base}&filter__Unknown__equal=x", headers=mine).json["count"] == 60


def test_the_widgets_token_makes_an_account_and_a_connection(client: FlaskClient, at: Time) -> None:
    response = client.post(
        "/api/partner/sub-account/integrate/", json={"external_id": "new-1"}, headers=PARTNER
    )
    bearer = {"Authorization": f"JWT {response.json['integration_token']}"}
    made = client.post(
        "/sandbox/widget/connections/",
        json={"connector": "shopify", "name": "Shop"},
        headers=bearer,
    ).json
    found = client.get("/api/partner/sub-account/?external_id=new-1", headers=PARTNER).json
    assert (
        client.get("/api/servers/", headers=account(client, found["id"])).json[-1]["id"]
        == made["server_id"]
    )
    at.now += timedelta(minutes=31)
    assert (
        client.post(
            "/sandbox/widget/connections/", json={"connector": "shopify"}, headers=bearer
        ).status_code
        == 401
    )


def test_integrate_without_its_trailing_slash_is_not_found(client: FlaskClient) -> None:
    assert (
        client.post(
            "/api/partner/sub-account/integrate", json={"external_id": "x"}, headers=PARTNER
        ).status_code
        == 404
    )


def test_faults_apply_to_their_route_as_often_as_asked(client: FlaskClient) -> None:
    client.post(
        "/sandbox/control/faults", json={"route": "sub_accounts", "status": 503, "times": 1}
    )
    assert client.get("/api/partner/sub-accounts/", headers=PARTNER).status_code == 503
    assert client.get("/api/partner/sub-accounts/", headers=PARTNER).status_code == 200
    client.post("/sandbox/control/faults", json={"route": "*", "kind": "html"})
    assert client.get("/api/partner/sub-accounts/", headers=PARTNER).mimetype == "text/html"
    client.delete("/sandbox/control/faults")
    assert client.get("/api/partner/sub-accounts/", headers=PARTNER).json["data"]


def test_the_error_rate_makes_that_share_of_calls_fail() -> None:
    client = create_sandbox(error_rate=0.5).test_client()
    failed = sum(
        client.get("/api/partner/sub-accounts/", headers=PARTNER).status_code == 500
        for _ in range(200)
    )
    assert 60 < failed < 140


def test_the_openapi_document_lists_exactly_the_routes_that_there_are(client: FlaskClient) -> None:
    listed = client.get("/openapi.json").json["paths"]
    rules = [
        rule for rule in client.application.url_map.iter_rules() if rule.rule.startswith("/api/")
    ]
    assert len(listed) == len({rule.rule for rule in rules})
    assert "/api/servers/{server_id}/syncdb/" in listed
    assert all(operation["summary"] for path in listed.values() for operation in path.values())
