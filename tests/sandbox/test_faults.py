"""Tokens, refusals, faults and switches: deliberate errors."""

import json
import threading
from typing import Any

import pytest
import requests
from werkzeug.serving import make_server

from dashboard.sandbox.app import create_sandbox
from dashboard.sandbox.faults import KINDS
from tests.support.api_caller import PARTNER, Caller


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (None, {"detail": "Authentication credentials were not provided."}),
        ("Basic x", {"detail": "Authentication credentials were not provided."}),
        ("JWT", {"code": "bad_authorization_header"}),
        ("JWT a b", {"code": "bad_authorization_header"}),
        ("JWT a.b.c", {"error": "ERROR_INVALID_ACCESS_TOKEN"}),
        ("JWT é", {"error": "ERROR_INVALID_ACCESS_TOKEN"}),
    ],
)
def test_a_missing_or_wrong_token_is_refused_in_baserows_words(
    api: Caller, header: str | None, body: dict[str, str]
) -> None:
    for path in ("/api/servers/", "/api/partner/sub-accounts/"):
        response = api.client.get(path, headers={"Authorization": header} if header else {})
        assert response.status_code == 401
        assert body.items() <= response.json.items()
        assert response.headers["WWW-Authenticate"] == 'JWT realm="api"'


def test_a_revoked_token_is_refused_and_the_next_one_works(api: Caller) -> None:
    old = api.token(1001)
    api.control("accounts/1001/revoke-token")
    assert api.client.get("/api/servers/", headers=old).status_code == 401
    api._tokens.clear()
    assert api.get("servers/").status_code == 200
    assert api.get("servers/", 1002).status_code == 200


def test_oauth_credentials_open_the_partner_routes_for_an_hour(api: Caller) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": "me",
        "client_secret": "sandbox-partner-token",
    }
    token = api.client.post("/api/oauth2/token/", data=form).json
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert token["expires_in"] == 3600
    assert api.client.get("/api/partner/sub-accounts/", headers=bearer).status_code == 200
    assert api.client.get("/api/servers/", headers=bearer).status_code == 401
    api.wait(minutes=61)
    assert api.client.get("/api/partner/sub-accounts/", headers=bearer).status_code == 401
    assert (
        api.client.post("/api/oauth2/token/", data={**form, "client_secret": "no"}).status_code
        == 401
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_spoils_the_answer_in_its_own_way(api: Caller, kind: str) -> None:
    good = api.partner("sub-accounts/").json
    result = api.control("faults", route="sub_accounts", kind=kind, headers={"X-Why": "fault"})
    assert result["faults"] == 1
    response = api.partner("sub-accounts/")
    assert response.headers["X-Why"] == "fault"
    seen: dict[str, Any] = {
        "truncated": lambda: (
            not _is_json(response.data) and response.mimetype == "application/json"
        ),
        "html": lambda: response.mimetype == "text/html",
        "wrong_type": lambda: response.json["data"] == 7,
        "empty": lambda: response.data == b"",
        "close": lambda: response.status_code == 502,
        "redirect": lambda: response.location == "http://127.0.0.2/elsewhere",
        "bare_list": lambda: response.json == good["data"],
        "extra_fields": lambda: "x_new_field" in response.json["data"][0],
        "oversized": lambda: len(response.data) > 16 * 1024 * 1024,
    }
    assert seen[kind]()
    api.client.delete("/sandbox/control/faults")
    assert api.partner("sub-accounts/").json == good


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def test_a_fault_that_answers_itself_keeps_the_work_from_being_done_and_one_that_spoils_does_not(
    api: Caller,
) -> None:
    first, second = api.find("oauth2"), api.find("saltedge")
    api.control("faults", route="syncdb", status=500, times=1)
    assert api.of(first, "syncdb/").status_code == 500
    api.control("faults", route="syncdb", kind="html", times=1)
    assert api.get(f"servers/{second.id}/syncdb/", second.account_id).mimetype == "text/html"
    assert api.client.get("/sandbox/control/state").json["syncs"] == {str(second.id): 1}


def test_a_fault_holds_for_its_path_its_body_and_its_headers(api: Caller) -> None:
    api.control(
        "faults",
        route="server",
        match="/100102/",
        status=429,
        body={"detail": "Slow."},
        headers={"Retry-After": "7"},
    )
    response = api.get("servers/100102/")
    assert (response.status_code, response.json, response.headers["Retry-After"]) == (
        429,
        {"detail": "Slow."},
        "7",
    )
    assert api.get("servers/100101/").status_code == 200
    api.control("faults", route="servers", body=[])
    assert api.get("servers/").json == []


@pytest.mark.parametrize(
    "wrong", [{}, {"route": "nowhere"}, {"route": "*", "kind": "odd"}, {"route": "*", "colour": 1}]
)
def test_a_fault_that_cannot_be_is_refused(api: Caller, wrong: dict[str, Any]) -> None:
    assert api.client.post("/sandbox/control/faults", json=wrong).status_code == 400


def test_knobs_turn_and_reset_forgets_everything(api: Caller) -> None:
    before = api.client.get("/sandbox/control/state").json
    connection, old = api.find(failure="expired", auth="oauth2"), api.token(1001)
    knobs = api.control("knobs", latency_ms=1, error_rate=1, run_seconds=[0, 0])
    assert knobs == {"latency_ms": 1, "error_rate": 1, "run_seconds": [0, 0]}
    assert api.get("servers/").status_code == 500
    api.control("knobs", error_rate=0)
    api.of(connection, "reauthorise/")
    api.control("accounts/1001/revoke-token")
    assert api.client.post("/sandbox/control/knobs", json={"error_rate": 2}).status_code == 400
    api.control("reset")
    assert api.client.get("/sandbox/control/state").json == before
    assert api.client.get("/api/servers/", headers=old).status_code == 200
    assert api.status(connection) == "ERROR"


def test_a_closed_connection_is_one_for_a_real_client() -> None:
    server = make_server("127.0.0.1", 0, create_sandbox(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        requests.post(
            f"{url}/sandbox/control/faults",
            json={"route": "sub_accounts", "kind": "close", "times": 1},
            timeout=30,
        )
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/api/partner/sub-accounts/", headers=PARTNER, timeout=30)
        assert (
            requests.get(
                f"{url}/api/partner/sub-accounts/", headers=PARTNER, timeout=30
            ).status_code
            == 200
        )
    finally:
        server.shutdown()
        thread.join(5)


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        (
            "GET",
            "/api/nope/",
            404,
            {"error": "URL_NOT_FOUND", "detail": "URL /api/nope/ not found."},
        ),
        ("DELETE", "/api/applications/", 405, {"detail": 'Method "DELETE" not allowed.'}),
        ("GET", "/api/servers", 404, {"error": "URL_TRAILING_SLASH_MISSING"}),
        ("GET", "/api/servers/99999999999999999999999/", 401, {}),
    ],
)
def test_what_no_route_takes_is_refused_in_baserows_words(
    api: Caller, method: str, path: str, status: int, body: dict[str, str]
) -> None:
    response = api.client.open(path, method=method)
    assert response.status_code == status
    assert body.items() <= response.json.items()


@pytest.mark.parametrize(
    "query",
    [
        "account_id=²",
        "account_id=99999999999999999999999",
        "external_id=cust-²",
        "external_id=",
        "",
    ],
)
def test_an_account_that_is_not_there_is_not_found_however_it_is_asked_for(
    api: Caller, query: str
) -> None:
    assert api.partner(f"sub-account/?{query}").status_code == 404
