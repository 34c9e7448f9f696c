"""A request's id: what a proxy says, where it is well-formed, or one of our own."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "X-Request-ID"
# Anything else could forge a line of a log, or carry something into it.
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_CURRENT: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """The id of what this thread is doing; empty outside of a request or a task."""
    return _CURRENT.get()


def fresh() -> str:
    """A new one: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def accepted(offered: str | None) -> str:
    """The one that was offered, if it is well-formed; a new one otherwise."""
    return offered if offered and _WELL_FORMED.fullmatch(offered) else fresh()


@contextmanager
def with_id(request_id: str) -> Iterator[str]:
    """While this lasts, what this thread does goes by that id."""
    token = _CURRENT.set(request_id)
    try:
        yield request_id
    finally:
        _CURRENT.reset(token)
