"""The interface of token stores. The console encrypts tokens at rest; scripts use memory."""

from threading import Lock
from typing import Protocol


class TokenStore(Protocol):
    """A store of customers' tokens. Thread-safe."""

    def get(self, account_id: int) -> str | None:
        """Return the account's token; None if there is none."""

    def put(self, account_id: int, token: str) -> None:
        """Store the account's token."""

    def drop(self, account_id: int, token: str) -> None:
        """Remove this token, unless another one has replaced it."""


class MemoryTokens:
    """Tokens in memory, for as long as the process lives."""

    def __init__(self) -> None:
        self._tokens: dict[int, str] = {}
        self._lock = Lock()

    def get(self, account_id: int) -> str | None:
        """Return the account's token; None if there is none."""
        return self._tokens.get(account_id)

    def put(self, account_id: int, token: str) -> None:
        """Store the account's token."""
        with self._lock:
            self._tokens[account_id] = token

    def drop(self, account_id: int, token: str) -> None:
        """Remove this token, unless another one has replaced it."""
        with self._lock:
            if self._tokens.get(account_id) == token:
                del self._tokens[account_id]
