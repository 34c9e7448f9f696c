"""Keys by which login attempts are counted: they stop guessing and lock nobody else out.

Attempts count by account and by address. A browser that signed in before has a cookie for that
account ("device cookie": OWASP, "Slow down online guessing attacks with device cookies"). Its
attempts are counted separately, so that strangers who use up the attempts of an account or of a
shared address do not lock out its users.
"""

import hashlib
import hmac
import secrets
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final

from flask import Flask, Response, after_this_request, current_app, request
from flask_login import user_logged_in
from itsdangerous import BadSignature, Signer

from dashboard.context import services
from dashboard.core.email_addresses import canonical

HALF_A_YEAR: Final = 180 * 86_400
# Prefix length of one user's IPv6 network (RFC 6177): single addresses would be no limit.
ONE_USERS_NETWORK: Final = 64
SIGN_IN: Final = "people.login"


def init_app(app: Flask) -> None:
    """Set the device cookie at every sign-in, whatever its way."""
    user_logged_in.connect(_remember_browser, app)


def by_address() -> str:
    """Return the key of the client: its device cookie for the account, else its network."""
    return count_key(_known_browser() or f"from {_network(request.remote_addr or '')}")


def by_account() -> str:
    """Return the key of the account, existing or not; a device cookie has a key of its own."""
    return count_key(_known_browser() or f"for {account()}")


def count_key(who: str) -> str:
    """Return the key under which attempts are counted: a keyed hash of ``who``.

    Hashed, since the limiter logs its keys and stores them in Redis, where no client address and no
    e-mail address should be.
    """
    return hmac.digest(
        current_app.config["SECRET_KEY"].encode(), f"attempts {who}".encode(), hashlib.sha256
    ).hex()[:40]


def cookie_name() -> str:
    """Return the name of the device cookie."""
    return f"{services().settings.cookie_prefix}console_browser"


def account() -> str:
    """Return the canonical address of a sign-in request; empty for every other request.

    Reads the sign-in form only: a field of this name in another form must not select an account.
    """
    return canonical(request.form.get("email", "")) if request.endpoint == SIGN_IN else ""


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ip_network((found, ONE_USERS_NETWORK), strict=False))


def _known_browser() -> str:
    """Return what identifies a device cookie of the requested account; empty without one."""
    device_id = _device_id_for(account())
    return f"browser {device_id}" if device_id else ""


def _device_id_for(address: str) -> str:
    """Return the id in this browser's device cookie for an account; empty without one."""
    try:
        return _signer(address).unsign(request.cookies.get(cookie_name(), "")).decode()
    except BadSignature:
        return ""


def _remember_browser(_app: Flask, user: Any, **_: Any) -> None:
    # The id is kept if there is one, since a new id would start counting again.
    address = canonical(user.email)
    signed = _signer(address).sign(_device_id_for(address) or secrets.token_urlsafe(16)).decode()

    @after_this_request
    def set_cookie(response: Response) -> Response:
        secure = bool(current_app.config["SESSION_COOKIE_SECURE"])
        path = current_app.config["SESSION_COOKIE_PATH"]
        response.set_cookie(
            cookie_name(),
            signed,
            HALF_A_YEAR,
            path=path,
            secure=secure,
            httponly=True,
            samesite="Lax",
        )
        return response


def _signer(address: str) -> Signer:
    # The address is part of the salt and not of the value, so that the cookie names nobody. The
    # newest key comes last.
    keys = [
        *reversed(current_app.config["SECRET_KEY_FALLBACKS"] or []),
        current_app.config["SECRET_KEY"],
    ]
    return Signer(keys, salt=f"browser of {address}")
