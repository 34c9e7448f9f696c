"""Where customers' tokens are kept: the store encrypts them at rest; tests and scripts keep them in memory."""

from threading import Lock
from typing import Protocol


class TokenStore(Protocol):
    """Safe to use from many threads."""

    def get(self, account_id: int) -> str | None:
        """The account's token, if there is one."""

    def put(self, account_id: int, token: str) -> None:
        """Keep it."""

    def drop(self, account_id: int, token: str) -> None:
        """Forget it, if it is still this one."""


class MemoryTokens:
    """Tokens for as long as the process lives."""

    def __init__(self) -> None:
        self._tokens: dict[int, str] = {}
        self._lock = Lock()

    def get(self, account_id: int) -> str | None:
        """The account's token, if there is one."""
        return self._tokens.get(account_id)

    def put(self, account_id: int, token: str) -> None:
        """Keep it."""
        with self._lock:
            self._tokens[account_id] = token

    def drop(self, account_id: int, token: str) -> None:
        """Forget it, if it is still this one."""
        with self._lock:
            if self._tokens.get(account_id) == token:
                del self._tokens[account_id]
