"""Limits which hosts a thread connects to while code of others decides: two hundred plug-ins of Apprise's, for instance.

What an address says and what a plug-in dials can differ (a service's own host in the place of the address's, a server that
names another one), so that the check is made where the connection is: Python's audit events of sockets, which see every host
that is looked up or connected to (https://docs.python.org/3/library/audit_events.html).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from threading import Lock, get_ident
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

IsAllowed = Callable[[str, int | None], bool]
_LOOK_UPS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_CONNECTIONS: Final = frozenset({"socket.connect", "socket.sendto"})


class NotDialled(OSError):
    """A connection to a host that the limit does not allow; nothing was sent."""


class _Limit:
    def __init__(self, is_allowed: IsAllowed) -> None:
        self._is_allowed, self._looked_up = is_allowed, False
        # Those that the operator's environment sends everything through.
        self._proxies = {urlsplit(each).hostname for each in getproxies().values()}
        self.refused = False

    def look_up(self, host: object, port: object) -> None:
        self._check(host, port)
        self._looked_up = True

    def connect(self, host: object, port: object) -> None:
        """An IP address is the answer of a look-up that was checked, where there was one."""
        if not (self._looked_up and _is_ip(host)):
            self._check(host, port)

    def _check(self, host: object, port: object) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host or "")
        number = int(port) if isinstance(port, int) or (isinstance(port, str) and port.isdecimal()) else None
        if name.lower() not in self._proxies and not self._is_allowed(name, number):
            self.refused = True
            raise NotDialled("This host is not allowed.")


_limits: dict[int, _Limit] = {}
_lock = Lock()
_is_listening = False


@contextmanager
def only_to(is_allowed: IsAllowed) -> Iterator[_Limit]:
    """Let this thread connect only to hosts and ports that ``is_allowed``.

    Refused connections raise ``NotDialled`` in the code that makes them; ``refused`` of what it gives says that there was one.
    """
    global _is_listening
    with _lock:
        if not _is_listening:
            # It stays for the process's life, as all audit hooks do.
            sys.addaudithook(_hear)
            _is_listening = True
    limit = _limits[get_ident()] = _Limit(is_allowed)
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
    elif isinstance(arguments[1], tuple):
        limit.connect(arguments[1][0], arguments[1][1])


def _is_ip(host: object) -> bool:
    try:
        ip_address(str(host))
    except ValueError:
        return False
    return True
