"""Signatures of queue messages, so that no message of another writer is unpickled."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from huey.serializer import Serializer
from itsdangerous import Signer


class SignedMessages(Serializer):  # type: ignore[misc]  # huey has no types
    """Serializer that signs messages and reads only signed ones, since pickles can run code.

    Huey's own signatures support only one key, and use SHA-1. Huey drops and logs an unsigned
    message, which does no harm: a message only wakes a worker.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        """Create the serializer. ``secret_keys``: the newest, which signs, first."""
        super().__init__()
        self._signer = Signer([*reversed(secret_keys)], salt="queue", digest_method=sha256)

    def _serialize(self, data: Any) -> bytes:
        return self._signer.sign(super()._serialize(data))

    def _deserialize(self, data: bytes) -> Any:
        return super()._deserialize(self._signer.unsign(data))
