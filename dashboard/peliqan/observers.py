"""Who wants to know of every call, and what that one sends with it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class ApiCallObserver(Protocol):
    """Is asked around every call, from many threads."""

    def call(self, route: str) -> AbstractContextManager[Mapping[str, str]]:
        """Lasts as long as the call to a route, by its name; gives further headers. Sees a ``PeliqanError`` pass."""


class NoObserver:
    """Nobody wants to know."""

    def call(self, route: str) -> AbstractContextManager[Mapping[str, str]]:
        """Nothing happens around it, and nothing goes with it."""
        return nullcontext({})
