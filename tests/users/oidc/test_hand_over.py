"""Hand-over of users to the provider: the first sign-in binds them, nobody is locked out."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask

from dashboard.audit import service as audit
from dashboard.cli.check import _notes_on_users, provider_problem
from dashboard.cli.main import main
from dashboard.core.database import db
from dashboard.users import issuers, oidc_users, passwords, two_factor
from dashboard.users import service as users
from dashboard.users.errors import PeopleError
from dashboard.users.models import User
from tests.support.clock import Clock
from tests.support.oidc_provider import Provider, refusal_text, sign_in
from tests.support.people import PASSWORD, Person, entries, words

TENANT = "https://login.microsoftonline.com/6babcaad-604b-40ac-a9d7-9fd97c0b779f/v2.0"
SHARED = [
    "https://login.microsoftonline.com/common/v2.0",
    "https://login.microsoftonline.com/organizations/v2.0",
    "https://login.microsoftonline.com/Consumers/v2.0",
    "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
    "https://login.microsoftonline.us/common",
    "https://login.microsoftonline.com",
]


@pytest.fixture
def viv(app: Flask) -> SimpleNamespace:
    """Create a user with a password; return id and address."""
    with app.app_context():
        found = users.find_user("viv@example.com")
        assert found is not None
        return SimpleNamespace(id=found.id, email=found.email)


def by_password(app: Flask, email: str = "viv@example.com") -> int:
    person = Person(app.test_client())
    return int(person.post("/login", page="/login", email=email, password=PASSWORD).status_code)


def stored_identity(app: Flask, number: int) -> tuple[str | None, str | None, str | None, bool]:
    """Return issuer, subject, ``handed_to`` and whether the user has a password."""
    with app.app_context():
        user = db.session.get_one(User, number)
        return user.issuer, user.subject, user.handed_to, bool(user.password_hash)


def test_the_password_works_until_the_first_sign_in_at_the_provider_and_never_again(
    app: Flask, adam: Person, mallory: Person, provider: Provider, viv: SimpleNamespace
) -> None:
    before = Person(app.test_client())
    assert (
        before.post("/login", page="/login", email=viv.email, password=PASSWORD).status_code == 302
    )
    adam.post(f"/users/{viv.id}/provider")
    page = words(adam.get(f"/users/{viv.id}"))
    assert "has not signed in there yet" in page
    assert "Their password works until then" in page
    assert "handed over to 127.0.0.1" in words(adam.get("/users"))
    assert before.client.get("/").status_code == 200
    assert by_password(app) == 302
    for wrong in (
        {"email_verified": None},
        {"email_verified": False},
        {"roles": []},
        {"email": None},
    ):
        provider.comes("viv", **wrong)
        refusal_text(sign_in(mallory))
        assert by_password(app) == 302, wrong
    # With the current role, since another one would end the sessions as well.
    provider.comes("viv", roles=["interns"])
    assert sign_in(mallory).status_code == 302
    assert stored_identity(app, viv.id) == (provider.url, "sub-viv", None, False)
    assert by_password(app) == 403
    assert before.client.get("/").status_code == 302
    assert mallory.client.get("/").status_code == 200
    with app.app_context(), pytest.raises(PeopleError, match="has no password here"):
        passwords.set_password(
            db.session.get_one(User, viv.id),
            "a long enough one",
            app.extensions["services"].clock(),
        )


def test_with_entra_id_somebody_handed_over_comes_in_once_their_domain_is_named(
    app: Flask,
    adam: Person,
    mallory: Person,
    provider: Provider,
    viv: SimpleNamespace,
    configure: Callable[..., None],
) -> None:
    assert "example.com is none of DASHBOARD_OIDC_DOMAINS" in words(adam.get(f"/users/{viv.id}"))
    adam.post(f"/users/{viv.id}/provider")
    provider.person = {
        "sub": "pairwise",
        "preferred_username": "Viv@example.com",
        "roles": ["support"],
    }
    configure(email_claim="preferred_username")
    sentence = refusal_text(sign_in(mallory))
    assert "example.com in DASHBOARD_OIDC_DOMAINS" in sentence
    assert "sign in as before" in sentence
    assert by_password(app) == 302
    configure(email_claim="preferred_username", domains=frozenset({"example.com"}))
    assert "none of DASHBOARD_OIDC_DOMAINS" not in words(adam.get(f"/users/{viv.id}"))
    assert sign_in(mallory).status_code == 302
    assert by_password(app) == 403


def test_the_second_factor_goes_with_the_password_and_not_before(
    app: Flask, adam: Person, mallory: Person, provider: Provider, viv: SimpleNamespace
) -> None:
    with app.app_context():
        user = db.session.get_one(User, viv.id)
        two_factor.switch_on(user, two_factor.new_secret(), 0, lambda text: text.encode())
    adam.post(f"/users/{viv.id}/provider")
    with app.app_context():
        assert db.session.get_one(User, viv.id).totp_secret is not None
    provider.comes("viv")
    sign_in(mallory)
    with app.app_context():
        assert db.session.get_one(User, viv.id).totp_secret is None


def test_who_is_shut_out_while_handed_over_comes_in_neither_way_and_keeps_the_password(
    app: Flask, adam: Person, mallory: Person, provider: Provider, viv: SimpleNamespace
) -> None:
    adam.post(f"/users/{viv.id}/provider")
    adam.post(f"/users/{viv.id}", do="disable")
    provider.comes("viv")
    assert "shut out" in refusal_text(sign_in(mallory))
    assert by_password(app) == 403
    adam.post(f"/users/{viv.id}", do="enable")
    assert by_password(app) == 302


def test_nobody_is_handed_over_to_a_provider_that_cannot_be_asked(
    app: Flask, adam: Person, provider: Provider, viv: SimpleNamespace
) -> None:
    app.extensions["provider"].metadata()
    provider.away = True
    adam.post(f"/users/{viv.id}/provider")
    assert "Nothing was changed" in words(adam.get(f"/users/{viv.id}"))
    assert stored_identity(app, viv.id)[2] is None
    assert entries(adam, what="hand_over", result="failed")


def test_handed_over_anew_the_account_before_works_until_the_new_one_has_come(
    app: Flask, adam: Person, mallory: Person, provider: Provider, viv: SimpleNamespace
) -> None:
    adam.post(f"/users/{viv.id}/provider")
    provider.comes("viv")
    sign_in(mallory)
    adam.post(f"/users/{viv.id}/provider")
    again = Person(app.test_client())
    assert sign_in(again).status_code == 302
    provider.comes("viv", sub="made anew")
    assert sign_in(Person(app.test_client())).status_code == 302
    assert stored_identity(app, viv.id)[1:3] == ("made anew", None)
    assert again.client.get("/").status_code == 302
    provider.comes("viv")
    assert "belongs to another account" in refusal_text(sign_in(Person(app.test_client())))


def test_of_two_accounts_that_come_at_once_one_is_the_person(
    app: Flask, viv: SimpleNamespace, clock: Clock
) -> None:
    issuer = "https://login.example.com"
    with app.app_context():
        oidc_users.hand_over(db.session.get_one(User, viv.id), issuer)

    def sign_in(number: int) -> str:
        with app.app_context():
            try:
                oidc_users.provision_user(
                    oidc_users.OidcIdentity(issuer, f"s{number}", viv.email, True, "viewer"),
                    clock(),
                )
            except oidc_users.NotProvisioned as refusal:
                return str(refusal)
            finally:
                db.session.remove()
            return ""

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(sign_in, range(4)))
    assert results.count("") == 1
    assert sum("belongs to another account" in each for each in results) == 3
    with app.app_context():
        db.session.remove()
    assert stored_identity(app, viv.id)[1] == f"s{results.index('')}"


def test_whom_an_earlier_version_handed_over_comes_in_or_gets_a_password_again(
    app: Flask, mallory: Person, provider: Provider, viv: SimpleNamespace, clock: Clock
) -> None:
    def as_before() -> User:
        user = db.session.get_one(User, viv.id)
        user.issuer, user.subject, user.handed_to, user.password_hash = provider.url, None, None, ""
        db.session.commit()
        return user

    with app.app_context():
        passwords.set_password(as_before(), "a long enough one", clock())
    assert stored_identity(app, viv.id) == (None, None, provider.url, True)
    with app.app_context():
        as_before()
    provider.comes("viv")
    assert sign_in(mallory).status_code == 302
    assert stored_identity(app, viv.id) == (provider.url, "sub-viv", None, False)


@pytest.mark.parametrize("issuer", SHARED)
def test_an_issuer_of_many_organisations_is_refused_by_check_at_sign_in_and_by_handing_over(
    app: Flask,
    adam: Person,
    mallory: Person,
    viv: SimpleNamespace,
    configure: Callable[..., None],
    issuer: str,
) -> None:
    configure(issuer=issuer)
    sentence = "its issuer stands for the accounts of many organisations"
    assert sentence in str(provider_problem(app))
    assert "https://login.microsoftonline.com/<tenant-id>/v2.0" in str(provider_problem(app))
    assert sentence in refusal_text(mallory.client.get("/login/provider"), 503)
    assert sentence in refusal_text(mallory.client.get("/login/provider/back?code=x&state=y"), 503)
    adam.post(f"/users/{viv.id}/provider")
    assert sentence in words(adam.get(f"/users/{viv.id}"))
    assert stored_identity(app, viv.id)[2] is None


def test_a_description_with_a_place_for_the_tenant_in_its_issuer_is_refused(
    app: Flask, mallory: Person, provider: Provider
) -> None:
    provider.described = {"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"}
    assert "stands for the accounts of many organisations" in str(provider_problem(app))
    assert "stands for the accounts of many organisations" in refusal_text(
        mallory.client.get("/login/provider"), 503
    )
    provider.described = {"issuer": "http://127.0.0.1:1"}
    assert "another issuer, “http://127.0.0.1:1”" in str(provider_problem(app))
    provider.described = {}
    assert provider_problem(app) is None


def test_a_tenants_own_issuer_and_other_providers_paths_are_taken() -> None:
    for issuer in (
        TENANT,
        "https://sts.windows.net/6babcaad/",
        "https://login.example.com/common/v2.0",
        "https://example.com",
    ):
        assert not issuers.is_shared(issuer), issuer


@pytest.fixture
def bound(app: Flask, clock: Clock) -> Iterator[str]:
    """Create three users of an old issuer (one disabled), one handed over, one of another."""
    old = "https://old.example.com/realms/staff"
    with app.app_context():
        for number, (issuer, handed_to) in enumerate(
            [(old, None), (old, None), (old, None), (None, old), (TENANT, None)]
        ):
            user = User(
                email=f"p{number}@example.com", role="viewer", password_hash="", created_at=clock()
            )
            user.issuer, user.subject, user.handed_to = (
                issuer,
                f"s{number}" if issuer else None,
                handed_to,
            )
            user.disabled_at = clock() if number == 2 else None
            db.session.add(user)
        db.session.commit()
        yield old


def test_everybody_of_an_issuer_is_moved_with_one_entry_in_the_audit_trail(
    app: Flask, bound: str, clock: Clock
) -> None:
    new = "https://new.example.com/realms/staff"
    assert issuers.move(bound, new, "command line", clock()) == 4
    stored = {
        user.email: (user.issuer, user.subject, user.handed_to)
        for user in User.query.filter(User.email.like("p%"))
    }
    assert stored == {
        "p0@example.com": (new, "s0", None),
        "p1@example.com": (new, "s1", None),
        "p2@example.com": (new, "s2", None),
        "p3@example.com": (None, None, new),
        "p4@example.com": (TENANT, "s4", None),
    }
    entry = db.session.query(audit.AuditEntry).filter_by(what="move_issuer").one()
    assert entry.detail == f"4 people from {bound} to {new}."


def test_where_somebody_has_the_subject_already_nobody_is_moved(
    app: Flask, bound: str, clock: Clock
) -> None:
    user = db.session.query(User).filter_by(email="p4@example.com").one()
    user.subject = "s1"
    db.session.commit()
    with pytest.raises(issuers.MoveError, match=r"p1@example\.com and p4@example\.com"):
        issuers.move(bound, TENANT, "command line", clock())
    assert db.session.query(User).filter_by(issuer=bound).count() == 3
    for old, new, says in (
        (bound, bound, "same issuer"),
        ("https://no.example.com", TENANT, "Nobody is bound"),
        (bound, SHARED[0], "many"),
    ):
        with pytest.raises(issuers.MoveError, match=says):
            issuers.move(old, new, "command line", clock())


def test_check_notes_who_is_bound_elsewhere_and_who_has_not_come_yet(
    app: Flask, bound: str
) -> None:
    settings = app.extensions["services"].settings
    notes = list(_notes_on_users(app, settings))
    assert (
        f"2 people are bound to {bound}, which is not DASHBOARD_OIDC_ISSUER, and cannot sign in."
        in notes[1]
    )
    assert f"1 person is bound to {TENANT}" in notes[0]
    assert notes[2].startswith(
        "People who are handed over and have not signed in at the provider yet: 1."
    )
    entra = settings.model_copy(update={"dashboard_oidc_issuer": TENANT})
    notes = list(_notes_on_users(app, entra))
    assert "DASHBOARD_OIDC_DOMAINS is empty, and Entra ID does not send email_verified" in notes[0]
    assert not any(TENANT in note for note in notes[1:])
    named = entra.model_copy(update={"dashboard_oidc_domains": "example.com"})
    assert "DASHBOARD_OIDC_DOMAINS" not in "".join(_notes_on_users(app, named))


def test_the_commands_hand_over_and_move(
    app: Flask,
    bound: str,
    viv: SimpleNamespace,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from click.testing import CliRunner

    monkeypatch.setattr("dashboard.cli.identity_providers.make_current_app", lambda **_: app)
    run = CliRunner().invoke
    new = "https://new.example.com"
    assert run(main, ["users", "move-issuer", bound, "ftp://x"]).output.startswith(
        "Error: ftp://x must be an https address"
    )
    assert (
        run(main, ["users", "move-issuer", f"{bound}/", new]).output
        == f"4 people are bound to {new} now.\n"
    )
    assert "Nobody is bound" in run(main, ["users", "move-issuer", bound, new]).output
    handed = run(main, ["users", "hand-over", "Viv@example.com"])
    assert handed.exit_code == 0
    assert "signs in as before until" in handed.output
    assert stored_identity(app, viv.id) == (None, None, provider.url, True)
    provider.away = True
    refused = run(main, ["users", "hand-over", "olga@example.com"])
    assert refused.exit_code == 1
    assert "Nothing was changed" in refused.output
    monkeypatch.delitem(app.extensions, "provider")
    assert "No provider is set up" in run(main, ["users", "hand-over", "olga@example.com"]).output
