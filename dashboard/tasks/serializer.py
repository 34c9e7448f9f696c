"""What stands in the queues: signed, so that nothing is read that another has put into the file or into Redis."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from huey.serializer import Serializer
from itsdangerous import Signer


class SignedMessages(Serializer):  # type: ignore[misc]  # huey has no types
    """Huey's messages are pickles, which can hold anything: each is read only with a signature by one of the keys.

    Huey's own signatures know one key, and SHA-1. A message of another's is dropped, with a line in the log: it is only a hint.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        """``secret_keys``: the newest, which signs, first."""
        super().__init__()
        self._signer = Signer([*reversed(secret_keys)], salt="queue", digest_method=sha256)

    def _serialize(self, data: Any) -> bytes:
        return self._signer.sign(super()._serialize(data))

    def _deserialize(self, data: bytes) -> Any:
        return super()._deserialize(self._signer.unsign(data))
