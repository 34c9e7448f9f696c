"""Where administrators may have the console connect, post or write to, where the operator says so (``DASHBOARD_PLACES``)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

FILES: Final = frozenset({"parquet", "sqlite"})
REFUSED: Final = "The console may not be sent there: its operator says where it may, in DASHBOARD_PLACES."


class NotAllowed(ValueError):
    """A sentence, without the address."""


@dataclass(frozen=True)
class Place:
    """One of them: a service or kind of database, at any host or at those that ``host`` fits; or a ``folder``."""

    scheme: str
    host: str = "*"
    folder: Path | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """``slack://``, ``postgresql://*.example.com`` or ``parquet:///srv/copies``.

        Raises:
            ValueError: a sentence.
        """
        scheme, separator, rest = text.partition("://")
        if not scheme or not separator:
            raise ValueError(f"“{text[:60]}” is no place: write slack://, postgresql://*.example.com or parquet:///srv/copies")
        if scheme.lower() not in FILES:
            return cls(_plain(scheme), rest.rstrip("/").lower() or "*")
        folder = Path((make_url(text).database or "") if scheme.lower() == "sqlite" else rest)
        if not folder.is_absolute():
            raise ValueError(f"“{text[:60]}” needs a whole path: parquet:///srv/copies, or sqlite:////srv/copies")
        return cls(scheme.lower(), folder=folder.resolve())


class Places:
    """All of them; everywhere where there are none."""

    def __init__(self, allowed: Iterable[Place] = ()) -> None:
        self._allowed = tuple(allowed)

    def ensure(self, address: str) -> None:
        """Return if the console may go to a database or a folder, as a warehouse's or a destination's address names it.

        Raises:
            NotAllowed: it may not.
        """
        if not self._allowed:
            return
        scheme = address.partition("://")[0].lower()
        if scheme not in FILES:
            self.ensure_service("postgresql", _hosts(address))
            return
        path = _path(scheme, address)
        if not any(each.scheme == scheme and each.folder in (path, *path.parents) for each in self._allowed):
            raise NotAllowed(REFUSED)

    def ensure_service(self, scheme: str, hosts: Collection[str]) -> None:
        """The same of a service by its scheme; ``hosts``: whom it would ask, where that is not the service's own affair."""
        mine = [each for each in self._allowed if each.scheme == _plain(scheme)]
        if self._allowed and not all(any(fnmatchcase(host.lower(), each.host) for each in mine) for host in hosts or [""]):
            raise NotAllowed(REFUSED)


EVERYWHERE: Final = Places()


def _plain(scheme: str) -> str:
    found = scheme.strip().lower().partition("+")[0]
    return "postgresql" if found == "postgres" else found


def _path(scheme: str, address: str) -> Path:
    """The file or folder, wherever a link leads."""
    return Path(make_url(address).database or "" if scheme == "sqlite" else address.partition("://")[2]).resolve()


def _hosts(address: str) -> list[str]:
    """Everyone whom PostgreSQL's client would ask, however the address says it."""
    try:
        parts = conninfo_to_dict(address.replace("+psycopg", "", 1))
    except ProgrammingError:
        raise NotAllowed(REFUSED) from None
    return [each for name in ("host", "hostaddr") for each in str(parts.get(name) or "").split(",") if each]
