"""A limit for the hosts that a thread connects to while third-party code runs.

Third-party code is, for example, a plug-in of Apprise. The address that a user enters and the host
that a plug-in connects to can differ: a service has its own host, or a server names another one.
Two DNS answers for one name can differ as well. So the check runs where the connection is made: in
Python's audit events of sockets, which report every host name that is resolved and every address
that is connected to (https://docs.python.org/3/library/audit_events.html).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies

from dashboard.core.ip_addresses import ip_of, is_private

Rule = Callable[[str, int | None], bool]
Target = tuple[str, int | None]
_LOOK_UPS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_CONNECTIONS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}


class NotDialled(OSError):
    """A connection to a host that the limit does not allow. Nothing was sent."""


class _Limit:
    """The limit of one thread.

    ``refused``: a host was not allowed. ``refused_private``: an address was in a private network
    and the rules do not name it.
    """

    def __init__(self, is_allowed: Rule, is_named: Rule) -> None:
        self._is_allowed, self._is_named = is_allowed, is_named
        # Proxies from the operator's environment, through which every connection goes.
        self._proxies = {_proxy(each) for name, each in getproxies().items() if name != "no"}
        self._resolved: Target | None = None
        self.refused = self.refused_private = False

    def resolve(self, host: object, port: object) -> None:
        target = _target(host, port)
        self._check(target)
        self._resolved = target

    def connect(self, address: object) -> None:
        """Check an IP address: the answer for the last resolved name, or a host of its own."""
        if not isinstance(address, tuple):
            # A Unix socket, which is a file of this machine.
            self._refuse(private=True)
        target = _target(*address[:2])
        found, resolved = ip_of(target[0]), self._resolved
        if found is None or resolved is None or ip_of(resolved[0]) not in (None, found):
            self._check(target)
            resolved = target
        # Without an IP address, C code resolves the name and its address stays unknown.
        is_private_or_unknown = found is None or is_private(found)
        if is_private_or_unknown and not any(
            each in self._proxies or self._is_named(*each)
            for each in ((resolved[0], target[1]), target)
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
    """Let this thread connect only to hosts and ports that ``is_allowed`` accepts.

    Hosts in private networks also need ``is_named``. A refused connection raises ``NotDialled``
    in the code that makes it, and sets ``refused`` of the yielded limit.
    """
    global _is_listening
    with _lock:
        if not _is_listening:
            # Python cannot remove an audit hook, so it is added once in a process.
            sys.addaudithook(_audit)
            _is_listening = True
    limit = _limits[get_ident()] = _Limit(is_allowed, is_named)
    try:
        yield limit
    finally:
        _limits.pop(get_ident(), None)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _limits or event not in _LOOK_UPS | _CONNECTIONS:
        return
    limit = _limits.get(get_ident())
    if limit is None:
        return
    if event in _LOOK_UPS:
        limit.resolve(arguments[0], arguments[1] if len(arguments) > 1 else None)
    elif arguments[1] is not None:
        # Without an address the socket is connected already and was checked at that time.
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
