"""Keys of sessions and tokens. They are random; only their SHA-256 is stored."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Secret:
    """A new key or token, shown or set once."""

    value: str


def hashed(value: str) -> str:
    """Return the SHA-256 of a value. Enough for 256 random bits, which no dictionary contains."""
    return hashlib.sha256(value.encode()).hexdigest()
