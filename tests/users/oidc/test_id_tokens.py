"""Id_tokens of common providers, with settings: signed in with a role, or refused."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask

from dashboard.users import service as users
from dashboard.users.models import User
from tests.support.oidc_provider import Provider, refusal_text, sign_in
from tests.support.people import Person

TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
AUTH0 = "https://console.example.com/roles"
# A member; a guest has an address of another organisation.
ENTRA = {
    "ver": "2.0",
    "tid": TENANT,
    "oid": "00000000-0000-0000-66f3-3332eca7ea81",
    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
    "name": "Sue Member",
    "preferred_username": "Sue@Example.com",
    "email": "sue@example.com",
    "roles": ["support"],
}
ENTRA_GROUPS = {**ENTRA, "roles": None, "groups": ["11111111-2222-3333-4444-555555555555"]}
GUEST = {**ENTRA, "preferred_username": "sue@elsewhere.example", "email": "sue@example.com"}
GOOGLE = {
    "sub": "110169484474386276334",
    "email": "sue@example.com",
    "email_verified": True,
    "hd": "example.com",
}
OKTA = {
    "sub": "00uid4BxXw6I6TV4m0g3",
    "email": "sue@example.com",
    "email_verified": True,
    "preferred_username": "sue@example.com",
    "groups": ["Everyone", "support"],
}
KEYCLOAK = {
    "sub": "f:550e8400-e29b-41d4-a716-446655440000:sue",
    "email": "sue@example.com",
    "email_verified": True,
    "preferred_username": "sue",
    "realm_access": {"roles": ["offline_access", "support"]},
}
AUTH0_SHAPE = {
    "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
    "email": "sue@example.com",
    "email_verified": True,
    AUTH0: ["support"],
}
IN_A_DOMAIN = {"domains": frozenset({"example.com"})}
BY_NAME = {"email_claim": "preferred_username"}
NOT_VERIFIED = "does not say that the address is verified, so it could be anybody’s"


@dataclass(frozen=True)
class Case:
    """``says``: part of the refusal; empty if the user is signed in as ``address``."""

    claims: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    address: str = "sue@example.com"


CASES = {
    "Entra ID without domains": Case(ENTRA, {}, NOT_VERIFIED),
    "Entra ID, by email, in a domain": Case(ENTRA, IN_A_DOMAIN),
    "Entra ID, by preferred_username, in a domain": Case(ENTRA, {**BY_NAME, **IN_A_DOMAIN}),
    "Entra ID, by upn": Case(
        {**ENTRA, "upn": "sue@example.com"}, {"email_claim": "upn", **IN_A_DOMAIN}
    ),
    "Entra ID, by upn that is not sent": Case(
        ENTRA, {"email_claim": "upn", **IN_A_DOMAIN}, "to send the upn claim"
    ),
    "Entra ID, by groups": Case(
        ENTRA_GROUPS,
        {"role_claim": "groups", "roles": {ENTRA_GROUPS["groups"][0]: "operator"}, **IN_A_DOMAIN},
    ),
    "Entra ID, too many groups to send": Case(
        {**ENTRA, "roles": None, "_claim_names": {"groups": "src1"}},
        {"role_claim": "groups", **IN_A_DOMAIN},
        "no role in this console",
    ),
    "Entra ID, without a role": Case(
        {**ENTRA, "roles": None}, IN_A_DOMAIN, "no role in this console"
    ),
    "Entra ID, without an address": Case(
        {**ENTRA, "email": None}, IN_A_DOMAIN, "did not tell your e-mail address"
    ),
    "Entra ID, another domain": Case(
        {**ENTRA, "email": "sue@other.example"}, IN_A_DOMAIN, NOT_VERIFIED
    ),
    "Entra ID, a domain below": Case(
        {**ENTRA, "email": "sue@below.example.com"}, IN_A_DOMAIN, NOT_VERIFIED
    ),
    "Entra ID, a domain that ends so": Case(
        {**ENTRA, "email": "sue@notexample.com"}, IN_A_DOMAIN, NOT_VERIFIED
    ),
    "Entra ID, a domain in capitals": Case({**ENTRA, "email": "SUE@EXAMPLE.COM"}, IN_A_DOMAIN),
    "Entra ID, another domain's letters": Case(
        {**ENTRA, "email": "sue@exаmple.com"}, IN_A_DOMAIN, NOT_VERIFIED
    ),
    "Entra ID, two signs": Case(
        {**ENTRA, "email": "sue@example.com@other.example"}, IN_A_DOMAIN, "which is none"
    ),
    "Entra ID, quoted": Case(
        {**ENTRA, "email": '"sue@example.com"@other.example'}, IN_A_DOMAIN, "which is none"
    ),
    "Entra ID, a guest by preferred_username": Case(
        GUEST, {**BY_NAME, **IN_A_DOMAIN}, NOT_VERIFIED
    ),
    "Entra ID, a guest's own name": Case(
        {**ENTRA, "preferred_username": "sue_elsewhere.example#EXT#@example.onmicrosoft.com"},
        {**BY_NAME, **IN_A_DOMAIN},
        NOT_VERIFIED,
    ),
    "Entra ID, a domain is verified by xms_edov": Case(
        {**ENTRA, "xms_edov": True}, {}, NOT_VERIFIED
    ),
    "Google, by its domain": Case(
        GOOGLE, {"role_claim": "hd", "roles": {"example.com": "operator"}}
    ),
    "Google, another organisation": Case(
        {**GOOGLE, "hd": "other.example"},
        {"role_claim": "hd", "roles": {"example.com": "operator"}},
        "no role",
    ),
    "Google, a private account": Case(
        {**GOOGLE, "hd": None},
        {"role_claim": "hd", "roles": {"example.com": "operator"}},
        "no role",
    ),
    "Google, not verified": Case(
        {**GOOGLE, "email_verified": False},
        {"role_claim": "hd", "roles": {"example.com": "operator"}, **IN_A_DOMAIN},
        "not verified there",
    ),
    "Okta, by groups": Case(OKTA, {"role_claim": "groups"}),
    "Okta, by preferred_username": Case(OKTA, {"role_claim": "groups", **BY_NAME}),
    "Okta, not verified": Case(
        {**OKTA, "email_verified": False}, {"role_claim": "groups"}, "not verified there"
    ),
    "Keycloak, by realm roles": Case(KEYCLOAK, {"role_claim": "realm_access.roles"}),
    "Keycloak, by a name that is no address": Case(
        KEYCLOAK,
        {"role_claim": "realm_access.roles", **BY_NAME},
        "its claim “preferred_username” says “sue”, which is none",
    ),
    "Keycloak, by a name that somebody chose": Case(
        {**KEYCLOAK, "preferred_username": "boss@example.org"},
        {"role_claim": "realm_access.roles", **BY_NAME},
        NOT_VERIFIED,
    ),
    "Keycloak, not verified": Case(
        {**KEYCLOAK, "email_verified": False},
        {"role_claim": "realm_access.roles", **IN_A_DOMAIN},
        "not verified there",
    ),
    "Auth0, by a claim with a namespace": Case(AUTH0_SHAPE, {"role_claim": AUTH0}),
    "Auth0, not verified": Case(
        {**AUTH0_SHAPE, "email_verified": False}, {"role_claim": AUTH0}, "not verified there"
    ),
    "verified as a word": Case({**OKTA, "email_verified": "true"}, {"role_claim": "groups"}),
    "verified as a number": Case(
        {**OKTA, "email_verified": 1}, {"role_claim": "groups"}, "not verified there"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_who_comes_is_let_in_or_reads_why_not(
    app: Flask, mallory: Person, provider: Provider, configure: Callable[..., None], case: Case
) -> None:
    configure(**case.settings)
    provider.person = {name: value for name, value in case.claims.items() if value is not None}
    response = sign_in(mallory)
    with app.app_context():
        made = [user for user in User.query.all() if user.issuer is not None]
        if case.says:
            assert case.says in refusal_text(response)
            assert made == []
            return
        assert response.status_code == 302
        assert [(user.email, user.role, user.subject) for user in made] == [
            (case.address, "operator", case.claims["sub"])
        ]


def test_who_is_known_by_the_subject_comes_in_whatever_the_settings_say_of_the_address(
    app: Flask, mallory: Person, provider: Provider, configure: Callable[..., None]
) -> None:
    """Users whom an earlier version accepted without ``email_verified`` are not locked out."""
    configure(**IN_A_DOMAIN)
    provider.person = dict(ENTRA)
    sign_in(mallory)
    mallory.post("/logout")
    configure(domains=frozenset())
    assert sign_in(mallory).status_code == 302
    with app.app_context():
        assert users.find_user("sue@example.com") is not None
