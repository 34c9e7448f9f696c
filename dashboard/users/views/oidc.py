"""Sign-in and sign-out at an OpenID Connect provider, by Authlib.

Discovery, authorisation code flow with PKCE, state and nonce, and a signed id_token. No token of
the provider is stored: its claims are read once, at sign-in.
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
from dashboard.users.authentication import log_in
from dashboard.users.limits import PROVIDER_SIGN_INS, PROVIDER_TIMEOUT
from dashboard.users.oidc_claims import find, values, verified
from dashboard.web.page_after_sign_in import safe_next
from dashboard.web.required_role import PUBLIC, requires
from dashboard.web.security import limiter

bp = Blueprint("provider", __name__)
# Only signatures by the provider's private key: no unsigned tokens, and none signed with the
# client's secret, whatever the provider claims to support.
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
HIGHEST_FIRST = ("admin", "operator", "viewer")
TRY_AGAIN = "Nobody was signed in. Begin again from here."


class Refused(Exception):
    """The provider's response is invalid. ``why`` is for the audit log and holds no secret."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class ProviderUnavailable(Exception):
    """The provider does not answer, or its description is unusable."""


class SharedIssuer(ProviderUnavailable):
    """The issuer serves the accounts of many organisations, so its addresses prove nothing."""

    sentence = (
        "its issuer stands for the accounts of many organisations,"
        " any of which could give its people your people's addresses."
        " Set DASHBOARD_OIDC_ISSUER to your own tenant's,"
        " https://login.microsoftonline.com/<tenant-id>/v2.0"
    )

    def __init__(self) -> None:
        super().__init__(self.sentence)


@dataclass(frozen=True)
class Provider:
    """The provider of the settings.

    ``roles``: by values of the claim ``role_claim``. ``domains``: their addresses count as
    verified. ``client``: Authlib's, which loads the provider's description on first use.
    """

    issuer: str
    name: str
    email_claim: str
    domains: frozenset[str]
    role_claim: str
    roles: Mapping[str, str]
    client: Any

    def metadata(self, *, refresh: bool = False) -> dict[str, Any]:
        """Return the provider's description, cached unless ``refresh`` is set.

        Raises:
            ProviderUnavailable: it does not answer, or describes another issuer.
            SharedIssuer: the issuer serves many organisations.
        """
        if issuers.is_shared(self.issuer):
            raise SharedIssuer
        if refresh:
            self.client.server_metadata.pop("_loaded_at", None)
        try:
            found: dict[str, Any] = self.client.load_server_metadata()
        except (requests.RequestException, ValueError) as error:
            raise ProviderUnavailable(unreachable.reason(error) or type(error).__name__) from None
        described = str(found.get("issuer", "")).rstrip("/")
        if described != self.issuer:
            found.pop("_loaded_at", None)
            raise (
                SharedIssuer
                if issuers.is_shared(described)
                else ProviderUnavailable(
                    f"its description names another issuer, “{described[:120]}”"
                )
            )
        offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        found["id_token_signing_alg_values_supported"] = [
            name for name in offered if name in SIGNATURES
        ]
        return found

    def redirect_to_provider(self, back: str) -> ResponseReturnValue:
        """Return the redirect to the provider's sign-in page, which returns to ``back``.

        Raises:
            ProviderUnavailable: its description cannot be read, or names no sign-in page.
        """
        self.metadata()
        try:
            answer: ResponseReturnValue = self.client.authorize_redirect(back)
        except RuntimeError:
            raise ProviderUnavailable("its description names no place to sign in") from None
        return answer

    def read_identity(self) -> oidc_users.OidcIdentity:
        """Return the identity that the provider's redirect to this request carries.

        Raises:
            ProviderUnavailable: the provider does not answer.
            Refused: its response is invalid.
        """
        from authlib.common.errors import AuthlibBaseError
        from joserfc.errors import JoseError

        metadata = self.metadata()
        # Authlib checks the audience only if the expected one is named.
        expected = {
            "iss": {"essential": True, "values": [metadata["issuer"]]},
            "aud": {"essential": True, "values": [self.client.client_id]},
        }
        try:
            token = self.client.authorize_access_token(claims_options=expected)
            claims = token.get("userinfo")
            if not claims:
                raise Refused("no id_token came with the code")
            return self._identity({**self._userinfo(metadata, token, claims), **claims})
        except requests.RequestException as error:
            raise ProviderUnavailable(unreachable.reason(error) or type(error).__name__) from None
        except AuthlibBaseError as error:
            raise Refused(str(error.error)[:80]) from None
        except (JoseError, ValueError, TypeError, KeyError, RuntimeError) as error:
            # Only the names of claim and error, since texts of other errors may hold the token.
            names = [getattr(error, "claim", None), getattr(error, "error", None)]
            details = [str(each)[:40] for each in names if each]
            raise Refused(" ".join(["id_token", type(error).__name__, *details])) from None

    def sign_out_url(self, back: str) -> str | None:
        """Return where the user signs out at the provider; None if it has no page or is down.

        OpenID Connect RP-Initiated Logout 1.0. Identifies the client by its id, since no id_token
        is stored.
        """
        try:
            metadata = self.metadata()
        except ProviderUnavailable:
            return None
        if not metadata.get("end_session_endpoint"):
            return None
        found = self.client.create_logout_url(
            post_logout_redirect_uri=back, client_id=self.client.client_id
        )
        return str(found["url"])

    def _userinfo(
        self, metadata: Mapping[str, Any], token: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the userinfo claims, requested only if the id_token lacks role or address."""
        is_complete = find(claims, self.email_claim) and values(claims, self.role_claim)
        if is_complete or not metadata.get("userinfo_endpoint"):
            return {}
        received = dict(self.client.userinfo(token=token))
        if received.get("sub") != claims["sub"]:
            raise Refused("userinfo is of another person")
        return received

    def _identity(self, claims: Mapping[str, Any]) -> oidc_users.OidcIdentity:
        given = {
            self.roles[value] for value in values(claims, self.role_claim) if value in self.roles
        }
        email = find(claims, self.email_claim)
        return oidc_users.OidcIdentity(
            issuer=self.issuer,
            subject=str(claims["sub"])[:255],
            email=email if isinstance(email, str) else "",
            verified=verified(claims, email),
            role=next((role for role in HIGHEST_FIRST if role in given), None),
            claim=self.email_claim,
        )


def init_app(app: Flask) -> None:
    """Register the provider if the settings name one."""
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
            "default_timeout": PROVIDER_TIMEOUT,
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
    """Return the provider of the settings; None if they name none."""
    found: Provider | None = current_app.extensions.get("provider")
    return found


def sign_in_page(target: str, email: str = "", problem: str = "") -> str:
    """Render the sign-in page. ``problem``: why the user was not signed in."""
    return render_template(
        "users/login.html", target=target, email=email, problem=problem, provider=provider()
    )


def sign_out_there() -> ResponseReturnValue:
    """Continue a sign-out at the provider, if it has a page for it.

    By a page and not by a redirect, since a form's response must not lead to another host.
    """
    current = provider()
    url = (
        current.sign_out_url(url_for("people.login", _external=True))
        if current is not None
        else None
    )
    if current is None or url is None:
        name = current.name if current is not None else "your provider"
        flash(
            f"You are signed out here. {name} may still know you:"
            " sign out there too on a shared computer.",
            "info",
        )
        return redirect(url_for("people.login"))
    # The header redirects at once; the page is for browsers that do not follow it.
    return render_template("users/signed_out.html", provider=current, url=url), {
        "Refresh": f"0; url={url}"
    }


@bp.get("/login/provider")
@requires(PUBLIC)
@limiter.limit(PROVIDER_SIGN_INS)
def begin() -> ResponseReturnValue:
    """Redirect to the provider's sign-in page."""
    current, target = provider(), safe_next(request.args.get("next"))
    if current is None:
        abort(404, "No provider is set up: sign in with your password.")
    if current_user.is_authenticated:
        return redirect(target)
    try:
        answer = current.redirect_to_provider(url_for(".back", _external=True))
    except ProviderUnavailable as away:
        return _away(current, target, away)
    session["target"] = target
    return answer


@bp.get("/login/provider/back")
@requires(PUBLIC)
@limiter.limit(PROVIDER_SIGN_INS)
def back() -> ResponseReturnValue:
    """Complete the sign-in with the code that the provider sent along; it is valid once."""
    current, target = provider(), safe_next(session.pop("target", None))
    if current is None:
        abort(404, "No provider is set up: sign in with your password.")
    email = ""
    try:
        identity = current.read_identity()
        email = canonical(identity.email)
        user = oidc_users.provision_user(identity, services().clock(), current.domains)
    except ProviderUnavailable as away:
        return _away(current, target, away)
    except Refused as refused:
        audit.record(
            services().clock(), "", "sign_in", audit.FAILED, detail=f"{current.name}: {refused.why}"
        )
        sentence = (
            f"What came back from {current.name} was not what this console had asked for,"
            f" or it came too late. {TRY_AGAIN}"
        )
        return sign_in_page(target, problem=sentence), 403
    except oidc_users.NotProvisioned as refusal:
        audit.record(
            services().clock(), email, "sign_in", audit.REFUSED, detail=f"{current.name}: {refusal}"
        )
        return sign_in_page(
            target, problem=f"{current.name} knows you, but you were not signed in. {refusal}"
        ), 403
    log_in(user, f"By {current.issuer}, as {user.role}.")
    return redirect(target)


def _away(current: Provider, target: str, away: ProviderUnavailable) -> ResponseReturnValue:
    audit.record(
        services().clock(),
        "",
        "sign_in",
        audit.FAILED,
        detail=f"{current.name} cannot be asked: {away}.",
    )
    sentence = (
        f"{current.name} does not answer as it should, so nobody can be signed in there."
        " Try again in a minute."
    )
    if isinstance(away, SharedIssuer):
        sentence = f"Nobody is signed in by {current.name}: {away}."
    return sign_in_page(
        target, problem=f"{sentence} Who has a password here can use it meanwhile."
    ), 503
