"""IP addresses of hosts, and which of them are not on the public internet."""

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

IpAddress = IPv4Address | IPv6Address
# Has an IPv4 address in its last 32 bits (RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")


def ip_of(host: str) -> IpAddress | None:
    """Return the IP address that the system's resolver reads in a text; None for a name.

    Accepts IPv4 also in the forms of ``inet_aton`` (127.1, 0x7f000001, 017700000001, 2130706433),
    and IPv6 with or without brackets and zone. Returns a mapped IPv4 address (::ffff:10.0.0.1) as
    IPv4.
    """
    text = host.strip().removeprefix("[").removesuffix("]").partition("%")[0].rstrip(".")
    with suppress(ValueError):
        found = ip_address(text)
        return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
    if text and text.isascii() and set(text.lower()) <= set("0123456789abcdefx."):
        with suppress(OSError):
            return IPv4Address(socket.inet_aton(text))
    return None


def is_private(address: IpAddress) -> bool:
    """Return whether an address is not a single host of the public internet.

    True for this machine, link-local (cloud metadata), private, shared (100.64/10), reserved,
    multicast and broadcast addresses. An IPv6 address that contains an IPv4 address counts as
    that: mapped, 6to4, NAT64 with its well-known prefix.
    """
    if isinstance(address, IPv6Address):
        contained = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            contained = IPv4Address(int(address) & 0xFFFFFFFF)
        if contained is not None:
            return is_private(contained)
    # Site-local networks are the deprecated form of private IPv6 networks.
    is_site_local = isinstance(address, IPv6Address) and address.is_site_local
    return not address.is_global or address.is_multicast or address.is_reserved or is_site_local


def is_local_name(host: str) -> bool:
    """Return whether a name always means this machine (RFC 6761)."""
    name = host.strip().rstrip(".").lower()
    return (
        name == "localhost"
        or name.endswith((".localhost", ".localdomain"))
        or name == "localhost.localdomain"
    )
