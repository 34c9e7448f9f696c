"""An OpenID Connect provider on a loopback port, made of Authlib's server side.

Real HTTP, discovery, PKCE, codes and signed tokens. A test sets its user (``person``), changes its
keys (``rotate``), and sets wrong claims (``wrong``).
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin
from authlib.oidc.core.grants import OpenIDCode
from bs4 import BeautifulSoup
from flask import Flask, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from tests.support.page_checks import check_page
from tests.support.people import Person, words

CLIENT_ID, CLIENT_SECRET = "console", "a secret of the console's own"


class Client(ClientMixin):
    """The console as a client of the provider."""

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == "http://localhost/login/provider/back"

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):
    code: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    person: dict[str, Any]

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


@dataclass
class Token:
    person: dict[str, Any]
    scope: str = "openid email profile"

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return False

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Provider:
    """The state of the provider.

    ``wrong``: claims that replace those of id_tokens; None removes one. ``quiet``: claims that
    only userinfo returns.
    """

    url: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] = field(default_factory=dict)
    quiet: set[str] = field(default_factory=set)
    unsigned: bool = False
    away: bool = False
    has_end: bool = True
    described: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    keys: list[RSAKey] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)

    def rotate(self) -> None:
        """Sign with a new key from now on and drop the old one."""
        self.keys = [_key(f"key-{time.monotonic_ns()}")]

    def forged(self) -> None:
        """Sign with an unpublished key under the name of a published one."""
        self.keys.insert(0, _key(str(self.keys[0].kid)))

    def comes(self, name: str, **claims: Any) -> None:
        """Set the signed-in user."""
        person = {
            "sub": f"sub-{name}",
            "email": f"{name}@example.com",
            "email_verified": True,
            "roles": ["support"],
        }
        self.person = {
            key: value for key, value in {**person, **claims}.items() if value is not None
        }


def _key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}, auto_kid=False)


def create(state: Provider) -> Flask:
    app = Flask("provider")
    server = AuthorizationServer(app, lambda _id: Client() if _id == CLIENT_ID else None, None)

    def save_token(token: dict[str, Any], request: Any) -> None:
        state.tokens[token["access_token"]] = Token(request.user)

    server._save_token = save_token
    tokens = _id_tokens(state)(require_nonce=True)
    server.register_grant(_code_grant(state), [tokens, CodeChallenge(required=True)])
    _add_metadata_routes(app, state)
    _add_routes(app, server, state)
    return app


def _code_grant(state: Provider) -> type[AuthorizationCodeGrant]:
    class Codes(AuthorizationCodeGrant):
        def save_authorization_code(self, code: str, request: Any) -> None:
            payload = request.payload
            state.codes[code] = Code(
                code,
                payload.redirect_uri,
                payload.scope,
                payload.data.get("nonce", ""),
                payload.data["code_challenge"],
                payload.data["code_challenge_method"],
                request.user,
            )

        def query_authorization_code(self, code: str, client: Client) -> Code | None:
            return state.codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            del state.codes[authorization_code.code]

        def authenticate_user(self, authorization_code: Code) -> dict[str, Any]:
            return authorization_code.person

    return Codes


def _id_tokens(state: Provider) -> type[OpenIDCode]:
    class Tokens(OpenIDCode):
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return any(code.nonce == nonce for code in state.codes.values())

        def get_client_claims(self, client: Client) -> dict[str, Any]:
            return {"iss": state.url, "aud": [CLIENT_ID]}

        def generate_user_info(self, user: dict[str, Any], scope: str) -> dict[str, Any]:
            return {key: value for key, value in user.items() if key not in state.quiet}

        def encode_id_token(self, token: dict[str, Any], request: Any) -> str:
            claims = {
                **self.get_compatible_claims(request),
                **self.get_authorization_code_claims(request.authorization_code),
                **self.generate_user_info(request.user, token["scope"]),
                **state.wrong,
            }
            claims = {name: value for name, value in claims.items() if value is not None}
            return _unsigned(claims) if state.unsigned else _signed(claims, state.keys[0])

    return Tokens


def _unsigned(claims: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def _signed(claims: dict[str, Any], key: RSAKey) -> str:
    return str(jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key, ["RS256"]))


def _add_metadata_routes(app: Flask, state: Provider) -> None:
    @app.before_request
    def away() -> Any:
        return ("Down for maintenance", 503) if state.away else None

    @app.get("/.well-known/openid-configuration")
    def describe() -> Any:
        document = {
            "issuer": state.url,
            "authorization_endpoint": f"{state.url}/authorize",
            "token_endpoint": f"{state.url}/token",
            "userinfo_endpoint": f"{state.url}/userinfo",
            "jwks_uri": f"{state.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "none"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            **({"end_session_endpoint": f"{state.url}/end"} if state.has_end else {}),
        }
        return jsonify({**document, **state.described})

    @app.get("/keys")
    def keys() -> Any:
        return jsonify(keys=[state.keys[-1].as_dict(private=False)])


def _add_routes(app: Flask, server: AuthorizationServer, state: Provider) -> None:
    protect = ResourceProtector()

    class Bearer(BearerTokenValidator):
        def authenticate_token(self, token_string: str) -> Token | None:
            return state.tokens.get(token_string)

    protect.register_token_validator(Bearer())

    @app.get("/authorize")
    def authorize() -> Any:
        state.seen.append(request.args.to_dict())
        if not state.person:
            back, given = request.args["redirect_uri"], request.args["state"]
            return redirect(f"{back}?error=access_denied&error_description=No&state={given}")
        grant = server.get_consent_grant(end_user=state.person)
        return server.create_authorization_response(grant_user=state.person, grant=grant)

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    @app.get("/userinfo")
    @protect("openid")
    def userinfo() -> Any:
        from authlib.integrations.flask_oauth2 import current_token

        return jsonify(current_token.person)


@contextmanager
def run_provider(state: Provider) -> Iterator[Provider]:
    """Serve the provider until the end of the block."""
    server = make_server("127.0.0.1", 0, create(state), threaded=True)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def way_back(person: Person, page: str = "/login/provider") -> str:
    """Visit the provider; return the console's address with the code."""
    redirect = person.client.get(page)
    assert redirect.status_code == 302, redirect.text
    response = requests.get(redirect.location, allow_redirects=False, timeout=30)
    assert response.status_code == 302, response.text
    return response.headers["Location"].removeprefix("http://localhost")


def sign_in(person: Person) -> TestResponse:
    return person.client.get(way_back(person))


def refusal_text(response: TestResponse, status: int = 403) -> str:
    """Return the message for a user who was not admitted."""
    assert response.status_code == status, response.text
    soup = BeautifulSoup(response.text, "html.parser")
    check_page(soup, "the way back")
    (alert,) = soup.select("[role=alert].alert")
    return words(alert)
