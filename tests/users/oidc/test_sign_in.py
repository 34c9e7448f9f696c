"""Sign-in and sign-out at a real OpenID Connect provider, over HTTP."""

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache

from dashboard.app import create_app
from dashboard.cli.check import provider_problem
from dashboard.core.database import db
from dashboard.settings import SettingsError, read_settings
from dashboard.users import passwords
from dashboard.users import service as users
from dashboard.users.errors import PeopleError
from dashboard.web.security import limiter
from tests.support.clock import Clock
from tests.support.oidc_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Provider,
    refusal_text,
    run_provider,
    sign_in,
    way_back,
)
from tests.support.people import PASSWORD, Person, entries, words
from tests.support.sandbox import Sandbox
from tests.support.settings import GOOD, make_settings


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with run_provider(Provider()) as state:
        yield state


@pytest.fixture
def provider(running: Provider) -> Provider:
    url = running.url
    running.__init__(url=url)  # type: ignore[misc]
    running.rotate()
    running.comes("sue")
    return running


@pytest.fixture
def app(
    store: dict[str, str],
    sandbox: Sandbox,
    tmp_path: Path,
    clock: Clock,
    compiled: FileSystemBytecodeCache,
    provider: Provider,
) -> Iterator[Flask]:
    """Make a console with the provider."""
    settings = make_settings(
        sandbox.url,
        tmp_path,
        dashboard_oidc_issuer=provider.url,
        dashboard_oidc_client_id=CLIENT_ID,
        dashboard_oidc_client_secret=CLIENT_SECRET,
        dashboard_oidc_roles="support=operator, it-admins=admin, interns=viewer",
        **store,
    )
    made = create_app(settings, clock=clock)
    made.jinja_env.bytecode_cache = compiled
    limiter.enabled = False
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


def test_somebody_new_is_made_with_the_role_that_the_claim_gives(
    mallory: Person, adam: Person, provider: Provider
) -> None:
    assert "Sign in with 127.0.0.1" in words(mallory.get("/login"))
    assert sign_in(mallory).location == "/"
    assert "operator" in words(mallory.get("/me"))
    row = next(
        row for row in adam.get("/users").select("tbody tr") if "sue@example.com" in row.text
    )
    assert "127.0.0.1" in row.text
    item = next(
        item for item in adam.json("/users.json")["items"] if item["email"] == "sue@example.com"
    )
    assert (item["role"], item["from"]) == ("operator", provider.url)
    assert (
        entries(adam, what="sign_in", who="sue@example.com")[0]["detail"]
        == f"By {provider.url}, as operator."
    )


def test_the_provider_is_asked_with_pkce_state_and_nonce_that_are_new_each_time(
    mallory: Person, provider: Provider
) -> None:
    sign_in(mallory)
    mallory.post("/logout")
    sign_in(mallory)
    first, second = provider.seen[-2:]
    assert first["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 20
        assert first[name] != second[name]


def test_signing_in_leads_back_to_where_one_was_going_and_never_elsewhere(
    app: Flask, mallory: Person
) -> None:
    page = mallory.get("/login?next=/connections%3Fseverity%3Derror")
    link = page.select_one("a[href^='/login/provider']")
    assert link is not None
    assert (
        mallory.client.get(way_back(mallory, str(link["href"]))).location
        == "/connections?severity=error"
    )
    other = Person(app.test_client())
    assert other.client.get(way_back(other, "/login/provider?next=//evil.example")).location == "/"


def test_the_role_is_what_the_claim_says_each_time_the_highest_of_several(
    mallory: Person, app: Flask, provider: Provider
) -> None:
    sign_in(mallory)
    provider.comes("sue", roles=["interns", "it-admins", "cooks"])
    other = Person(app.test_client())
    sign_in(other)
    assert other.client.get("/users").status_code == 200
    # No session continues with old rights.
    assert mallory.client.get("/").status_code == 302
    provider.comes("sue", roles="interns")
    sign_in(mallory)
    assert mallory.client.get("/embed").status_code == 403


def test_a_claim_can_lie_in_an_object_and_be_told_by_userinfo_alone(
    app: Flask, mallory: Person, provider: Provider
) -> None:
    app.extensions["provider"] = app.extensions["provider"].__class__(
        **{**vars(app.extensions["provider"]), "role_claim": "realm_access.roles"}
    )
    provider.comes("sue", roles=None, realm_access={"roles": ["support"]})
    provider.quiet = {"realm_access", "email"}
    assert sign_in(mallory).status_code == 302


def test_a_role_that_is_none_here_is_refused_in_words_and_nobody_is_made(
    mallory: Person, adam: Person, provider: Provider
) -> None:
    for roles in (["cooks"], None, {"support": True}, 7):
        provider.comes("sue", roles=roles)
        assert "no role in this console" in refusal_text(sign_in(mallory))
    assert not [
        item for item in adam.json("/users.json")["items"] if item["email"] == "sue@example.com"
    ]
    assert entries(adam, what="sign_in", result="refused", who="sue@example.com")
    assert mallory.client.get("/").status_code == 302


def test_whoever_loses_their_role_is_out_everywhere_and_a_token_rests_when_its_owner_stays_away(
    app: Flask, mallory: Person, provider: Provider, clock: Clock
) -> None:
    sign_in(mallory)
    found = re.search(r"pc_[\w-]{40,}", mallory.post("/me/tokens", name="report").text)
    assert found is not None
    script, bearer = app.test_client(), {"Authorization": f"Bearer {found.group()}"}
    assert script.get("/accounts.json", headers=bearer).status_code == 200
    provider.comes("sue", roles=[])
    refusal_text(sign_in(Person(app.test_client())))
    assert mallory.client.get("/").status_code == 302
    clock.move(days=31)
    assert script.get("/accounts.json", headers=bearer).status_code == 401
    provider.comes("sue")
    sign_in(mallory)
    assert script.get("/accounts.json", headers=bearer).status_code == 200


def test_a_local_user_with_the_same_address_is_not_taken_over_until_an_administrator_hands_them_over(  # noqa: E501  # docs/security.md names it
    app: Flask, mallory: Person, adam: Person, provider: Provider
) -> None:
    provider.comes("viv", roles=["it-admins"])
    assert "viv@example.com signs in with a password here" in refusal_text(sign_in(mallory))
    with app.app_context():
        viv = users.find_user("viv@example.com")
        assert viv is not None
        assert (viv.role, viv.issuer) == ("viewer", None)
        number = viv.id
    assert adam.post(f"/users/{number}/provider").status_code == 303
    provider.comes("viv", email_verified=None)
    assert "does not say that the address is verified" in refusal_text(sign_in(mallory))
    provider.comes("viv")
    assert sign_in(mallory).status_code == 302
    assert "operator" in words(mallory.get("/me"))
    assert len(entries(adam, what="hand_over")) == 2
    mallory.post("/logout")
    assert (
        mallory.post(
            "/login", page="/login", email="viv@example.com", password=PASSWORD
        ).status_code
        == 403
    )


def test_two_accounts_of_the_provider_are_never_one_person_here(
    mallory: Person, app: Flask, provider: Provider
) -> None:
    sign_in(mallory)
    provider.comes("sue", sub="another")
    assert "belongs to another account" in refusal_text(sign_in(Person(app.test_client())))


def test_an_address_that_is_not_verified_is_nobodys(mallory: Person, provider: Provider) -> None:
    for verified in (False, "false", "no"):
        provider.comes("sue", email_verified=verified)
        assert "not verified" in refusal_text(sign_in(mallory))


def test_an_account_without_an_address_is_refused(mallory: Person, provider: Provider) -> None:
    for email in (None, "nonsense", ["sue@example.com"]):
        provider.comes("sue", email=email)
        assert "did not tell your e-mail address" in refusal_text(sign_in(mallory))


def test_who_is_shut_out_stays_out(mallory: Person, adam: Person, app: Flask) -> None:
    sign_in(mallory)
    with app.app_context():
        sue = users.find_user("sue@example.com")
        assert sue is not None
        number = sue.id
    adam.post(f"/users/{number}", do="disable")
    assert mallory.client.get("/").status_code == 302
    assert "shut out" in refusal_text(sign_in(mallory))


def test_who_signs_in_there_has_no_password_here_and_gets_none(
    mallory: Person, adam: Person, app: Flask, clock: Clock
) -> None:
    sign_in(mallory)
    with app.app_context():
        sue = users.find_user("sue@example.com")
        assert sue is not None
        with pytest.raises(PeopleError, match="has no password here"):
            passwords.set_password(sue, "a long enough one", clock())
        number = sue.id
    mallory.post("/logout")
    for guess in ("", " ", PASSWORD):
        mallory.post("/login", page="/login", email="sue@example.com", password=guess)
        assert mallory.client.get("/").status_code == 302
    # The provider sets their role.
    adam.post(f"/users/{number}", do="admin")
    with app.app_context():
        sue = users.find_user("sue@example.com")
        assert sue is not None
        assert sue.role == "operator"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "of another time"},
        {"nonce": None},
        {"aud": ["another-client"], "azp": CLIENT_ID},
        {"aud": ["another-client"]},
        {"aud": None},
        {"iss": "http://127.0.0.1:1"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"iat": int(time.time()) + 3600},
        {"azp": "another-client"},
        {"sub": None},
        {"at_hash": "of-another-token"},
    ],
    # Of times only the claim, since all test processes must collect the same names.
    ids=lambda wrong: " ".join(
        f"{claim}={'a time' if isinstance(value, int) else value}" for claim, value in wrong.items()
    ),
)
def test_an_id_token_of_which_anything_is_wrong_signs_nobody_in(
    mallory: Person, adam: Person, provider: Provider, wrong: dict[str, object]
) -> None:
    provider.wrong = wrong
    assert "not what this console had asked for" in refusal_text(sign_in(mallory))
    assert mallory.client.get("/").status_code == 302
    assert entries(adam, what="sign_in", result="failed")


def test_an_id_token_without_signature_or_by_another_key_signs_nobody_in(
    mallory: Person, provider: Provider
) -> None:
    provider.unsigned = True
    refusal_text(sign_in(mallory))
    provider.unsigned = False
    provider.forged()
    refusal_text(sign_in(mallory))
    provider.rotate()
    assert sign_in(mallory).status_code == 302


def test_keys_that_the_provider_changes_are_fetched(mallory: Person, provider: Provider) -> None:
    sign_in(mallory)
    mallory.post("/logout")
    provider.rotate()
    assert sign_in(mallory).status_code == 302


def test_a_wrong_state_and_another_browsers_signs_nobody_in(app: Flask, mallory: Person) -> None:
    back = way_back(mallory)
    state = parse_qs(urlsplit(back).query)["state"][0]
    refusal_text(mallory.client.get(back.replace(state, "another")))
    refusal_text(Person(app.test_client()).client.get(back))
    refusal_text(mallory.client.get("/login/provider/back"))
    refusal_text(mallory.client.get("/login/provider/back?code=x"))


def test_a_code_is_good_once_even_in_the_same_browser(app: Flask, mallory: Person) -> None:
    back = way_back(mallory)
    cookie = mallory.client.get_cookie("console_session")
    assert cookie is not None
    assert mallory.client.get(back).status_code == 302
    thief = Person(app.test_client())
    thief.client.set_cookie("console_session", cookie.value)
    refusal_text(thief.client.get(back))
    mallory.post("/logout")
    refusal_text(mallory.client.get(back))


def test_who_declines_at_the_provider_is_told_so(mallory: Person, provider: Provider) -> None:
    provider.person = {}
    refusal_text(sign_in(mallory))


def test_while_the_provider_is_away_it_is_said_and_passwords_work(
    mallory: Person, provider: Provider
) -> None:
    provider.away = True
    assert "does not answer" in refusal_text(mallory.client.get("/login/provider"), 503)
    assert (
        mallory.post(
            "/login", page="/login", email="viv@example.com", password=PASSWORD
        ).status_code
        == 302
    )
    mallory.post("/logout")
    provider.away = False
    back = way_back(mallory)
    provider.away = True
    assert "does not answer" in refusal_text(mallory.client.get(back), 503)


def test_the_check_of_everything_asks_the_provider_too(app: Flask, provider: Provider) -> None:
    assert provider_problem(app) is None
    app.extensions["provider"].client.server_metadata.pop("_loaded_at")
    provider.away = True
    assert "DASHBOARD_OIDC_ISSUER" in str(provider_problem(app))


def test_a_provider_that_says_that_it_is_another_is_not_believed(
    mallory: Person, provider: Provider
) -> None:
    provider.described = {"issuer": "http://127.0.0.1:1"}
    refusal_text(mallory.client.get("/login/provider"), 503)
    provider.described = {}
    assert sign_in(mallory).status_code == 302


def test_signing_out_ends_the_session_here_and_leads_to_the_provider(
    app: Flask, mallory: Person, provider: Provider
) -> None:
    sign_in(mallory)
    response = mallory.post("/logout")
    assert response.headers["Refresh"].startswith(f"0; url={provider.url}/end?")
    assert f"{provider.url}/end?" in response.text
    assert "id_token" not in response.text
    assert "post_logout_redirect_uri=http%3A%2F%2Flocalhost%2Flogin" in response.text
    assert mallory.client.get("/").status_code == 302
    provider.described = {"end_session_endpoint": None}
    other = Person(app.test_client())
    app.extensions["provider"].client.server_metadata.pop("_loaded_at")
    sign_in(other)
    assert other.post("/logout").location == "/login"
    assert "may still know you" in words(other.get("/login"))


def test_who_has_a_password_signs_out_here_alone(viv: Person) -> None:
    assert viv.post("/logout").location == "/login"


def test_nothing_of_the_providers_tokens_is_kept_or_logged(
    mallory: Person, provider: Provider, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level("DEBUG"):
        sign_in(mallory)
    (token,) = provider.tokens
    cookie = mallory.client.get_cookie("console_session")
    assert cookie is not None
    held = cookie.value + base64.urlsafe_b64decode(
        cookie.value.lstrip(".").split(".")[0] + "==="
    ).decode("latin-1")
    for secret in (token, CLIENT_SECRET):
        assert secret not in caplog.text
        assert secret not in held
        assert secret.encode() not in (tmp_path / "console.db").read_bytes()


def test_settings_of_a_provider_are_checked_together() -> None:
    issuer = {**GOOD, "DASHBOARD_OIDC_ISSUER": "https://login.example.com/"}
    with pytest.raises(SettingsError, match="DASHBOARD_OIDC_CLIENT_ID and DASHBOARD_OIDC_ROLES"):
        read_settings(issuer, Path("/nonexistent"))
    for roles in ("support", "support=king", "=admin"):
        with pytest.raises(SettingsError, match="DASHBOARD_OIDC_ROLES"):
            read_settings(
                {**issuer, "DASHBOARD_OIDC_CLIENT_ID": "x", "DASHBOARD_OIDC_ROLES": roles},
                Path("/nonexistent"),
            )
    found = read_settings(
        {
            **issuer,
            "DASHBOARD_OIDC_CLIENT_ID": "x",
            "DASHBOARD_OIDC_ROLES": "cn=a=b=admin, c=viewer",
        },
        Path("/nonexistent"),
    )
    assert found.oidc_roles == {"cn=a=b": "admin", "c": "viewer"}
    assert json.dumps(found.dashboard_oidc_issuer) == '"https://login.example.com"'
