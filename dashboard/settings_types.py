"""Parsers and validators of settings."""

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from dashboard.core.egress import AllowedDestination
from dashboard.peliqan.client import LOOPBACK
from dashboard.users.errors import PeopleError
from dashboard.users.service import ROLES, checked_address

FUNCTION: Final = re.compile(
    r"(?<![\w.])[A-Za-z_]\w*+(\.[A-Za-z_]\w*+)*+:[A-Za-z_]\w*+(\.[A-Za-z_]\w*+)*+", re.ASCII
)

# An address by RFC 3986, with one @ at most before its path, and no zone of an IPv6 address.
ADDRESS: Final = re.compile(
    r"https?://(?:[\w.~!$&'()*+,;=:%-]*@)?(?:[\w.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:[/?#][\w.~:/?#\[\]@!$&'()*+,;=%-]*)?",
    re.ASCII | re.IGNORECASE,
)

SEGMENT: Final = re.compile(r"[\w.~-]+", re.ASCII)


def readable(read: Callable[[str], Any]) -> AfterValidator:
    """Return a validator that keeps a setting as written, but refuses it if ``read`` fails."""

    def check(text: str) -> str:
        read(text)
        return text

    return AfterValidator(check)


def is_safe(value: str) -> bool:
    """Return whether a value is an https address (http on this machine) with one clear host.

    urllib3, which requests connects by, and Python's ``urlsplit`` must find the same host: in
    ``http://a\\@b/`` the first finds ``a`` and the second ``b``.
    """
    if not ADDRESS.fullmatch(value):
        return False
    try:
        parts, dialled = urlsplit(value), parse_url(value)
        host, port = parts.hostname or "", parts.port
    except (ValueError, LocationParseError):
        return False
    same = (dialled.scheme, (dialled.host or "").strip("[]"), dialled.port) == (
        parts.scheme,
        host,
        port,
    )
    return (
        bool(host)
        and same
        and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
    )


def origin(value: str) -> str:
    """Return a safe address without a slash at its end.

    Raises:
        ValueError: the setting is wrong; the text says how to write it.
    """
    if not is_safe(value):
        raise ValueError("must be an https address (http only on this machine, for the sandbox)")
    return value.rstrip("/")


def console_url(value: str) -> str:
    """Return the console's address in one form: ``https://host`` or ``https://host/path``.

    Raises:
        ValueError: the setting is wrong; the text says how to write it.
    """
    found = origin(value)
    parts = urlsplit(found)
    if {"?", "#", "@"} & set(value):
        raise ValueError("must be an address alone: without a user name, “?” and “#”")
    segments = parts.path.split("/")[1:]
    if not all(SEGMENT.fullmatch(each) and each not in {".", ".."} for each in segments):
        raise ValueError(
            "must have a path of letters, digits, “.”, “_”, “~” and “-” between single slashes,"
            " without “..”"
        )
    return f"{parts.scheme}://{netloc(found)}{parts.path}"


def console_host(value: str) -> str:
    """Return an address of the console without a path.

    Raises:
        ValueError: the setting is wrong; the text says how to write it.
    """
    found = console_url(value)
    if urlsplit(found).path:
        raise ValueError(
            "must have no path: there, too, the console is below the path of DASHBOARD_URL"
        )
    return found


def hook(value: str) -> str:
    """Return ``module:function``, a safe address, or an empty text.

    Raises:
        ValueError: the setting is wrong; the text says how to write it.
    """
    if value and not FUNCTION.fullmatch(value) and not is_safe(value):
        raise ValueError(
            "must be a function, as module:function,"
            " or an https address (http only on this machine)"
        )
    return value


def netloc(url: str) -> str:
    """Return host and port as a browser sends them, without the default port."""
    parts = urlsplit(url)
    return parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")


def roles(text: str) -> dict[str, str]:
    """Parse ``support=operator, it-admins=admin`` into roles by value.

    Raises:
        ValueError: the setting is wrong; the text says how to write it.
    """
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        value, _, role = (part.strip() for part in pair.rpartition("="))
        if not value or role not in ROLES:
            raise ValueError(
                "must be pairs like support=operator, with commas between;"
                " roles are viewer, operator and admin"
            )
        found[value] = role
    return found


def some_roles(text: str) -> frozenset[str]:
    """Parse ``operator, admin`` into roles.

    Raises:
        ValueError: the setting is wrong; the text says how to write it.
    """
    found = frozenset(filter(None, map(str.strip, text.split(","))))
    if not found <= set(ROLES):
        raise ValueError("must be roles with commas between: viewer, operator or admin")
    return found


def domains(text: str) -> frozenset[str]:
    """Parse ``example.com, example.org`` into domains in their canonical form.

    Raises:
        ValueError: the setting is wrong; the text says how to write it.
    """
    try:
        names = [name.strip().removeprefix("@") for name in text.split(",") if name.strip()]
        return frozenset(checked_address(f"somebody@{name}").rpartition("@")[2] for name in names)
    except PeopleError:
        raise ValueError(
            "must be domains of e-mail addresses with commas between, as example.com, example.org"
        ) from None


def destinations(text: str) -> list[AllowedDestination]:
    """Parse ``slack://, postgresql://*.example.com`` into destinations.

    Raises:
        ValueError: the setting is wrong; the text says how to write it.
    """
    return [AllowedDestination.read(each) for each in filter(None, map(str.strip, text.split(",")))]
