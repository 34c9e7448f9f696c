"""Addresses of copies and of warehouses, read once into parts.

``DASHBOARD_PLACES`` checks these parts and connections are made from them alone. No other reader of addresses (libpq,
SQLAlchemy) sees the text: two readers may find two hosts in it, and then another host is checked than the one that is dialled.
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
    "That is no address of PostgreSQL's: write postgresql://user:password@host:5432/database, and a special character of the"
    " user, the password or the database as its code: %40 for @, %2F for /, %25 for %."
)


class BadAddress(ValueError):
    """A sentence, with nothing of the address in it that is secret."""


@dataclass(frozen=True)
class FileAddress:
    """A folder of Parquet files or a file of SQLite. ``path``: absolute, links resolved; ``shown``: as it was typed."""

    scheme: str
    path: Path
    shown: str


@dataclass(frozen=True)
class PostgresAddress:
    """One database of one server. ``host``: a name, or an IP address without brackets."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(default="", repr=False)
    sslmode: str | None = None

    @property
    def shown(self) -> str:
        """Host, port and database, which are no secrets."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/{self.database}"

    def keywords(self) -> dict[str, Any]:
        """Arguments of ``psycopg.connect`` that lead to this host and port.

        What is empty counts as given: libpq does not replace it by what the environment says (PGHOSTADDR, PGSERVICE). How TLS
        verifies (PGSSLROOTCERT, and PGSSLMODE where the address has no sslmode) stays the operator's.
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
    """Read an address of copies.

    Raises:
        BadAddress: it is none of ``FORMS``, or says more than they do.
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
    """Read an address of PostgreSQL's, as a URL or as ``host=… dbname=… user=…``.

    Raises:
        BadAddress: it is none, lacks a part, or says more than host, port, database, user, password and sslmode.
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
        # With ?uri=true it would be another file than the one that was checked.
        raise BadAddress(
            "An address of a file says where it is, and no more: write sqlite:///file."
        )
    file = path.removeprefix("/")
    if not path.startswith("/") or file in {"", ":memory:"}:
        raise BadAddress("The file is missing: write sqlite:///file.")
    return FileAddress("sqlite", _path(file), text)


def _path(text: str) -> Path:
    """Return an absolute path with links resolved. Where one cannot be (a loop, a name too long, no right), it is no address."""
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
        raise BadAddress("An address is one host's.")
    if host.startswith(("/", "@")):
        raise BadAddress(
            "A socket of this machine is no customer's warehouse and no destination: enter the host's name."
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
    """Percent-encoding resolved, once."""
    if _BAD_ESCAPE.search(text):
        raise BadAddress(_NOT_READ)
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadAddress(_NOT_READ) from None


def _unknown(name: str, *, twice: bool = False) -> str:
    """``name`` is repeated only where it is an option of libpq's: else it may be a part of a password."""
    if twice:
        return f"An address says {name} once."
    options = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    said = name if name in options else "anything else"
    return f"An address may say where and who, not {said}: behind the ? stands sslmode alone."


def _ensure_characters(text: str) -> None:
    if len(text) > LONGEST or not text.isprintable():
        raise BadAddress(
            "That is no address: it is too long, or has characters that no address has."
        )
