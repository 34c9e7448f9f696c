"""The host that gets an alert is the host that was checked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import apprise
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.alerts import sending as alert_delivery
from dashboard.core.connection_guard import NotDialled, only_to
from dashboard.core.egress import AllowedDestination, EgressPolicy, NotAllowed

REFUSED = "its operator says where it may"
TOKEN = "3ccdd113474722377935511fc85d3dd4"


def policy(text: str) -> EgressPolicy:
    return EgressPolicy(AllowedDestination.read(each.strip()) for each in text.split(","))


@contextmanager
def answering(status: int, **headers: str) -> Iterator[tuple[int, list[str]]]:
    """An HTTP server with one response: its port, and the ``Host`` headers of its clients."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(str(self.headers["Host"]))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        do_GET = do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    yield server.server_port, received
    server.shutdown()
    server.server_close()
    thread.join(5)


SCHEMES = {
    "mmost": f"mmost://hooks.example.com/{TOKEN}",
    "mmosts": f"mmosts://hooks.example.com/{TOKEN}",
    "rocket": "rocket://user:password@hooks.example.com/#channel",
    "gotify": "gotify://hooks.example.com/token123456789012",
    "mastodon": "mastodon://token@hooks.example.com",
    "json": "json://hooks.example.com/in",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_service_is_named_as_its_addresses_name_it(scheme: str) -> None:
    assert f"({scheme}://)" in alert_delivery.check_address(SCHEMES[scheme], policy(f"{scheme}://"))
    alert_delivery.check_address(SCHEMES[scheme], policy(f"{scheme}://*.example.com"))
    for other in (f"{scheme}://*.example.org", "http://", "https://", "slack://"):
        with pytest.raises(NotAllowed, match=REFUSED):
            alert_delivery.check_address(SCHEMES[scheme], policy(other))


def test_every_service_of_apprises_has_the_scheme_that_its_address_begins_with() -> None:
    found = 0
    for each in apprise.Apprise().details()["schemas"]:
        for scheme in (*(each["protocols"] or ()), *(each["secure_protocols"] or ())):
            server, read = alert_delivery._server(
                f"{scheme}://user:password@hooks.example.com/{TOKEN}/{TOKEN}"
            )
            if server is not None:
                found += 1
                assert read == scheme
                assert server.redirects is False
    assert found > 50


def test_no_address_has_redirects_followed() -> None:
    with (
        answering(200) as (elsewhere, received),
        answering(307, Location=f"http://127.0.0.1:{elsewhere}/in") as (port, first),
    ):
        for query in ("", "?redirect=yes", "?redirect=True&redirect=yes"):
            sent = alert_delivery.send(
                f"json://127.0.0.1:{port}/in{query}",
                "subject",
                "body",
                policy=policy("json://127.0.0.1"),
            )
            assert sent is not None
    assert len(first) == 3
    assert received == []


def test_a_plug_in_that_dials_another_host_than_its_address_names_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(200) as (port, received):
        mine = policy("ntfy://localhost")
        # Sent to the service's own host; the address is the name of a topic.
        monkeypatch.setattr(
            "apprise.plugins.ntfy.NotifyNtfy.cloud_notify_url", f"http://127.0.0.1:{port}"
        )
        address = "ntfy://localhost?mode=cloud"
        assert (
            alert_delivery.send(
                address, "subject", "body", policy=policy("ntfy://localhost, ntfy://127.0.0.1")
            )
            is None
        )
        assert len(received) == 1
        assert REFUSED in str(alert_delivery.send(address, "subject", "body", policy=mine))
        assert len(received) == 1
        assert (
            alert_delivery.send(
                f"ntfy://localhost:{port}/topic?mode=private", "subject", "body", policy=mine
            )
            is None
        )


def test_a_port_that_the_operator_names_is_the_one_that_is_dialled() -> None:
    with answering(200) as (port, received):
        address = f"json://127.0.0.1:{port}/in"
        assert (
            alert_delivery.send(
                address, "subject", "body", policy=policy(f"json://127.0.0.1:{port}")
            )
            is None
        )
        assert REFUSED in str(
            alert_delivery.send(address, "subject", "body", policy=policy("json://127.0.0.1:1"))
        )
    assert len(received) == 1


def test_a_limit_holds_for_its_thread_and_while_it_lasts() -> None:
    with answering(200) as (port, received):
        with only_to(
            lambda host, _port: host == "127.0.0.1", lambda host, _port: host == "127.0.0.1"
        ) as limit:
            requests.get(f"http://127.0.0.1:{port}/", timeout=30)
            assert not limit.refused
            with pytest.raises(requests.ConnectionError):
                requests.get(f"http://localhost:{port}/", timeout=30)
            assert limit.refused
            thread = threading.Thread(
                target=requests.get, args=(f"http://localhost:{port}/",), kwargs={"timeout": 5}
            )
            thread.start()
            thread.join(30)
        requests.get(f"http://localhost:{port}/", timeout=30)
    assert received == [f"127.0.0.1:{port}", f"localhost:{port}", f"localhost:{port}"]
    assert issubclass(NotDialled, OSError)


ODD = st.lists(
    st.sampled_from([
        "json://", "jsons://", "form://", "ntfy://", "gotify://", "matrix://", "http://",
        "127.0.0.1", "localhost", "@", ":", "/", "//",
        "\\", "#", "?", "&", "%40", "%2F", "%23", "user", "PORT", ":PORT", "[::1]", "redirect=yes",
        "mode=cloud", "to=localhost",
        "host=localhost", "smtp=localhost", " ", "127.1", "127.0.0.1.", "token123456789012",
    ]),
    min_size=1,
    max_size=10,
).map("".join)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rest=ODD, scheme=st.sampled_from(["json", "form", "gotify", "ntfy"]))
def test_whatever_an_address_looks_like_only_the_host_that_is_allowed_is_dialled(
    rest: str, scheme: str
) -> None:
    with answering(200) as (port, received):
        mine = policy(f"{scheme}://127.0.0.1")
        address = f"{scheme}://{rest}".replace("PORT", str(port))
        with suppress(alert_delivery.BadAddress, NotAllowed):
            alert_delivery.check_address(address, mine)
        alert_delivery.send(address, "subject", "body", policy=mine)
    assert all(each.split(":")[0] == "127.0.0.1" for each in received)
