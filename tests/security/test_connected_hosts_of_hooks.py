"""The hosts of the hook and of Peliqan are those that the settings were checked for."""

import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dashboard import settings_types
from dashboard.deliveries.hook import AddressHook, HookError
from dashboard.peliqan.client import LOOPBACK

ODD = [
    "http://evil.example\\@127.0.0.1/hook",
    "https://hooks.example.com\\@evil.example/",
    "https://hooks.example.com@evil.example@hooks.example.com/",
    "https://hooks.example.com/\n",
    "https://hooks.example.com\t.evil.example/",
    " https://hooks.example.com/",
    "https://hooks.example.com:443:80/",
    "https://hooks.ex\u0430mple.com/",
    "https://hooks.example.com\u3002evil.example/",
    "https://hooks%2eexample.com/",
    "https://[::1%25lo]/",
    "https://[::1]evil.example/",
    "https:///hooks.example.com/",
]
PIECES = st.sampled_from([
    "http://", "https://", "HTTPS://", "//", "/", "\\", "@", ":", "#", "?", "%40", "%5C", "%2F",
    "[", "]", "[::1]", "127.0.0.1",
    "localhost", "evil.example", "hooks.example.com", ":443", ":0", ":99999", "user",
    "user:password@", " ", "\t", "\n", "\x00", ".",
    "\u3002", "\uff0f", "\u2100", ";", "&", "=",
])  # fmt: skip


def dialled(address: str) -> set[str]:
    """Record the look-ups of a hook's address; no host is found."""
    found: set[str] = set()

    def look_up(host: Any, *_args: Any, **_more: Any) -> Any:
        found.add(host.decode() if isinstance(host, bytes) else str(host))
        raise socket.gaierror(socket.EAI_NONAME, "not found")

    with patch.object(socket, "getaddrinfo", look_up), suppress(HookError):
        AddressHook(address, "s" * 16, lambda: datetime.now(UTC)).send({"key": "1"})
    return found


@pytest.mark.parametrize("address", ODD)
def test_an_address_with_two_meanings_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(ValueError, match="https address"):
        settings_types.hook(address)
    with pytest.raises(ValueError, match="https address"):
        settings_types.origin(address)


@settings(max_examples=1000, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=8).map("".join))
@example(ODD[0])
@example(ODD[1])
@example("https://user:password@hooks.example.com:8443/in?x=1#y")
@example("http://[::1]:8000/hook")
def test_whatever_the_settings_take_is_dialled_at_the_host_that_was_checked(address: str) -> None:
    if not settings_types.is_safe(address):
        return
    host = urlsplit(address).hostname
    assert dialled(address) <= {host}
    assert address.lower().startswith("https://") or host in LOOPBACK


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://user:password@hooks.example.com:8443/in?x=1", "hooks.example.com"),
        ("https://Hooks.Example.com/in", "hooks.example.com"),
        ("http://127.0.0.1:9/hook", "127.0.0.1"),
        ("http://[::1]:9/hook", "::1"),
    ],
)
def test_an_ordinary_address_is_taken_and_dialled(address: str, host: str) -> None:
    assert settings_types.hook(address) == address
    assert dialled(address) == {host}
