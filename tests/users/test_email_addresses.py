"""One user for all spellings of an address: found, signed in, counted, created once."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask

from dashboard.core.database import db
from dashboard.fleet.counters import repair_texts
from dashboard.users import oidc_users, passwords
from dashboard.users import service as users
from dashboard.users.errors import PeopleError
from dashboard.users.models import User

pytestmark = pytest.mark.both_engines


AT = datetime(2026, 3, 31, 7, 12, tzinfo=UTC)
PASSWORD = "correct horse battery"
SPELLINGS = (
    "sam@bücher.example",
    "sam@xn--bcher-kva.example",
    "SAM@XN--BCHER-KVA.EXAMPLE",
    "Sam@BU\u0308CHER.example",
    " ｓａｍ＠bücher．example\u00a0",
    "sa\u200bm@bücher.example",
)


@pytest.fixture(autouse=True)
def context(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(
        users, "hash_password", lambda password, email: passwords._hasher.hash(password)
    )
    with app.app_context():
        yield


@pytest.mark.parametrize("made_as", SPELLINGS[:4])
def test_somebody_made_with_one_spelling_is_found_and_signed_in_with_any(made_as: str) -> None:
    made = users.create_user(made_as, "viewer", PASSWORD, AT)
    assert made.email == "sam@bücher.example"
    for spelling in SPELLINGS:
        found = users.find_user(spelling)
        assert found is not None, spelling
        assert found.id == made.id
        signed_in = users.check_password(spelling, PASSWORD)
        assert signed_in is not None, spelling
        with pytest.raises(PeopleError, match=r"already|is no e-mail address"):
            users.create_user(spelling, "admin", PASSWORD, AT)


def test_a_provider_vouches_for_the_person_whatever_its_spelling() -> None:
    for number, spelling in enumerate(SPELLINGS[:4]):
        made = users.create_user("sam@bücher.example", "viewer", PASSWORD, AT)
        claims = {"issuer": "https://id.example.com", "verified": True, "role": "viewer"}
        with pytest.raises(oidc_users.NotProvisioned, match="signs in with a password here"):
            oidc_users.provision_user(
                oidc_users.OidcIdentity(subject=f"s{number}", email=spelling, **claims), AT
            )  # type: ignore[arg-type]
        oidc_users.hand_over(made, "https://id.example.com")
        admitted = oidc_users.provision_user(
            oidc_users.OidcIdentity(subject=f"s{number}", email=spelling, **claims), AT
        )  # type: ignore[arg-type]
        assert admitted.id == made.id
        db.session.delete(made)
        db.session.commit()


def test_a_letter_that_only_looks_alike_is_somebody_else() -> None:
    made = users.create_user("admin.sam@example.com", "viewer", PASSWORD, AT)
    assert users.find_user("ADMIN.SAM@EXAMPLE.COM") is made
    assert users.find_user("admın.sam@example.com") is None
    assert users.create_user("admın.sam@example.com", "viewer", PASSWORD, AT).id != made.id


def test_two_whom_an_earlier_version_told_apart_both_still_sign_in() -> None:
    """Users of an earlier version, whose addresses are equal after the upgrade."""
    one, other = (
        User(
            email=email,
            role="viewer",
            password_hash=passwords._hasher.hash(password),
            created_at=AT,
        )
        for email, password in (
            ("jan.straße@example.com", "the first one's"),
            ("jan.strasse@example.com", "the second one's"),
        )
    )
    db.session.add_all([one, other])
    db.session.commit()
    assert one.address == other.address
    for spell in (str, str.title, lambda text: f" {text} "):
        assert users.check_password(spell("jan.straße@example.com"), "the first one's") is one
        assert users.check_password(spell("jan.strasse@example.com"), "the second one's") is other
    with pytest.raises(PeopleError, match="already"):
        users.create_user("Jan.Strasse@example.com", "viewer", PASSWORD, AT)


def test_somebody_whom_a_version_made_that_kept_no_canonical_form_signs_in() -> None:
    made = users.create_user("late@example.com", "viewer", PASSWORD, AT)
    db.session.execute(
        db.update(User).where(User.id == made.id).values(address="", email_folded="")
    )
    db.session.commit()
    assert users.check_password("Late@Example.com", PASSWORD) is not None
    with pytest.raises(PeopleError, match="already"):
        users.create_user("LATE@example.com", "viewer", PASSWORD, AT)
    assert repair_texts() == 1
    db.session.refresh(made, ["address"])
    assert made.address == "late@example.com"
