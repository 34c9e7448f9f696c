"""Limits which hosts a thread connects to while code of others decides: two hundred plug-ins of Apprise's, for instance.

What an address says and what a plug-in dials can differ (a service's own host in the place of the address's, a server that
names another one), and so can the answers of two look-ups of one name. So the check is made where the connection is: Python's
audit events of sockets, which see every host that is looked up and every address that is connected to
(https://docs.python.org/3/library/audit_events.html).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies

from dashboard.core.hosts import ip_of, is_private

Rule = Callable[[str, int | None], bool]
Target = tuple[str, int | None]
_LOOK_UPS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_CONNECTIONS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}


class NotDialled(OSError):
    """A connection to a host that the limit does not allow; nothing was sent."""


class _Limit:
    """``refused``: a host was not allowed; ``refused_private``: its address is in a private network, and it is not named."""

    def __init__(self, is_allowed: Rule, is_named: Rule) -> None:
        self._is_allowed, self._is_named = is_allowed, is_named
        # Those that the operator's environment sends everything through.
        self._proxies = {_proxy(each) for name, each in getproxies().items() if name != "no"}
        self._looked_up: Target | None = None
        self.refused = self.refused_private = False

    def look_up(self, host: object, port: object) -> None:
        target = _target(host, port)
        self._check(target)
        self._looked_up = target

    def connect(self, address: object) -> None:
        """Check the address itself. It is the answer of the last look-up, which was checked, or else stands for itself."""
        if not isinstance(address, tuple):
            # A socket of this machine, which is a file.
            self._refuse(private=True)
        target = _target(*address[:2])
        found, looked_up = ip_of(target[0]), self._looked_up
        if found is None or looked_up is None or ip_of(looked_up[0]) not in (None, found):
            self._check(target)
            looked_up = target
        # A name that is looked up below Python: to what, nobody sees.
        is_private_or_unknown = found is None or is_private(found)
        if is_private_or_unknown and not any(
            each in self._proxies or self._is_named(*each)
            for each in ((looked_up[0], target[1]), target)
        ):
            self._refuse(private=True)

    def _check(self, target: Target) -> None:
        if target not in self._proxies and not self._is_allowed(*target):
            self._refuse()

    def _refuse(self, *, private: bool = False) -> NoReturn:
        self.refused, self.refused_private = True, private
        raise NotDialled("This host is not allowed.")


_limits: dict[int, _Limit] = {}
_lock = Lock()
_is_listening = False


@contextmanager
def only_to(is_allowed: Rule, is_named: Rule) -> Iterator[_Limit]:
    """Let this thread connect only to hosts and ports that ``is_allowed``, and inside of private networks that ``is_named``.

    Refused connections raise ``NotDialled`` in the code that makes them; ``refused`` of what it gives says that there was one.
    """
    global _is_listening
    with _lock:
        if not _is_listening:
            # It stays for the process's life, as all audit hooks do.
            sys.addaudithook(_hear)
            _is_listening = True
    limit = _limits[get_ident()] = _Limit(is_allowed, is_named)
    try:
        yield limit
    finally:
        _limits.pop(get_ident(), None)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _limits or event not in _LOOK_UPS | _CONNECTIONS:
        return
    limit = _limits.get(get_ident())
    if limit is None:
        return
    if event in _LOOK_UPS:
        limit.look_up(arguments[0], arguments[1] if len(arguments) > 1 else None)
    elif arguments[1] is not None:
        # Without an address the socket was connected before, and checked then.
        limit.connect(arguments[1])


def _target(host: object, port: object) -> Target:
    name = (
        host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host or "")
    )
    return name.lower(), int(port) if isinstance(port, int) or (
        isinstance(port, str) and port.isdecimal()
    ) else None


def _proxy(address: str) -> Target:
    """Return host and port of a proxy as the environment writes it, with or without a scheme."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        return (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", None
