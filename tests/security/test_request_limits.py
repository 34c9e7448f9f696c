"""Limits on what one user may request, for every route of the map of routes."""

import pytest
from flask import Flask
from redis.exceptions import ConnectionError as RedisIsAway

from dashboard.users import quotas, tokens
from dashboard.users import service as users
from dashboard.web.required_role import PUBLIC
from dashboard.web.security import limiter
from tests.security.route_requests import RouteRequests, send_request
from tests.support.people import Person

pytestmark = pytest.mark.usefixtures("stubbed_views", "rate_limited")


def at_most(monkeypatch: pytest.MonkeyPatch, amount: str) -> None:
    monkeypatch.setattr(
        quotas, "AMOUNTS", {kind: (amount, called) for kind, (_, called) in quotas.AMOUNTS.items()}
    )


def test_whatever_changes_something_or_gives_much_away_is_counted(
    app: Flask, route_requests: RouteRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_most(monkeypatch, "1 per minute")
    person = Person(app.test_client(), "adam@example.com")
    token, counted = person.token("/me"), 0
    for request in route_requests.all():
        if request.role == PUBLIC:
            continue
        with app.app_context():
            limiter.reset()
        first, second = (
            send_request(person.client, request, data={"csrf_token": token}).status_code
            for _ in range(2)
        )
        is_much = (
            request.method != "GET"
            or request.is_for_scripts
            or request.endpoint.startswith("tables.")
        )
        assert (first, second) == (200, 429 if is_much else 200), request
        counted += is_much
    assert counted > 80


def test_nobody_has_more_than_their_amount_by_session_and_token_together(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_most(monkeypatch, "4 per minute; 100 per hour")
    viv, olga = (Person(app.test_client(), f"{name}@example.com") for name in ("viv", "olga"))
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        token = tokens.new_token(user, "report", app.extensions["services"].clock()).value
    script, bearer = app.test_client(), {"Authorization": f"Bearer {token}"}
    assert [viv.client.get("/accounts.json").status_code for _ in range(3)] == [200] * 3
    assert [script.get("/accounts.json", headers=bearer).status_code for _ in range(3)] == [
        200,
        429,
        429,
    ]
    refused = script.get("/connections.json", headers=bearer)
    assert (refused.status_code, refused.json["error"], refused.headers["Retry-After"]) == (
        429,
        "too_many_attempts",
        "60",
    )
    assert (
        refused.json["detail"]
        == "One person may have 4 per minute and 100 per hour of pages of rows and lists for "
        "scripts."
    )
    # Other kinds, pages and users are not limited by it.
    assert viv.client.get("/accounts.csv").status_code == 200
    assert viv.client.get("/accounts").status_code == 200
    assert olga.client.get("/accounts.json").status_code == 200


def test_lists_go_on_uncounted_while_redis_is_away(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    viv = Person(app.test_client(), "viv@example.com")

    def away(*_: object) -> bool:
        raise RedisIsAway("no address of it in the log")

    monkeypatch.setattr(limiter.limiter, "hit", away)
    assert viv.client.get("/accounts.json").status_code == 200
    assert "Amounts are not counted: ConnectionError" in caplog.text
    assert "no address" not in caplog.text
