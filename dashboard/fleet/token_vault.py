"""Customers' tokens, encrypted at rest with Fernet. They are a cache: what cannot be read is fetched again.

The keys are derived from SECRET_KEY, newest first; adding a new key in front rotates without a step for the operator.
"""

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from dashboard.core.crypto import fernet
from dashboard.fleet.models import Account

REMEMBERED = 5_000


class TokenVault:
    """A ``peliqan.TokenStore`` in the account's row. Safe to use from many threads; each call is its own transaction."""

    def __init__(self, engine: Engine, secret_keys: list[str]) -> None:
        self._engine = engine
        self._fernet = fernet(secret_keys)
        self._known: dict[int, str] = {}

    @property
    def keys(self) -> MultiFernet:
        """What else of customers' rests in the store is encrypted with the same keys."""
        return self._fernet

    def encrypt(self, token: str) -> bytes:
        """As it is kept."""
        return self._fernet.encrypt(token.encode())

    def decrypt(self, kept: bytes | None) -> str | None:
        """What was kept; None where no key of ours reads it."""
        try:
            return self._fernet.decrypt(kept).decode() if kept is not None else None
        except InvalidToken:
            return None

    def get(self, account_id: int) -> str | None:
        """The account's token; None when there is none that can be read."""
        if account_id in self._known:
            return self._known[account_id]
        with Session(self._engine) as session:
            kept = session.scalar(select(Account.token).where(Account.id == account_id))
        if (token := self.decrypt(kept)) is not None:
            self._remember(account_id, token)
        return token

    def put(self, account_id: int, token: str) -> None:
        """Keep it, encrypted. An account that the store does not know yet is kept in memory alone."""
        self._remember(account_id, token)
        self._write(account_id, self.encrypt(token))

    def drop(self, account_id: int, token: str) -> None:
        """Forget it, if it is still this one: another thread may have put a newer."""
        if self.get(account_id) == token:
            self._known.pop(account_id, None)
            self._write(account_id, None)

    def _remember(self, account_id: int, token: str) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[account_id] = token

    def _write(self, account_id: int, kept: bytes | None) -> None:
        with Session(self._engine) as session, session.begin():
            session.execute(update(Account).where(Account.id == account_id).values(token=kept))
