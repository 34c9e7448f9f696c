"""How settings are written: what their texts mean."""

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from dashboard.core.egress import AllowedDestination
from dashboard.peliqan.client import LOOPBACK
from dashboard.users.service import ROLES, PeopleError, checked_address

FUNCTION: Final = re.compile(
    r"(?<![\w.])[A-Za-z_]\w*+(\.[A-Za-z_]\w*+)*+:[A-Za-z_]\w*+(\.[A-Za-z_]\w*+)*+", re.ASCII
)

# What RFC 3986 lets an address have, with one @ at most in front of its path, and no zone of an IPv6 address.
ADDRESS: Final = re.compile(
    r"https?://(?:[\w.~!$&'()*+,;=:%-]*@)?(?:[\w.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][\w.~:/?#\[\]@!$&'()*+,;=%-]*)?",
    re.ASCII | re.IGNORECASE,
)

SEGMENT: Final = re.compile(r"[\w.~-]+", re.ASCII)


def readable(read: Callable[[str], Any]) -> AfterValidator:
    """For a setting that is kept as it is written: ``read`` is tried, and says what is wrong with it."""

    def check(text: str) -> str:
        read(text)
        return text

    return AfterValidator(check)


def is_safe(value: str) -> bool:
    """Whether it is an address of https, or of http on this machine, and every reader of addresses finds the same host in it.

    urllib3 is what requests dials by: in ``http://a\\@b/`` it finds the host ``a``, and Python's own ``urlsplit`` finds ``b``.
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
    """A safe address without a slash at its end.

    Raises:
        ValueError: a sentence.
    """
    if not is_safe(value):
        raise ValueError("must be an https address (http only on this machine, for the sandbox)")
    return value.rstrip("/")


def console_url(value: str) -> str:
    """Read the console's own address in one form: ``https://host`` or ``https://host/path``.

    Raises:
        ValueError: a sentence.
    """
    found = origin(value)
    parts = urlsplit(found)
    if {"?", "#", "@"} & set(value):
        raise ValueError("must be an address alone: without a user name, “?” and “#”")
    segments = parts.path.split("/")[1:]
    if not all(SEGMENT.fullmatch(each) and each not in {".", ".."} for each in segments):
        raise ValueError(
            "must have a path of letters, digits, “.”, “_”, “~” and “-” between single slashes, without “..”"
        )
    return f"{parts.scheme}://{netloc(found)}{parts.path}"


def console_host(value: str) -> str:
    """Read an address of the console's that has no path.

    Raises:
        ValueError: a sentence.
    """
    found = console_url(value)
    if urlsplit(found).path:
        raise ValueError(
            "must have no path: there, too, the console is below the path of DASHBOARD_URL"
        )
    return found


def hook(value: str) -> str:
    """``module:function``, a safe address, or nothing.

    Raises:
        ValueError: a sentence.
    """
    if value and not FUNCTION.fullmatch(value) and not is_safe(value):
        raise ValueError(
            "must be a function, as module:function, or an https address (http only on this machine)"
        )
    return value


def netloc(url: str) -> str:
    """Host and port as a browser sends them: the usual port is left out."""
    parts = urlsplit(url)
    return parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")


def roles(text: str) -> dict[str, str]:
    """``support=operator, it-admins=admin`` as roles by value.

    Raises:
        ValueError: a sentence.
    """
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        value, _, role = (part.strip() for part in pair.rpartition("="))
        if not value or role not in ROLES:
            raise ValueError(
                "must be pairs like support=operator, with commas between; roles are viewer, operator and admin"
            )
        found[value] = role
    return found


def some_roles(text: str) -> frozenset[str]:
    """``operator, admin`` as roles.

    Raises:
        ValueError: a sentence.
    """
    found = frozenset(filter(None, map(str.strip, text.split(","))))
    if not found <= set(ROLES):
        raise ValueError("must be roles with commas between: viewer, operator and admin are there")
    return found


def domains(text: str) -> frozenset[str]:
    """``example.com, example.org`` as domains of e-mail addresses, in the form in which addresses are kept.

    Raises:
        ValueError: a sentence.
    """
    try:
        names = [name.strip().removeprefix("@") for name in text.split(",") if name.strip()]
        return frozenset(checked_address(f"somebody@{name}").rpartition("@")[2] for name in names)
    except PeopleError:
        raise ValueError(
            "must be domains of e-mail addresses with commas between, as example.com, example.org"
        ) from None


def places(text: str) -> list[AllowedDestination]:
    """``slack://, postgresql://*.example.com`` as places.

    Raises:
        ValueError: a sentence.
    """
    return [AllowedDestination.read(each) for each in filter(None, map(str.strip, text.split(",")))]
