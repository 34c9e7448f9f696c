"""The kinds of token.

The partner's, one for each sub-account, short-lived ones for the widget (documented), and OAuth's.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

WIDGET_TOKEN_LIFE = timedelta(minutes=30)
ACCESS_TOKEN_LIFE = timedelta(hours=1)


class Tokens:
    """Makes and reads tokens shaped like JWTs.

    Sub-account tokens do not expire (D), but can be revoked.
    """

    def __init__(self, seed: int, partner_token: str, clock: Callable[[], datetime]) -> None:
        self._key = f"sandbox {seed}".encode()
        self.partner_token = partner_token
        self._clock = clock
        self._lock = Lock()
        self.generation: dict[int, int] = {}
        self.issued = 0

    def for_account(self, account_id: int) -> str:
        """Return the sub-account's identity token: the same one until it is revoked."""
        with self._lock:
            self.issued += 1
        return self._make({"account": account_id, "generation": self.generation.get(account_id, 0)})

    def for_widget(self, account_id: int) -> str:
        """Return an integration token, valid for 30 minutes (D); its claim ``exp`` says when."""
        return self._make({"widget": account_id, "exp": self._in(WIDGET_TOKEN_LIFE)})

    def for_oauth(self) -> str:
        """Return an access token, valid for one hour, with the partner token's rights (S)."""
        return self._make({"partner": True, "exp": self._in(ACCESS_TOKEN_LIFE)})

    def is_partner(self, token: str) -> bool:
        """Return whether the token opens the partner routes."""
        if hmac.compare_digest(token.encode(), self.partner_token.encode()):
            return True
        claims = self._read(token)
        return "partner" in claims and self._lasts(claims)

    def account_of(self, token: str) -> int | None:
        """Return the account of a sub-account token; None for any other or a revoked token."""
        claims = self._read(token)
        account_id = claims.get("account")
        if account_id is None or claims.get("generation") != self.generation.get(account_id, 0):
            return None
        return int(account_id)

    def widget_account_of(self, token: str) -> int | None:
        """Return the account of a valid integration token; None for any other token."""
        claims = self._read(token)
        return int(claims["widget"]) if "widget" in claims and self._lasts(claims) else None

    def revoke(self, account_id: int) -> None:
        """Invalidate the account's token; the identity route issues a new one."""
        with self._lock:
            self.generation[account_id] = self.generation.get(account_id, 0) + 1

    def forget(self) -> None:
        """Reset to the start: no token is revoked, none is counted."""
        with self._lock:
            self.generation.clear()
            self.issued = 0

    def _in(self, life: timedelta) -> int:
        return int((self._clock() + life).timestamp())

    def _lasts(self, claims: dict[str, Any]) -> bool:
        return bool(claims["exp"] > self._clock().timestamp())

    def _make(self, claims: dict[str, Any]) -> str:
        parts = [
            _pack(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)
        ]
        return ".".join([*parts, self._signature(".".join(parts))])

    def _read(self, token: str) -> dict[str, Any]:
        body, _, signature = token.rpartition(".")
        if not body or not hmac.compare_digest(self._signature(body).encode(), signature.encode()):
            return {}
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body.split(".")[1] + "=="))
        return claims

    def _signature(self, body: str) -> str:
        return _pack(hmac.new(self._key, body.encode(), hashlib.sha256).digest())


def _pack(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
