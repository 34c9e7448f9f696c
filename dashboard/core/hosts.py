"""Hosts as addresses of IP: what a text means to the system's resolver, and which addresses are reached from inside alone."""

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

IpAddress = IPv4Address | IPv6Address
# An IPv4 address in the last 32 bits (RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")


def ip_of(host: str) -> IpAddress | None:
    """Return the address that a text is for the system's resolver; None where it is a name.

    IPv4 also in the forms of ``inet_aton``: 127.1, 0x7f000001, 017700000001, 2130706433. IPv6 with or without brackets and zone.
    A mapped IPv4 address (::ffff:10.0.0.1) is that IPv4 address.
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
    """Return whether an address is anything but one host of the public internet.

    So: this machine, link-local ones (cloud metadata), private, shared (100.64/10) and reserved networks, multicast, broadcast.
    An IPv6 address that leads to an IPv4 one is judged by that: mapped, 6to4, NAT64 with its well-known prefix.
    """
    if isinstance(address, IPv6Address):
        held = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            held = IPv4Address(int(address) & 0xFFFFFFFF)
        if held is not None:
            return is_private(held)
    # Site-local is an old kind of private.
    is_site_local = isinstance(address, IPv6Address) and address.is_site_local
    return not address.is_global or address.is_multicast or address.is_reserved or is_site_local


def is_local_name(host: str) -> bool:
    """Return whether a name means this machine by itself (RFC 6761)."""
    name = host.strip().rstrip(".").lower()
    return (
        name == "localhost"
        or name.endswith((".localhost", ".localdomain"))
        or name == "localhost.localdomain"
    )
