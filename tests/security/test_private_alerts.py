"""Alerts stay out of private networks, however a host is written or looked up."""

import itertools
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from dashboard.alerts import sending as alert_delivery
from dashboard.app import create_app
from dashboard.context import Services
from dashboard.core import ip_addresses
from dashboard.core.connection_guard import NotDialled, only_to
from dashboard.core.egress import PRIVATE, REFUSED, AllowedDestination, EgressPolicy, NotAllowed
from tests.security.test_connected_hosts_of_alerts import answering, policy
from tests.support.people import Person
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

NOWHERE = EgressPolicy()
PRIVATE_ADDRESSES = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1",
    "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "169.254.170.2", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%lo",
    "fc00::1", "fd00::1", "fd00:ec2::254", "fec0::1",
    "ff02::1", "ff0e::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:10.0.0.1",
    "::127.0.0.1", "2002:7f00:1::",
    "2002:a00:1::1", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1", "64:ff9b:1::a00:1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]  # fmt: skip
PUBLIC_ADDRESSES = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "2002:808:808::1",
    "64:ff9b::808:808",
]
# Other forms of 127.0.0.1 and 169.254.169.254, as the system's resolver reads them.
ODD_FORMS = [
    "127.1", "127.0.1", "0x7f.1", "0x7f000001", "0X7F.0.0.1", "2130706433", "017700000001",
    "0177.0.0.1", "127.0.0.1.", "0", "00000177.1",
    "2852039166", "0xa9fea9fe", "0xa9.254.0251.254", "[::1]", "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:0:0:1]", "localhost", "LOCALHOST.",
    "x.localhost", "localhost.localdomain",
]  # fmt: skip


@pytest.fixture(autouse=True)
def only_loopback() -> None:
    """Replace the fixture of all tests: this test answers look-ups itself."""


@contextmanager
def resolving(*answers: str) -> Iterator[list[str]]:
    """Answer look-ups of every name with these addresses in turn, without a network."""
    resolved_names: list[str] = []
    following = itertools.cycle(answers)

    def look_up(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        # As the system's resolver does.
        sys.audit("socket.getaddrinfo", host, port, 0, 0, 0)
        resolved_names.append(host if isinstance(host, str) else host.decode())
        address = next(following)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            (
                family,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
        ]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", look_up)
        yield resolved_names


@contextmanager
def noted_connections() -> Iterator[list[Any]]:
    """Record the allowed connections; none leaves this machine."""
    found: list[Any] = []

    class Noted(socket.socket):
        def connect(self, address: Any) -> None:
            sys.audit("socket.connect", self, address)
            found.append(address)
            raise ConnectionRefusedError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "socket", Noted)
        yield found


def written(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_a_private_address_is_refused_when_it_is_entered_and_when_it_is_sent_to(
    address: str,
) -> None:
    assert ip_addresses.is_private(ip_addresses.ip_of(address) or ip_address("8.8.8.8"))
    text = f"json://{written(address.partition('%')[0])}:9/in"
    with noted_connections() as received:
        with pytest.raises((NotAllowed, alert_delivery.BadAddress)):
            alert_delivery.check_address(text, NOWHERE)
        assert alert_delivery.send(text, "subject", "body", policy=NOWHERE) is not None
    assert received == []


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_dialled(address: str) -> None:
    assert not ip_addresses.is_private(ip_addresses.ip_of(address) or ip_address("127.0.0.1"))
    with resolving(address), noted_connections() as received:
        assert alert_delivery.send(
            "json://hooks.example.com/in", "subject", "body", policy=NOWHERE
        ) not in (PRIVATE, REFUSED)
    assert [each[0] for each in received] == [address]


@pytest.mark.parametrize("form", ODD_FORMS)
@pytest.mark.parametrize("scheme", ["json", "form", "ntfy", "gotify", "mailto"])
def test_no_other_form_of_a_private_address_is_dialled(form: str, scheme: str) -> None:
    rest = {
        "ntfy": "/topic?mode=private",
        "gotify": "/token12345678901",
        "mailto": "?to=a@example.com&from=b@example.com",
    }
    text = f"{scheme}://user:password@{form}{rest.get(scheme, '/in')}"
    with noted_connections() as received:
        with suppress(NotAllowed, alert_delivery.BadAddress):
            shown = alert_delivery.check_address(text, NOWHERE)
            # Apprise finds no host in it.
            assert form not in shown
        assert alert_delivery.send(text, "subject", "body", policy=NOWHERE) is not None
    assert received == []


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_a_name_that_is_looked_up_to_a_private_address_is_refused_at_the_connection(
    address: str,
) -> None:
    text = "json://hooks.example.com/in"
    assert alert_delivery.check_address(text, NOWHERE)
    with resolving(address) as resolved_names, noted_connections() as received:
        assert alert_delivery.send(text, "subject", "body", policy=NOWHERE) == PRIVATE
    assert resolved_names
    assert received == []


def test_a_name_whose_second_answer_is_private_is_refused_by_that_answer() -> None:
    """A check with its own look-up would see only the first answer."""
    with resolving("8.8.8.8", "127.0.0.1") as resolved_names, noted_connections() as received:
        sent = [
            alert_delivery.send("json://hooks.example.com/in", "subject", "body", policy=NOWHERE)
            for _ in range(4)
        ]
    assert len(resolved_names) == 4
    assert [each == PRIVATE for each in sent] == [False, True, False, True]
    assert {each[0] for each in received} == {"8.8.8.8"}


@pytest.mark.parametrize(
    ("named", "address", "is_sent"),
    [
        ("json://127.0.0.1", "json://127.0.0.1:PORT/in", True),
        ("json://127.0.0.1:PORT", "json://127.0.0.1:PORT/in", True),
        ("json://127.*", "json://127.0.0.1:PORT/in", True),
        ("json://localhost", "json://localhost:PORT/in", True),
        ("json://127.0.0.1", "json://127.1:PORT/in", True),
        ("json://127.0.0.1:1", "json://127.0.0.1:PORT/in", False),
        ("json://", "json://127.0.0.1:PORT/in", False),
        ("json://*", "json://127.0.0.1:PORT/in", False),
        ("json://*.*", "json://127.0.0.1:PORT/in", False),
        ("json://?*", "json://localhost:PORT/in", False),
        ("jsons://127.0.0.1, json://", "json://127.0.0.1:PORT/in", False),
        ("postgresql://127.0.0.1, json://", "json://127.0.0.1:PORT/in", False),
        ("json://127.0.0.2, json://", "json://127.0.0.1:PORT/in", False),
    ],
)
def test_what_the_operator_names_with_its_host_is_sent_to_and_a_service_alone_names_none(
    named: str, address: str, is_sent: bool
) -> None:
    with answering(200) as (port, received):
        mine, text = policy(named.replace("PORT", str(port))), address.replace("PORT", str(port))
        if "127.1" not in text:
            assert (alert_delivery.send(text, "subject", "body", policy=mine) is None) == is_sent
            assert bool(received) == is_sent
        else:
            # Apprise finds no such host; if it did, it would be the named one.
            mine.ensure_public("json", ["127.1"], port)


def test_a_pattern_of_addresses_is_none_of_names() -> None:
    """Anyone can own a name such as 10.example.com and choose its addresses."""
    mine = policy("json://10.*, json://")
    with resolving("10.0.0.5") as _, noted_connections() as received:
        assert (
            alert_delivery.send("json://10.example.com/in", "subject", "body", policy=mine)
            is not None
            or received
        )
    assert [each[0] for each in received] == ["10.0.0.5"]
    with resolving("169.254.169.254"), noted_connections() as received:
        assert (
            alert_delivery.send("json://10.example.com/in", "subject", "body", policy=mine)
            == PRIVATE
        )
    assert received == []
    with pytest.raises(NotAllowed):
        policy("json://10.*").ensure_service("json", ["10.example.com"], 80)


def test_a_named_host_may_be_in_a_private_network_and_no_other_name_beside_it() -> None:
    mine = policy("json://hooks.example.com, json://")
    with resolving("10.0.0.5"), noted_connections() as received:
        assert (
            alert_delivery.send("json://hooks.example.com/in", "subject", "body", policy=mine)
            != PRIVATE
        )
        assert [each[0] for each in received] == ["10.0.0.5"]
        assert (
            alert_delivery.send("json://other.example.com/in", "subject", "body", policy=mine)
            == PRIVATE
        )
        assert len(received) == 1


@pytest.mark.parametrize(
    "written_as",
    ["http://127.0.0.1:PORT", "http://user:password@127.0.0.1:PORT/", "127.0.0.1:PORT"],
)
def test_a_proxy_of_the_operators_environment_is_gone_through(
    monkeypatch: pytest.MonkeyPatch, written_as: str
) -> None:
    with answering(200) as (port, received), answering(200) as (other, others):
        monkeypatch.setenv("http_proxy", written_as.replace("PORT", str(port)))
        monkeypatch.setenv("no_proxy", "direct.example.com")
        assert (
            alert_delivery.send("json://hooks.example.com/in", "subject", "body", policy=NOWHERE)
            is None
        )
        assert received == ["hooks.example.com"]
        # The proxy's host must not open another port of it.
        assert (
            alert_delivery.send(f"json://127.0.0.1:{other}/in", "subject", "body", policy=NOWHERE)
            == PRIVATE
        )
        assert others == []


def connect_by_name() -> None:
    with socket.socket() as near:
        near.settimeout(2)
        near.connect(("localhost", 9))


def send_by_name() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.sendto(b"x", ("localhost", 9))


def send_by_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))


def connect_to_a_file() -> None:
    with socket.socket(socket.AF_UNIX) as near:
        near.connect("/run/nothing.sock")


def look_up_one_and_connect_to_another() -> None:
    socket.getaddrinfo("8.8.8.8", 9)
    with socket.socket() as near:
        near.settimeout(2)
        near.connect(("127.0.0.1", 9))


@pytest.mark.parametrize(
    "way",
    [
        connect_by_name,
        send_by_name,
        send_by_address,
        connect_to_a_file,
        look_up_one_and_connect_to_another,
    ],
)
def test_no_way_of_sockets_leads_around_it(way: Callable[[], None]) -> None:
    refused: list[bool] = []

    def connect() -> None:
        with (
            only_to(lambda _host, _port: True, lambda _host, _port: False) as limit,
            pytest.raises(NotDialled),
        ):
            way()
        refused.append(limit.refused_private)

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join(30)
    assert refused == [True]


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_every_address_within_an_ipv6_one_is_judged_as_itself(address: Any) -> None:
    is_private = ip_addresses.is_private(address)
    if address.version == 4:
        number = int(address)
        within = [
            f"::ffff:{address}",
            f"64:ff9b::{address}",
            f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1",
        ]
        assert {ip_addresses.is_private(ip_address(each)) for each in within} == {is_private}
        assert (
            ip_addresses.ip_of(str(number))
            == ip_addresses.ip_of(hex(number))
            == ip_addresses.ip_of(f"[::ffff:{address}]")
            == address
        )
    assert ip_addresses.ip_of(f"[{address}]" if address.version == 6 else f"{address}.") == (
        (address.version == 6 and address.ipv4_mapped) or address
    )


def test_the_form_says_what_to_do_and_what_was_entered_before_is_not_sent_to_any_more(
    app: Flask, sandbox_server: Sandbox, tmp_path: Any
) -> None:
    """``app`` has an operator who allows the receiver; the other console has not."""
    adam = Person(app.test_client(), "adam@example.com")
    with answering(200) as (port, received):
        typed = {
            "name": "Here",
            "address": f"json://127.0.0.1:{port}/in",
            "sends": "new",
            "severity": "critical",
            "zone": "UTC",
        }
        assert adam.post("/alerts", page="/alerts/new", **typed).status_code == 303
        rule = max(each["id"] for each in adam.json("/alerts.json")["items"])
        services: Services = app.extensions["services"]
        strict = create_app(make_settings(sandbox_server.url, services.settings.dashboard_data))
        other = Person(strict.test_client(), "adam@example.com")
        assert (
            "DASHBOARD_PLACES" in other.client.get(other.post(f"/alerts/{rule}/test").location).text
        )
        refused = other.post("/alerts", page="/alerts/new", **typed)
        assert refused.status_code == 400
        assert "in a private network" in refused.text
        assert received == []
        adam.post(f"/alerts/{rule}/test")
        assert len(received) == 1
        # A warehouse in the company's own network is usual, and allowed.
        assert (
            other.post(
                "/accounts/1001/warehouse", address="postgresql://reader@127.0.0.1:9/data"
            ).status_code
            < 400
        )


def test_the_place_of_a_pattern_says_whether_it_names_a_host() -> None:
    names = {
        text: AllowedDestination.read(text).names_a_host
        for text in ("json://", "json://*", "json://*.*", "json://??", "json://*.example.com")
    }
    assert names == {
        "json://": False,
        "json://*": False,
        "json://*.*": False,
        "json://??": False,
        "json://*.example.com": True,
    }
