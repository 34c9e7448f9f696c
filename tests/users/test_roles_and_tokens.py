"""Sign-in, roles, tokens, CSRF and the audit log."""

import re

from flask import Flask

from dashboard.context import Services
from dashboard.users import passwords
from dashboard.users import service as users
from tests.support.clock import Clock
from tests.support.people import PASSWORD, Person, entries, path_of, words
from tests.support.sandbox import Sandbox


def test_an_action_is_post_only_and_another_roles_button_is_refused_and_recorded(
    viv: Person, adam: Person, sandbox: Sandbox
) -> None:
    path = path_of(sandbox.healthy, "/sync")
    assert viv.client.get(path).status_code == 405
    assert viv.post(path).status_code == 403
    refused = entries(adam, who="viv@example.com", result="refused")
    assert refused[0]["connection_id"] == sandbox.healthy.id
    assert sandbox.state()["syncs"] == {}


def test_a_form_without_its_token_does_nothing_and_is_recorded(
    olga: Person, adam: Person, sandbox: Sandbox
) -> None:
    response = olga.client.post(path_of(sandbox.healthy, "/sync"))
    assert response.status_code == 400
    assert "too old" in response.text
    assert sandbox.state()["syncs"] == {}
    assert entries(adam, what="connections.start_sync", result="refused")


def test_signing_in_leads_back_to_where_one_was_going(mallory: Person) -> None:
    response = mallory.client.get("/connections?severity=error")
    assert response.location.startswith("/login?next=")
    response = mallory.post(
        "/login",
        page="/login",
        email="viv@example.com",
        password=PASSWORD,
        next="/connections?severity=error",
    )
    assert response.location == "/connections?severity=error"


def test_a_session_ends_without_use_and_in_any_case(olga: Person, clock: Clock) -> None:
    for _ in range(11):
        clock.move(minutes=55)
        assert olga.client.get("/").status_code == 200
    clock.move(minutes=61)
    assert olga.client.get("/").status_code == 302


def test_a_session_in_constant_use_ends_after_twelve_hours(olga: Person, clock: Clock) -> None:
    for _ in range(13):
        clock.move(minutes=54)
        olga.client.get("/")
    clock.move(minutes=50)
    assert olga.client.get("/").status_code == 302


def test_a_poll_never_keeps_a_session_alive_and_never_signs_anybody_in(
    olga: Person, clock: Clock, sandbox: Sandbox
) -> None:
    path = path_of(sandbox.healthy, "/run-status")
    for _ in range(7):
        clock.move(minutes=10)
        last = olga.client.get(path, headers={"HX-Request": "true"})
    assert last.status_code == 401
    assert last.headers["HX-Redirect"].endswith("/login")


def test_a_new_password_a_new_role_and_being_shut_out_end_every_session(
    app: Flask, olga: Person, viv: Person, adam: Person, services: Services
) -> None:
    with app.app_context():
        user = users.find_user("olga@example.com")
        assert user is not None
        passwords.set_password(user, "another long password", services.clock())
        other = users.find_user("viv@example.com")
        assert other is not None
        number = other.id
    assert olga.client.get("/").status_code == 302
    assert adam.post(f"/users/{number}", do="operator").status_code == 303
    assert viv.client.get("/").status_code == 302
    assert adam.post(f"/users/{number}", do="disable").status_code == 303
    assert (
        viv.post("/login", page="/login", email="viv@example.com", password=PASSWORD).status_code
        == 403
    )


def test_a_personal_token_is_shown_once_opens_the_twins_and_nothing_else(
    app: Flask, viv: Person, adam: Person
) -> None:
    shown = viv.post("/me/tokens", name="report")
    token = re.search(r"pc_[\w-]{40,}", shown.text)
    assert token is not None
    assert token.group() not in viv.client.get("/me").text
    script, bearer = app.test_client(), {"Authorization": f"Bearer {token.group()}"}
    assert script.get("/connections.json", headers=bearer).status_code == 200
    assert script.get("/accounts.csv", headers=bearer).status_code == 200
    assert script.get("/audit.json", headers=bearer).status_code == 403
    assert script.get("/connections", headers=bearer).status_code == 302
    assert script.post("/logout", headers=bearer).status_code in {302, 400}
    number = viv.get("/me").select_one("form[action*='/revoke']")
    assert number is not None
    viv.post(str(number["action"]))
    response = script.get("/connections.json", headers=bearer)
    assert (response.status_code, response.json["error"]) == (401, "not_signed_in")
    assert {"create_token", "revoke_token"} <= {
        item["what"] for item in adam.json("/audit.json")["items"]
    }


def test_an_administrator_adds_people_but_never_changes_their_own_role(
    adam: Person, mallory: Person
) -> None:
    assert (
        adam.post(
            "/users", email="new@example.com", role="viewer", password="a long enough one"
        ).status_code
        == 303
    )
    assert (
        mallory.post(
            "/login", page="/login", email="new@example.com", password="a long enough one"
        ).status_code
        == 302
    )
    for wrong in (
        {"email": "new@example.com"},
        {"email": "nonsense"},
        {"role": "king"},
        {"password": "short"},
    ):
        response = adam.post(
            "/users",
            **{
                "email": "x@example.com",
                "role": "viewer",
                "password": "a long enough one",
                **wrong,
            },
        )
        assert response.status_code == 400
    mine = next(
        row for row in adam.get("/users").select("tbody tr") if "adam@example.com" in row.text
    )
    assert mine.find("form") is None


def test_every_action_is_in_the_audit_trail_with_its_result(
    olga: Person, adam: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    olga.post(path_of(connection, "/sync"))
    found = entries(adam, what="sync", who="olga@example.com")
    assert [(item["result"], item["connection_id"]) for item in found] == [
        ("pending", connection.id)
    ]
    assert "olga@example.com" in words(adam.get("/audit?q=sync"))


def test_every_page_has_a_strict_policy_and_is_not_kept(viv: Person) -> None:
    headers = viv.client.get("/").headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["Cache-Control"] == "no-store"
    assert "<script>" not in viv.client.get("/").text
    assert not viv.get("/").select("[style], [onclick], script:not([src])")


def test_the_session_cookie_is_for_this_site_over_https_and_not_for_scripts(
    app: Flask, mallory: Person
) -> None:
    app.config["SESSION_COOKIE_SECURE"] = True
    cookie = mallory.client.get("/login", base_url="https://localhost").headers["Set-Cookie"]
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}


def test_no_page_holds_a_token_of_a_customer(
    olga: Person, services: Services, sandbox: Sandbox
) -> None:
    secret = services.api.tokens.get(1001) or services.api._identity(1001)
    for path in (
        "/accounts/1001",
        "/embed?external_id=cust-00001",
        path_of(sandbox.healthy),
        "/accounts/1001/tables/10011900",
    ):
        assert secret not in olga.client.get(path).text
