"""Signing in and out at an OpenID Connect provider, by Authlib: discovery, code flow with PKCE, state, nonce, a signed id_token.

No token of the provider's is kept: what it says of a person is read once, when they come.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import (
    Blueprint,
    Flask,
    abort,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user

from dashboard.audit import service as audit
from dashboard.context import services
from dashboard.core import unreachable
from dashboard.core.email_addresses import canonical
from dashboard.users import issuers, oidc_users
from dashboard.users.access import log_in
from dashboard.users.oidc_claims import find, values, verified
from dashboard.web.access import PUBLIC, requires, safe_next
from dashboard.web.security import limiter

bp = Blueprint("provider", __name__)
# By a provider's private key alone: neither unsigned, nor by the client's secret, whatever the provider says that it supports.
SIGNATURES = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
TIMEOUT = 8
STRONGEST = ("admin", "operator", "viewer")
TRY_AGAIN = "Nobody was signed in. Begin again from here."


class Refused(Exception):
    """What came back from the provider is not to be believed; ``why`` is for the audit trail and has nothing secret in it."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Away(Exception):
    """The provider does not answer, or not as it should."""


class SharedIssuer(Away):
    """The issuer stands for the accounts of many organisations: none of them may say who has which address."""

    sentence = (
        "its issuer stands for the accounts of many organisations, any of which could give its people your people's addresses."
        " Set DASHBOARD_OIDC_ISSUER to your own tenant's, https://login.microsoftonline.com/<tenant-id>/v2.0"
    )

    def __init__(self) -> None:
        super().__init__(self.sentence)


@dataclass(frozen=True)
class Provider:
    """The one of the settings. ``roles``: by the values of ``role_claim``. ``domains``: those whose addresses are its own.

    ``client``: Authlib's, which reads the provider's own description when first needed.
    """

    issuer: str
    name: str
    email_claim: str
    domains: frozenset[str]
    role_claim: str
    roles: Mapping[str, str]
    client: Any

    def metadata(self, *, refresh: bool = False) -> dict[str, Any]:
        """How the provider describes itself; kept from the first time on, and read again with ``refresh``.

        Raises:
            Away: it does not answer, or describes another issuer than the settings name.
            SharedIssuer: neither may be believed.
        """
        if issuers.is_shared(self.issuer):
            raise SharedIssuer
        if refresh:
            self.client.server_metadata.pop("_loaded_at", None)
        try:
            found: dict[str, Any] = self.client.load_server_metadata()
        except (requests.RequestException, ValueError) as error:
            raise Away(unreachable.reason(error) or type(error).__name__) from None
        said = str(found.get("issuer", "")).rstrip("/")
        if said != self.issuer:
            found.pop("_loaded_at", None)
            raise (
                SharedIssuer
                if issuers.is_shared(said)
                else Away(f"its description names another issuer, “{said[:120]}”")
            )
        offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        found["id_token_signing_alg_values_supported"] = [
            name for name in offered if name in SIGNATURES
        ]
        return found

    def begin(self, back: str) -> ResponseReturnValue:
        """To the provider.

        Raises:
            Away: it cannot be asked where that is.
        """
        self.metadata()
        try:
            answer: ResponseReturnValue = self.client.authorize_redirect(back)
        except RuntimeError:
            raise Away("its description names no place to sign in") from None
        return answer

    def person(self) -> oidc_users.OidcIdentity:
        """Whom the request that came back from the provider is about.

        Raises:
            Away: the provider does not answer.
            Refused: it does, but what it says does not hold.
        """
        from authlib.common.errors import AuthlibBaseError
        from joserfc.errors import JoseError

        metadata = self.metadata()
        # Authlib looks at the audience only where it is told what that must be.
        must_be = {
            "iss": {"essential": True, "values": [metadata["issuer"]]},
            "aud": {"essential": True, "values": [self.client.client_id]},
        }
        try:
            token = self.client.authorize_access_token(claims_options=must_be)
            claims = token.get("userinfo")
            if not claims:
                raise Refused("no id_token came with the code")
            return self._read({**self._more(metadata, token, claims), **claims})
        except requests.RequestException as error:
            raise Away(unreachable.reason(error) or type(error).__name__) from None
        except AuthlibBaseError as error:
            raise Refused(str(error.error)[:80]) from None
        except (JoseError, ValueError, TypeError, KeyError, RuntimeError) as error:
            # A claim's name at most: texts of other errors may hold the token.
            said = [getattr(error, "claim", None), getattr(error, "error", None)]
            raise Refused(
                " ".join(
                    ["id_token", type(error).__name__, *(str(each)[:40] for each in said if each)]
                )
            ) from None

    def end_url(self, back: str) -> str | None:
        """Where the person signs out at the provider; None where it has no such place, or does not answer.

        OpenID Connect RP-Initiated Logout 1.0, by the client's id: no id_token is kept to show.
        """
        try:
            metadata = self.metadata()
        except Away:
            return None
        if not metadata.get("end_session_endpoint"):
            return None
        found = self.client.create_logout_url(
            post_logout_redirect_uri=back, client_id=self.client.client_id
        )
        return str(found["url"])

    def _more(
        self, metadata: Mapping[str, Any], token: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What only the userinfo route says: asked for where the id_token lacks something, and believed of the same person."""
        is_whole = find(claims, self.email_claim) and values(claims, self.role_claim)
        if is_whole or not metadata.get("userinfo_endpoint"):
            return {}
        told = dict(self.client.userinfo(token=token))
        if told.get("sub") != claims["sub"]:
            raise Refused("userinfo is of another person")
        return told

    def _read(self, claims: Mapping[str, Any]) -> oidc_users.OidcIdentity:
        given = {
            self.roles[value] for value in values(claims, self.role_claim) if value in self.roles
        }
        email = find(claims, self.email_claim)
        return oidc_users.OidcIdentity(
            issuer=self.issuer,
            subject=str(claims["sub"])[:255],
            email=email if isinstance(email, str) else "",
            verified=verified(claims, email),
            role=next((role for role in STRONGEST if role in given), None),
            claim=self.email_claim,
        )


def init_app(app: Flask) -> None:
    """Know the provider, where the settings name one."""
    settings = app.extensions["services"].settings
    if settings.dashboard_oidc_issuer is None:
        return
    from authlib.integrations.flask_client import OAuth

    logging.getLogger("authlib").setLevel(logging.WARNING)
    secret = settings.dashboard_oidc_client_secret
    client = OAuth(app).register(
        "provider",
        client_id=settings.dashboard_oidc_client_id,
        client_secret=secret or None,
        server_metadata_url=f"{settings.dashboard_oidc_issuer}/.well-known/openid-configuration",
        client_kwargs={
            "scope": settings.dashboard_oidc_scope,
            "code_challenge_method": "S256",
            "default_timeout": TIMEOUT,
            **({} if secret else {"token_endpoint_auth_method": "none"}),
        },
    )
    name = settings.dashboard_oidc_name or urlsplit(settings.dashboard_oidc_issuer).hostname
    app.extensions["provider"] = Provider(
        issuer=settings.dashboard_oidc_issuer,
        name=name,
        email_claim=settings.dashboard_oidc_email_claim,
        domains=settings.oidc_domains,
        role_claim=settings.dashboard_oidc_role_claim,
        roles=settings.oidc_roles,
        client=client,
    )


def provider() -> Provider | None:
    """The one of the settings, if any."""
    found: Provider | None = current_app.extensions.get("provider")
    return found


def sign_in_page(target: str, email: str = "", problem: str = "") -> str:
    """The sign-in page; ``problem``: why nobody was signed in."""
    return render_template(
        "users/login.html", target=target, email=email, problem=problem, provider=provider()
    )


def sign_out_there() -> ResponseReturnValue:
    """After signing out here: on to the provider, where it knows how. A form may not lead to another host, a page may."""
    there = provider()
    url = there.end_url(url_for("people.login", _external=True)) if there is not None else None
    if there is None or url is None:
        name = there.name if there is not None else "your provider"
        flash(
            f"You are signed out here. {name} may still know you: sign out there too on a shared computer.",
            "info",
        )
        return redirect(url_for("people.login"))
    # At once, and by a header that every browser takes: the page is for one that does not go.
    return render_template("users/signed_out.html", provider=there, url=url), {
        "Refresh": f"0; url={url}"
    }


@bp.get("/login/provider")
@requires(PUBLIC)
@limiter.limit("30 per minute")
def begin() -> ResponseReturnValue:
    """To the provider."""
    there, target = provider(), safe_next(request.args.get("next"))
    if there is None:
        abort(404, "No provider is set up: sign in with your password.")
    if current_user.is_authenticated:
        return redirect(target)
    try:
        answer = there.begin(url_for(".back", _external=True))
    except Away as away:
        return _away(there, target, away)
    session["target"] = target
    return answer


@bp.get("/login/provider/back")
@requires(PUBLIC)
@limiter.limit("30 per minute")
def back() -> ResponseReturnValue:
    """From the provider, with a code that is good once."""
    there, target = provider(), safe_next(session.pop("target", None))
    if there is None:
        abort(404, "No provider is set up: sign in with your password.")
    email = ""
    try:
        vouched = there.person()
        email = canonical(vouched.email)
        user = oidc_users.provision_user(vouched, services().clock(), there.domains)
    except Away as away:
        return _away(there, target, away)
    except Refused as refused:
        audit.record(
            services().clock(), "", "sign_in", audit.FAILED, detail=f"{there.name}: {refused.why}"
        )
        sentence = f"What came back from {there.name} was not what this console had asked for, or it came too late. {TRY_AGAIN}"
        return sign_in_page(target, problem=sentence), 403
    except oidc_users.NotProvisioned as refusal:
        audit.record(
            services().clock(), email, "sign_in", audit.REFUSED, detail=f"{there.name}: {refusal}"
        )
        return sign_in_page(
            target, problem=f"{there.name} knows you, but you were not signed in. {refusal}"
        ), 403
    log_in(user, f"By {there.issuer}, as {user.role}.")
    return redirect(target)


def _away(there: Provider, target: str, away: Away) -> ResponseReturnValue:
    audit.record(
        services().clock(),
        "",
        "sign_in",
        audit.FAILED,
        detail=f"{there.name} cannot be asked: {away}.",
    )
    sentence = f"{there.name} does not answer as it should, so nobody can be signed in there. Try again in a minute."
    if isinstance(away, SharedIssuer):
        sentence = f"Nobody is signed in by {there.name}: {away}."
    return sign_in_page(
        target, problem=f"{sentence} Who has a password here can use it meanwhile."
    ), 503
