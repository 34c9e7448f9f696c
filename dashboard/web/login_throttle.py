"""Whose attempts to sign in are counted together, so that nobody can go on guessing and nobody is shut out by others.

Attempts count by account and by address. A browser that somebody signed in with before has a cookie that says so, good for that
account alone (OWASP, "Slow down online guessing attacks with device cookies"), and its attempts count by themselves: strangers
who use up an account's attempts, or those of an address that many share, keep nobody out who has been here before.
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
# An IPv6 user has at least so many addresses as this leaves open (RFC 6177): counted one by one, they would be no limit.
ONE_USERS_NETWORK: Final = 64
SIGN_IN: Final = "people.login"


def init_app(app: Flask) -> None:
    """Have every sign-in, by whichever way, leave the cookie."""
    user_logged_in.connect(_know_this_browser, app)


def by_address() -> str:
    """Who asks: a browser that is known for the account, or else a network."""
    return count_key(_known_browser() or f"from {_network(request.remote_addr or '')}")


def by_account() -> str:
    """For whom is asked: an account, whether there is one of that name or not; a browser that is known for it apart."""
    return count_key(_known_browser() or f"for {account()}")


def count_key(who: str) -> str:
    """Return the key under which attempts of ``who`` are counted: a keyed hash.

    The limiter logs its keys and keeps them in Redis, where neither a client's address nor an e-mail address has a place.
    """
    return hmac.digest(
        current_app.config["SECRET_KEY"].encode(), f"attempts {who}".encode(), hashlib.sha256
    ).hex()[:40]


def cookie_name() -> str:
    """The name of the cookie by which a browser is known for an account."""
    return f"{services().settings.cookie_prefix}console_browser"


def account() -> str:
    """Return the canonical form of the address that somebody signs in with; empty for every other request.

    Only of the sign-in form: a field of this name in another form would say that its sender is known for an account.
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
    """What tells a browser that has signed in with the account that is asked for from all others; empty for any other."""
    mark = _mark_for(account())
    return f"browser {mark}" if mark else ""


def _mark_for(address: str) -> str:
    """The mark of this browser, where it is known for an account; empty for any other."""
    try:
        return _signer(address).unsign(request.cookies.get(cookie_name(), "")).decode()
    except BadSignature:
        return ""


def _know_this_browser(_app: Flask, user: Any, **_: Any) -> None:
    # It keeps the mark that it has: a new one each time would begin to count anew.
    address = canonical(user.email)
    signed = _signer(address).sign(_mark_for(address) or secrets.token_urlsafe(16)).decode()

    @after_this_request
    def keep(response: Response) -> Response:
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
    # The address is part of what signs and not of what is signed: the cookie names nobody. The newest key comes last.
    keys = [
        *reversed(current_app.config["SECRET_KEY_FALLBACKS"] or []),
        current_app.config["SECRET_KEY"],
    ]
    return Signer(keys, salt=f"browser of {address}")
