"""The id of a request: a proxy's if well-formed, else a new one."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "X-Request-ID"
# Other characters could forge a log line or inject data into it.
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_CURRENT: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """Return the id of this thread's request or task; empty outside of both."""
    return _CURRENT.get()


def fresh() -> str:
    """Return a new id: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def accepted(offered: str | None) -> str:
    """Return the offered id if it is well-formed, else a new one."""
    return offered if offered and _WELL_FORMED.fullmatch(offered) else fresh()


@contextmanager
def with_id(request_id: str) -> Iterator[str]:
    """Set the current id of this thread within the context."""
    token = _CURRENT.set(request_id)
    try:
        yield request_id
    finally:
        _CURRENT.reset(token)
