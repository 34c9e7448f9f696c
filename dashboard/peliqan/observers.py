"""The interface for code that observes every call and adds headers to it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class ApiCallObserver(Protocol):
    """An observer of every call, used from many threads."""

    def call(self, route: str) -> AbstractContextManager[Mapping[str, str]]:
        """Return a context for a call to a route, by its name; it yields additional headers.

        A ``PeliqanError`` of the call passes through the context.
        """


class NoObserver:
    """An observer that does nothing."""

    def call(self, route: str) -> AbstractContextManager[Mapping[str, str]]:
        """Return an empty context without headers."""
        return nullcontext({})
