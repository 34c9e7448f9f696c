"""Customers' tokens, encrypted at rest with Fernet.

They are a cache: an unreadable token is fetched again. The keys are derived from SECRET_KEY,
newest first. To rotate, the operator adds a key in front.
"""

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from dashboard.core.crypto import fernet
from dashboard.fleet.models import Account

MAX_CACHED = 5_000


class TokenVault:
    """A ``peliqan.TokenStore`` in the account's row. Thread-safe. Each call is a transaction."""

    def __init__(self, engine: Engine, secret_keys: list[str]) -> None:
        self._engine = engine
        self._fernet = fernet(secret_keys)
        self._cache: dict[int, str] = {}

    @property
    def keys(self) -> MultiFernet:
        """The keys, which also encrypt other customer data in the database."""
        return self._fernet

    def encrypt(self, token: str) -> bytes:
        """Return the token as it is stored."""
        return self._fernet.encrypt(token.encode())

    def decrypt(self, stored: bytes | None) -> str | None:
        """Return a stored token; None if there is none or no key decrypts it."""
        try:
            return self._fernet.decrypt(stored).decode() if stored is not None else None
        except InvalidToken:
            return None

    def get(self, account_id: int) -> str | None:
        """Return the account's token; None if there is none that can be decrypted."""
        if account_id in self._cache:
            return self._cache[account_id]
        with Session(self._engine) as session:
            stored = session.scalar(select(Account.token).where(Account.id == account_id))
        if (token := self.decrypt(stored)) is not None:
            self._add_to_cache(account_id, token)
        return token

    def put(self, account_id: int, token: str) -> None:
        """Store a token, encrypted. For an account without a row it is only cached."""
        self._add_to_cache(account_id, token)
        self._write(account_id, self.encrypt(token))

    def drop(self, account_id: int, token: str) -> None:
        """Remove this token, unless another thread has stored a newer one."""
        if self.get(account_id) == token:
            self._cache.pop(account_id, None)
            self._write(account_id, None)

    def _add_to_cache(self, account_id: int, token: str) -> None:
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[account_id] = token

    def _write(self, account_id: int, stored: bytes | None) -> None:
        with Session(self._engine) as session, session.begin():
            session.execute(update(Account).where(Account.id == account_id).values(token=stored))
