"""Addresses of pull destinations and warehouses, parsed once.

``DASHBOARD_PLACES`` checks the parsed parts, and connections are made from these parts alone.
No other parser (libpq, SQLAlchemy) reads the text. Two parsers may find two different hosts in
one text; then the host that is checked is not the host that is connected to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict

FORMS: Final = "parquet://folder, sqlite:///file or postgresql://user@host/database"
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
NEEDED: Final = ("host", "dbname", "user")
KNOWN: Final = frozenset({*NEEDED, "port", "password", "sslmode"})
# A path that can never exist, so that libpq reads no password file.
NO_FILE: Final = "/dev/null/none"
LONGEST: Final = 2000
_POSTGRESQL: Final = re.compile(r"(?:postgres|postgresql|postgresql\+psycopg)://")
_URL: Final = re.compile(
    _POSTGRESQL.pattern
    + r"(?:(?P<user>[^:@/?#\[\]\\\s]*)(?::(?P<password>[^@/\\\s]*))?@)?"
    + r"(?P<host>\[[^\[\]@/\\\s]*\]|[^:@/?#\[\]\\\s]*)(?::(?P<port>[^@/?#\\\s]*))?"
    + r"(?:/(?P<dbname>[^@/?#\\\s]*))?(?:\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(
    r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*",
    re.ASCII | re.IGNORECASE,
)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_READ: Final = (
    "That is no address of PostgreSQL's: write postgresql://user:password@host:5432/database, and a"
    " special character of the user, the password or the database as its code: %40 for @, %2F for"
    " /, %25 for %."
)


class BadAddress(ValueError):
    """An invalid address. The message is one sentence and contains no secret of the address."""


@dataclass(frozen=True)
class FileAddress:
    """A folder of Parquet files or a SQLite file.

    ``path`` is absolute with links resolved; ``shown`` is the address as the user typed it.
    """

    scheme: str
    path: Path
    shown: str


@dataclass(frozen=True)
class PostgresAddress:
    """One database of one server. ``host`` is a name, or an IP address without brackets."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(default="", repr=False)
    sslmode: str | None = None

    @property
    def shown(self) -> str:
        """Return ``host:port/database``, which contains no secret."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/{self.database}"

    def keywords(self) -> dict[str, Any]:
        """Return the arguments of ``psycopg.connect`` that lead to this host and port.

        Empty values count as given, so libpq does not replace them with environment variables
        (PGHOSTADDR, PGSERVICE). TLS verification stays with the operator: PGSSLROOTCERT, and
        PGSSLMODE when the address has no sslmode.
        """
        found = {
            "host": self.host,
            "hostaddr": "",
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "passfile": NO_FILE,
            "options": "",
        }
        return {**found, "sslmode": self.sslmode} if self.sslmode else found


Address = FileAddress | PostgresAddress


def read(text: str) -> Address:
    """Parse the address of a destination.

    Raises:
        BadAddress: the address has none of ``FORMS``, or contains more than that form allows.
    """
    _ensure_characters(text)
    if text.startswith("parquet://"):
        folder = text.removeprefix("parquet://")
        if not folder:
            raise BadAddress("The folder is missing: write parquet://folder.")
        return FileAddress("parquet", _path(folder), text)
    if text.startswith("sqlite://"):
        return _sqlite(text)
    if not _POSTGRESQL.match(text):
        raise BadAddress(f"Copies cannot go there. A destination is one of {FORMS}.")
    return read_postgresql(text)


def read_postgresql(text: str) -> PostgresAddress:
    """Parse an address of PostgreSQL: a URL or ``host=… dbname=… user=…``.

    Raises:
        BadAddress: the address is malformed, lacks a part, or contains more than host, port,
            database, user, password and sslmode.
    """
    _ensure_characters(text)
    if "://" in text.partition("=")[0]:
        return _from_parts(_url_parts(text))
    try:
        parts = conninfo_to_dict(text)
    except ProgrammingError:
        raise BadAddress(_NOT_READ) from None
    return _from_parts({name: str(value) for name, value in parts.items()})


def _sqlite(text: str) -> FileAddress:
    path, question_mark, _ = text.removeprefix("sqlite://").partition("?")
    if question_mark:
        # ?uri=true would make it another file than the one that was checked.
        raise BadAddress(
            "An address of a file says where it is, and no more: write sqlite:///file."
        )
    file = path.removeprefix("/")
    if not path.startswith("/") or file in {"", ":memory:"}:
        raise BadAddress("The file is missing: write sqlite:///file.")
    return FileAddress("sqlite", _path(file), text)


def _path(text: str) -> Path:
    """Return the absolute path with links resolved.

    Raises:
        BadAddress: the path cannot be resolved: a loop, a name too long, or no permission.
    """
    try:
        return Path(text).resolve()
    except (OSError, RuntimeError, ValueError):
        raise BadAddress(
            "The console cannot follow that path: choose another folder or file."
        ) from None


def _url_parts(text: str) -> dict[str, str]:
    found = _URL.fullmatch(text)
    if found is None:
        raise BadAddress(_NOT_READ)
    parts = {name: _decoded(found[name]) for name in ("user", "password", "dbname") if found[name]}
    parts |= {name: found[name] for name in ("host", "port") if found[name] is not None}
    for each in (found["query"] or "").split("&") if found["query"] else ():
        name, _, value = each.partition("=")
        if name != "sslmode" or name in parts:
            raise BadAddress(_unknown(name, twice=name in parts))
        parts[name] = _decoded(value)
    return parts


def _from_parts(parts: Mapping[str, str]) -> PostgresAddress:
    if missing := [name for name in NEEDED if not parts.get(name)]:
        raise BadAddress(f"The address lacks: {', '.join(missing)}.")
    if unknown := sorted(set(parts) - KNOWN):
        raise BadAddress(_unknown(unknown[0]))
    if not all(each.isprintable() for each in parts.values()):
        raise BadAddress(_NOT_READ)
    port, sslmode = parts.get("port", "5432"), parts.get("sslmode")
    host = _host(parts["host"], port)
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise BadAddress("The address's port is a number from 1 to 65535.")
    if sslmode is not None and sslmode not in SSL_MODES:
        raise BadAddress(f"The address's sslmode is one of: {', '.join(SSL_MODES)}.")
    return PostgresAddress(
        host, int(port), parts["dbname"], parts["user"], parts.get("password", ""), sslmode
    )


def _host(host: str, port: str) -> str:
    if "," in host + port:
        raise BadAddress("The address names more than one host. Enter one host.")
    if host.startswith(("/", "@")):
        raise BadAddress(
            "A socket of this machine is no customer's warehouse and no destination: enter the"
            " host's name."
        )
    try:
        return (
            str(IPv6Address(host.removeprefix("[").removesuffix("]")))
            if ":" in host and "%" not in host
            else _name(host)
        )
    except ValueError:
        raise BadAddress(
            "The address's host is a plain name, as db.example.com, or an IP address."
        ) from None


def _name(host: str) -> str:
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError
    return host


def _decoded(text: str) -> str:
    """Return the text with percent-encoding resolved once."""
    if _BAD_ESCAPE.search(text):
        raise BadAddress(_NOT_READ)
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadAddress(_NOT_READ) from None


def _unknown(name: str, *, twice: bool = False) -> str:
    """Return the error text for an unknown or repeated part.

    The text quotes ``name`` only when it is an option of libpq: any other name may be a part of
    a password.
    """
    if twice:
        return f"The address has {name} more than once. Write it once."
    options = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    shown = name if name in options else "anything else"
    return f"An address has host, database and user, not {shown}: only sslmode may follow the ?."


def _ensure_characters(text: str) -> None:
    if len(text) > LONGEST or not text.isprintable():
        raise BadAddress(
            "That is no address: it is too long, or has characters that no address has."
        )
