"""Accounts, the consent page, the widget's routes, and their speed."""

import base64
import json
import time

import pytest

from dashboard.sandbox.route_specs import ROUTES
from tests.support.api_caller import PARTNER, Caller


def test_the_fleet_has_the_names_that_break_pages(api: Caller) -> None:
    names = [account["name"] for account in api.partner("sub-accounts/?per_page=200").json["data"]]
    for part in ("<script>alert(1)</script>", "'", "“", "🍕", "شركة", "ß", "=SUM("):
        assert any(part in name for name in names), part
    emails = {
        account["email"] for account in api.partner("sub-accounts/?per_page=200").json["data"]
    }
    assert all(email.endswith("@example.com") for email in emails)


def test_the_embedding_pages_own_way_of_listing_accounts_works(api: Caller) -> None:
    assert api.partner("sub-accounts").json["data"] == api.partner("sub-accounts/").json["data"]


def test_failures_cluster_at_a_few_connectors(api: Caller) -> None:
    expired = [
        each.connector.name
        for each in api.connections()
        if each.failure and each.failure.name == "expired"
    ]
    assert expired.count("exact_online") > len(expired) / 2


def test_a_sub_account_is_created_once(api: Caller) -> None:
    form = {
        "company_name": "Nouveau & Fils",
        "email": "a@example.com",
        "external_id": "n-1",
        "first_name": "Ann",
    }
    made = api.client.post("/api/partner/sub-accounts/", json=form, headers=PARTNER)
    assert (made.status_code, made.json["name"], made.json["first_name"]) == (
        200,
        "Nouveau & Fils",
        "Ann",
    )
    assert (
        api.client.post("/api/partner/sub-accounts/", json=form, headers=PARTNER).status_code == 400
    )
    assert (
        api.client.post("/api/partner/sub-accounts/", json={}, headers=PARTNER).status_code == 400
    )
    listed = api.partner("sub-accounts/?page=21&per_page=10").json
    assert ([each["external_id"] for each in listed["data"]], listed["next"], listed["count"]) == (
        ["n-1"],
        None,
        201,
    )
    assert api.get("servers/", made.json["id"]).json[0]["is_datawarehouse"] is True


@pytest.mark.parametrize(
    ("auth", "route", "key"),
    [("oauth2", "reauthorise", "auth_uri"), ("saltedge", "saltedge-refresh", "url")],
)
def test_a_consent_link_is_good_for_one_answer_and_says_who_asks_for_what(
    api: Caller, auth: str, route: str, key: str
) -> None:
    connection = next(
        each for each in api.connections() if each.connector.auth == auth and each.failure
    )
    link = api.of(connection, f"{route}/")[key].removeprefix("http://localhost")
    page = api.client.get(link)
    assert connection.connector.title in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert api.client.post(link, data={"answer": "deny"}).status_code == 302
    assert api.status(connection) == connection.failure.status
    assert api.client.post(link, data={"answer": "allow"}).status_code == 410


def test_company_names_are_escaped_on_the_consent_page(api: Caller) -> None:
    names = {each.id: each.name for each in api.life.accounts(0, 200)}
    found = [
        each
        for each in api.connections()
        if "<script>" in names[each.account_id] and each.connector.auth == "oauth2"
    ]
    link = api.of(found[0], "reauthorise/")["auth_uri"].removeprefix("http://localhost")
    page = api.client.get(link).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_public_address_is_what_links_begin_with() -> None:
    api = Caller(public_url="https://sandbox.example.com/")
    link = api.of(api.find("oauth2"), "reauthorise/")["auth_uri"]
    assert link.startswith("https://sandbox.example.com/sandbox/consent/")


def test_an_integration_token_says_when_it_ends_and_makes_a_connection_that_comes_alive(
    api: Caller,
) -> None:
    form = {"external_id": "cust-00002", "company_name": "Ignored, it exists"}
    token = api.client.post("/api/partner/sub-account/integrate/", json=form, headers=PARTNER).json[
        "integration_token"
    ]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] == int(api.now.timestamp()) + 1800
    response = api.client.post(
        "/sandbox/widget/connections/",
        json={"connector": "hubspot"},
        headers={"Authorization": f"JWT {token}", "Origin": "null"},
    )
    made = api.life.connection(response.json["id"])
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.json["external_id"] == "cust-00002"
    assert (api.status(made), api.of(made, "syncdb/status/")["running"]) == ("CHECKING", True)
    api.wait(seconds=6)
    assert (api.status(made), api.of(made, "runs/")["data"][0]["status"]) == (
        "HEALTHY",
        "COMPLETED",
    )


@pytest.mark.parametrize(
    "path", ["/sandbox/widget/connections/", "/api/servers/100101/syncdb/", "/api/servers/100101/"]
)
def test_a_browser_may_ask_from_anywhere(api: Caller, path: str) -> None:
    response = api.client.options(
        path, headers={"Origin": "null", "Access-Control-Request-Headers": "authorization"}
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    assert api.client.get("/sandbox/control/state").json["syncs"] == {}


def test_the_widgets_script_is_a_module_that_keeps_nothing_in_the_browser(api: Caller) -> None:
    response = api.client.get("/embed/v1.3/peliqan-integration.js")
    assert (response.mimetype, response.headers["Access-Control-Allow-Origin"]) == (
        "text/javascript",
        "*",
    )
    for forbidden in ("localStorage", "sessionStorage", "document.cookie", "innerHTML"):
        assert forbidden not in response.text


def test_every_route_has_a_name_and_every_name_a_route(api: Caller) -> None:
    rules = [rule for rule in api.app.url_map.iter_rules() if rule.rule.startswith("/api/")]
    assert {rule.endpoint.partition(".")[2] for rule in rules} == set(ROUTES)
    document = api.client.get("/openapi.json").json
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)


def test_front_and_other_pages_are_pages(api: Caller) -> None:
    for path in ("/", "/sandbox/done/allowed", "/sandbox/invite/x"):
        assert api.client.get(path).text.count("<h1>") == 1


def test_lists_cost_little_whatever_the_size_of_the_fleet() -> None:
    api = Caller(accounts=10_000)
    tokens = [api.token(account_id) for account_id in range(5001, 5101)]
    started_at = time.process_time()
    for token in tokens:
        assert api.client.get("/api/servers/", headers=token).status_code == 200
    servers = (time.process_time() - started_at) / len(tokens)
    started_at = time.process_time()
    for page in range(1, 51):
        api.partner(f"sub-accounts/?page={page}&per_page=100")
    accounts = (time.process_time() - started_at) / 50
    # With the test client's own time; a few times the measured time, for busy machines.
    assert (servers < 0.01, accounts < 0.02) == (True, True), (servers, accounts)
