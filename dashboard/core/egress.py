"""The destinations that administrators may connect to, as ``DASHBOARD_PLACES`` allows them."""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Self

from dashboard.core import database_urls
from dashboard.core.ip_addresses import ip_of, is_local_name, is_private

FILES: Final = frozenset({"parquet", "sqlite"})
_PATTERN: Final = re.compile(
    r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.*?-]*))(?::(?P<port>[0-9]{1,5}))?/?",
    re.ASCII,
)
OWN_FILES: Final = (
    "The console keeps its own store and files there. Copies need a place of their own, outside of"
    " DASHBOARD_DATA: choose another folder."
)
REFUSED: Final = (
    "The console may not be sent there: its operator says where it may, in DASHBOARD_PLACES."
)
PRIVATE: Final = (
    "The console may not be sent there: the address is on its own machine or in a private network."
    " If it is meant, the operator names the service with that host in DASHBOARD_PLACES, as in"
    " json://10.0.0.5, beside all others that are used."
)
# Matches a pattern of IP addresses; all other patterns are of names.
_OF_ADDRESSES: Final = re.compile(r"(?=[.*?]*[0-9])[0-9.*?]+|[0-9a-f.*?]*:[0-9a-f:.*?]*")


class NotAllowed(ValueError):
    """A destination that is not allowed. The message does not contain the address."""


@dataclass(frozen=True)
class AllowedDestination:
    """One entry of ``DASHBOARD_PLACES``: a service, a kind of database, or a folder.

    A service or database is allowed at the hosts that match the pattern ``host``, and at ``port``
    (None: any port). ``folder`` allows files below it.
    """

    scheme: str
    host: str = "*"
    folder: Path | None = None
    port: int | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse ``slack://``, ``postgresql://*.example.com:5432`` or ``parquet:///srv/copies``.

        Raises:
            ValueError: the text is malformed; the message is a sentence for the operator.
        """
        scheme, separator, rest = text.partition("://")
        if not scheme or not separator:
            raise ValueError(
                f"“{text[:60]}” is no place: write slack://, postgresql://*.example.com or"
                " parquet:///srv/copies"
            )
        if scheme.lower() not in FILES:
            found = _PATTERN.fullmatch(rest.lower())
            if found is None:
                raise ValueError(
                    f"“{scheme[:60]}://” names a host, or a host and a port, and nothing else:"
                    " *.example.com:5432"
                )
            host = str(ip_of(found["address"])) if found["address"] else found["name"] or "*"
            return cls(_plain(scheme), host, port=int(found["port"]) if found["port"] else None)
        folder = Path(rest.removeprefix("/") if scheme.lower() == "sqlite" else rest)
        if not folder.is_absolute():
            raise ValueError(
                f"“{text[:60]}” needs a whole path: parquet:///srv/copies, or sqlite:////srv/copies"
            )
        return cls(scheme.lower(), folder=folder.resolve())

    @property
    def names_a_host(self) -> bool:
        """Return whether the entry limits hosts, rather than allowing any."""
        return any(each.isalnum() for each in self.host)

    def matches(self, host: str, port: int | None) -> bool:
        """Return whether the entry allows a host and port. ``10.*`` does not match 10.example.com.

        ``port`` is the one that the address names; None if it names none.
        """
        address = ip_of(host)
        if address is None and _OF_ADDRESSES.fullmatch(self.host):
            return False
        return fnmatchcase(str(address or host.lower()), self.host) and self.port in (None, port)


@dataclass(frozen=True)
class OwnFiles:
    """Files of the console: folder ``data``, and SQLite file ``store`` with its siblings.

    SQLite's siblings (``-wal``, ``-shm``) begin with the name of the file.
    """

    data: Path
    store: Path | None = None

    def ensure_none(self, address: database_urls.Address) -> None:
        """Check that copies to an address do not touch the console's own files.

        Raises:
            NotAllowed: they would.
        """
        if isinstance(address, database_urls.PostgresAddress):
            return
        data = self.data.resolve()
        # A pull also writes and deletes files in folders below its destination.
        above = address.scheme == "parquet" and address.path in data.parents
        if above or data in (address.path, *address.path.parents) or self._is_store(address.path):
            raise NotAllowed(OWN_FILES)

    def _is_store(self, path: Path) -> bool:
        if self.store is None:
            return False
        store = self.store.resolve()
        name = store.name.casefold()
        if any(
            each.parent == store.parent and each.name.casefold().startswith(name)
            for each in (path, *path.parents)
        ):
            return True
        # os.path returns False for a name that is too long or not readable; pathlib raises.
        return os.path.exists(path) and os.path.exists(store) and os.path.samefile(path, store)


class EgressPolicy:
    """All allowed destinations. Without any entry everything is allowed but the own files."""

    def __init__(
        self, allowed: Iterable[AllowedDestination] = (), own: OwnFiles | None = None
    ) -> None:
        self._allowed, self._own = tuple(allowed), own

    def ensure_not_own(self, address: database_urls.Address) -> None:
        """Check only that an address is not one of the console's own files. Raises NotAllowed."""
        if self._own is not None:
            self._own.ensure_none(address)

    def ensure(self, address: database_urls.Address | str) -> None:
        """Check that the console may connect to a database or write to a folder.

        A text is parsed in the same way as by the code that opens it.

        Raises:
            NotAllowed: it may not.
        """
        if not self._allowed and self._own is None:
            return
        found = _read(address) if isinstance(address, str) else address
        self.ensure_not_own(found)
        if not self._allowed:
            return
        if isinstance(found, database_urls.PostgresAddress):
            self.ensure_service("postgresql", [found.host], found.port)
            return
        folders = (found.path, *found.path.parents)
        if not any(
            each.scheme == found.scheme and each.folder in folders for each in self._allowed
        ):
            raise NotAllowed(REFUSED)

    def ensure_service(self, scheme: str, hosts: Collection[str], port: int | None = None) -> None:
        """Check a service by its scheme and hosts. Raises NotAllowed.

        Without ``hosts`` the service has fixed hosts of its own.
        """
        if not all(self.allows(scheme, host, port) for host in hosts or [""]):
            raise NotAllowed(REFUSED)

    def ensure_public(self, scheme: str, names: Iterable[str], port: int | None = None) -> None:
        """Check that no host of a service is private, unless an entry names it for the service.

        Reads only the text. A name's IP address is checked when the connection is made
        (``core.dialling``).

        Raises:
            NotAllowed: a host is private and not named.
        """
        for host in names:
            address = ip_of(host)
            is_inside = is_private(address) if address is not None else is_local_name(host)
            if is_inside and not self.names(scheme, host, port):
                raise NotAllowed(PRIVATE)

    def allows(self, scheme: str, host: str, port: int | None) -> bool:
        """Return whether a service may be called at a host and port."""
        return not self._allowed or any(
            each.matches(host, port) for each in self._allowed if each.scheme == _plain(scheme)
        )

    def names(self, scheme: str, host: str, port: int | None) -> bool:
        """Return whether an entry names this host for a service, rather than any host."""
        mine = (
            each for each in self._allowed if each.scheme == _plain(scheme) and each.names_a_host
        )
        return any(each.matches(host, port) for each in mine)


ALLOW_ALL: Final = EgressPolicy()


def _plain(scheme: str) -> str:
    found = scheme.strip().lower().partition("+")[0]
    return "postgresql" if found == "postgres" else found


def _read(address: str) -> database_urls.Address:
    try:
        return (
            database_urls.read(address)
            if "://" in address.partition("=")[0]
            else database_urls.read_postgresql(address)
        )
    except database_urls.BadAddress:
        raise NotAllowed(REFUSED) from None
