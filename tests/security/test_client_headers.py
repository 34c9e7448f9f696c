"""Clients' headers change nothing except as ``DASHBOARD_PROXIES`` says, for both commands."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from flask import Flask

from dashboard.app import create_app
from dashboard.http.client_address import canonical, client_of
from tests.security.downloads import sign_in
from tests.security.served_console import COMMANDS, ROOT, ServedConsole, serving, status_of
from tests.security.test_sign_in import attempt
from tests.support.clock import Clock
from tests.support.databases import free_port
from tests.support.nginx import Nginx
from tests.support.processes import Processes, answering, make_environ
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

VALUES = {
    "SCRIPT_NAME": (
        "/webhooks/peliqan",
        "/console",
        "/",
        "//evil.example",
        "/static",
        "/login",
        "x",
    ),
    "PATH_INFO": ("/healthz", "/accounts"),
    "REMOTE_USER": ("adam@example.com",),
    "REMOTE_ADDR": ("192.0.2.66", "127.0.0.1"),
    "X-Forwarded-Proto": ("https", "http", "ftp", "javascript"),
    "X-Forwarded-Protocol": ("ssl", "https"),
    "X-Forwarded-Ssl": ("on", "off"),
    "X-Forwarded-Scheme": ("https",),
    "X-Url-Scheme": ("https",),
    "Front-End-Https": ("on",),
    "X-Forwarded-Host": ("evil.example", "evil.example:99"),
    "X-Forwarded-Server": ("evil.example",),
    "X-Host": ("evil.example",),
    "X-Forwarded-Port": ("99",),
    "X-Forwarded-Prefix": ("/console", "/webhooks/peliqan", "//evil.example"),
    "X-Forwarded-Path": ("/console",),
    "X-Script-Name": ("/console",),
    "X-Original-URL": ("/accounts", "/healthz"),
    "X-Rewrite-URL": ("/accounts", "/healthz"),
    "X-Forwarded-User": ("adam@example.com",),
    "X-Remote-User": ("adam@example.com",),
    "X-HTTP-Method-Override": ("DELETE", "POST"),
    "X-HTTP-Method": ("DELETE",),
    "X-Method-Override": ("POST",),
    "Forwarded": ('for="192.0.2.66";proto=https;host=evil.example',),
    "X-Real-IP": ("192.0.2.66",),
    "X-Client-IP": ("192.0.2.66",),
    "X-Forwarded-For": ("192.0.2.66", "192.0.2.66, 127.0.0.1", "unknown", '"', ",,,", "::1"),
    "True-Client-IP": ("192.0.2.66",),
    "CF-Connecting-IP": ("192.0.2.66",),
    "Via": ("1.1 evil.example",),
    "Proxy": ("http://evil.example",),
    "Proxy-Protocol": ("TCP4",),
    "PROXY_PROTOCOL": ("TCP4",),
}
# The same names as server variables: with an underscore, and in CGI's form.
HEADERS = [
    *((name, value) for name, values in VALUES.items() for value in values),
    *(
        (name.replace("-", "_"), value)
        for name, values in VALUES.items()
        for value in values
        if "-" in name
    ),
    *((f"HTTP_{name.upper().replace('-', '_')}", values[0]) for name, values in VALUES.items()),
    ("wsgi.url_scheme", "https"),
    ("HTTP_HOST", "evil.example"),
]
PATHS = ("/login?next=/accounts", "/accounts", "/healthz", "/webhooks/peliqan")
# Paths for a signed-in user: links with scheme and host, and the addresses of a page.
OWN_PATHS = ("/since.txt?hours=24",)
BELIEVED = ("X-Forwarded-Proto", "https")
# The parts that differ in every response.
CHANGING = re.compile(
    rb"(?m)^(?:Date|X-Request-ID|Content-Length|Set-Cookie: [^=]+=)[^\r]*"
    rb"|(?<=\")[\w.-]{60,}(?=\")|\d\d:\d\d(:\d\d)?|[0-9a-f]{16}"
    rb"|data-lasts=\"\d+\"|\b\d+ (s|min|h)\b"
)

ADDRESSES = re.compile(rb"https?://[^\s\"<]+|(?:href|src|action)=\"[^\"]*\"")


@dataclass(frozen=True)
class Served:
    """A console behind this many proxies, an administrator's cookie, and its log."""

    console: ServedConsole
    proxies: int
    cookie: str
    log: Path

    def request(
        self, path: str, *headers: tuple[str, str], own: bool = False, method: str = "GET"
    ) -> bytes:
        """Return the response without the parts that always differ."""
        lines = [f"{method} {path} HTTP/1.1", "Host: console.example", "Connection: close"]
        lines += [f"Cookie: {self.cookie}"] if own else []
        lines += [f"{name}: {value}" for name, value in headers]
        response = self.console.request("\r\n".join([*lines, "", ""]).encode())
        # A user's own page shows ages; only its links must be equal.
        return (
            response[:12] + b"\n".join(ADDRESSES.findall(response))
            if own
            else CHANGING.sub(b"", response)
        )


# Both commands and all numbers of proxies; the commands share settings, so not all combinations.
CONSOLES = (
    ("dashboard serve", 0),
    ("dashboard serve", 1),
    ("gunicorn wsgi:app", 0),
    ("gunicorn wsgi:app", 2),
)


@pytest.fixture(scope="module", params=CONSOLES, ids=lambda each: "-".join(map(str, each)))
def served(
    request: pytest.FixtureRequest,
    filled_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
    sandbox_server: Sandbox,
) -> Iterator[Served]:
    console, proxies = request.param
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(filled_store / "console.db", folder / "console.db")
    log = folder / f"log {COMMANDS[console][0]} {proxies}"
    settings = {
        "peliqan_webhook_secret": "secret",
        "dashboard_proxies": proxies,
        "dashboard_log_level": "info",
    }
    with (
        log.open("wb") as file,
        serving(console, sandbox_server.url, folder, stderr=file, **settings) as found,
    ):
        yield Served(found, proxies, sign_in(found.url), log)


def test_no_header_of_a_client_changes_an_answer(served: Served) -> None:
    plain = {
        (path, own): served.request(path, own=own)
        for paths, own in ((PATHS, False), (OWN_PATHS, True))
        for path in paths
    }
    assert plain == {(path, own): served.request(path, own=own) for path, own in plain}, (
        "not the same twice"
    )
    assert {status_of(response) for (path, own), response in plain.items() if own} == {200}
    assert b"http://console.example/" in plain["/since.txt?hours=24", True]
    changed = [
        (path, header)
        for header in HEADERS
        for (path, own), response in plain.items()
        if served.request(path, header, own=own) != response
    ]
    # The client is in the proxy's place, so the header for the scheme counts, and links have it.
    assert changed == ([(OWN_PATHS[0], BELIEVED)] if served.proxies == 1 else [])
    if served.proxies == 1:
        assert b"https://console.example/" in served.request(OWN_PATHS[0], BELIEVED, own=True)
    assert not re.search(rb"192\.0\.2\.66|evil\.example", served.log.read_bytes())


def test_no_header_makes_another_method_of_a_request(served: Served) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"):
        assert status_of(served.request("/healthz", (name, "DELETE"))) == 200
        assert status_of(served.request("/healthz", (name, "GET"), method="DELETE")) == 405


def attempts(url: str, number: int, trusted: list[str]) -> set[int]:
    """Return the statuses of sign-ins with other addresses before those of trusted proxies."""
    client, found = requests.Session(), set[int]()
    token = (
        client.get(f"{url}/login", timeout=20)
        .text.partition('name="csrf_token" value="')[2]
        .partition('"')[0]
    )
    for n in range(number):
        forwarded = ", ".join([f'192.0.2.{n}, "198.51.100.{n}', *trusted])
        form = {"csrf_token": token, "email": f"{n}@x{len(trusted)}.example.com", "password": ""}
        found.add(
            client.post(
                f"{url}/login", data=form, headers={"X-Forwarded-For": forwarded}, timeout=20
            ).status_code
        )
    return found


def test_only_as_many_entries_count_as_there_are_proxies(served: Served) -> None:
    """Ten sign-ins a minute and address: more addresses in the header give no more attempts."""
    chain, url = [f"203.0.113.{n}" for n in range(1, served.proxies + 1)], served.console.url
    assert 429 not in attempts(url, 8, chain)
    assert 429 in attempts(url, 8, chain)
    if served.proxies:
        assert 429 not in attempts(url, 8, ["203.0.113.99", *chain[1:]])


def test_behind_the_nginx_of_the_deployment_the_address_is_that_of_the_connection(
    tmp_path: Path, filled_store: Path, sandbox_server: Sandbox
) -> None:
    shutil.copy(filled_store / "console.db", tmp_path / "console.db")
    (tmp_path / "nginx").mkdir()
    with serving("dashboard serve", sandbox_server.url, tmp_path, dashboard_proxies=1) as console:
        nginx = Nginx(tmp_path / "nginx", console.url)
        try:
            assert 429 in attempts(nginx.deployed, 12, [])
            # Another address has its own attempts: nginx's client was counted, not nginx.
            assert 429 not in attempts(console.url, 8, ["203.0.113.5"])
        finally:
            nginx.stop()


@pytest.mark.parametrize(
    "line",
    [
        "GET http://evil.example/healthz HTTP/1.1",
        "GET //evil.example/..//login HTTP/1.1",
        "GET //login HTTP/1.1",
        "GET ///login HTTP/1.1",
        "GET /webhooks/peliqan/../../login HTTP/1.1",
        "GET /webhooks/peliqan/%2e%2e/%2e%2e/login HTTP/1.1",
        "GET /webhooks/peliqan/..%2f..%2flogin HTTP/1.1",
        "GET /webhooks/peliqan;/../../login HTTP/1.1",
        "GET /webhooks%2fpeliqan HTTP/1.1",
        "GET /webhooks/peliqan%00/login HTTP/1.1",
        "GET /webhooks/peliqan%3f/../../login HTTP/1.1",
        "GET /webhooks/peliqan\\..\\..\\login HTTP/1.1",
        "GET /LOGIN HTTP/1.1",
    ],
)
def test_a_path_is_read_as_a_proxy_reads_it_or_leads_nowhere(served: Served, line: str) -> None:
    """A proxy that allows only /webhooks/ must not open another page through an odd path."""
    _, path, _ = line.split()
    response = served.request(path)
    assert b"evil.example/login" not in response
    assert b'name="password"' not in response
    assert status_of(response) == (
        200 if path.endswith("example/healthz") else 405 if path == "/webhooks%2fpeliqan" else 404
    )


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:50123", "192.0.2.1"),
        ('"192.0.2.1:50123"', "192.0.2.1"),
        ("[192.0.2.1]:80", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:DB8::1]:50123", "2001:db8::1"),
        ('"[2001:db8::1]:50123"', "2001:db8::1"),
        ("2001:db8::1:50123", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        *(
            (text, None)
            for text in (
                "",
                " ",
                "unknown",
                "_hidden",
                "UNKNOWN:80",
                '"',
                "localhost",
                "192.0.2",
                "192.0.2.1.5",
            )
        ),
        *(
            (text, None)
            for text in (
                "192.0.2.1:",
                "192.0.2.1:port",
                "192.0.2.1:123456",
                "[192.0.2.1",
                "[2001:db8::1]x",
                "[]:80",
            )
        ),
        *(
            (text, None)
            for text in (
                "192.0.02.1",
                "3221225985",
                "0xc0000201",
                "١٩٢.0.2.1",
                "192.0.2.1:٨٠",
                "192.0.2.1 192.0.2.2",
            )
        ),
    ],
)
def test_an_address_has_one_form(text: str, one: str | None) -> None:
    assert canonical(text) == one
    peer = "203.0.113.1"
    assert client_of(peer, text, 0) == peer
    assert client_of(peer, f'1.2.3.4, "x, {text}', 1) == (one or peer)
    assert client_of(peer, f"1.2.3.4, {text}, 198.51.100.2:443", 2) == (one or "198.51.100.2")
    assert client_of(peer, f"{text}", 2) == peer
    assert client_of(f"::ffff:{peer}", "", 1) == peer


FORMS = [
    "192.0.2.1",
    "192.0.2.1:{n}",
    '"192.0.2.1:{n}"',
    "::ffff:192.0.2.1",
    "::FFFF:C000:0201",
    "[::ffff:c000:201]:{n}",
]
OTHERS = ["unknown", "", "_x{n}", '"{n}', "192.0.2.1.{n}", "x{n}.example"]


@pytest.mark.usefixtures("rate_limited")
@pytest.mark.parametrize("forms", [FORMS, OTHERS], ids=["one address", "no address"])
def test_all_forms_of_an_address_and_all_that_is_none_have_one_amount(
    sandbox_server: Sandbox, folder: Path, app: Flask, clock: Clock, forms: list[str]
) -> None:
    behind = create_app(make_settings(sandbox_server.url, folder, dashboard_proxies=1), clock=clock)
    found = [
        attempt(
            behind.test_client(),
            f"p{n}@forms.example.com",
            address="10.0.0.1",
            **{"X-Forwarded-For": forms[n % len(forms)].format(n=1000 + n)},
        ).status_code
        for n in range(12)
    ]
    assert found == [403] * 10 + [429] * 2


def test_gunicorn_without_the_consoles_settings_says_so_and_takes_no_path_from_a_client(
    tmp_path: Path, filled_store: Path, sandbox_server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gunicorn reads gunicorn.conf.py only from the working directory."""
    shutil.copy(filled_store / "console.db", tmp_path / "console.db")
    monkeypatch.chdir(tmp_path)
    processes, port = (
        Processes({**make_environ(sandbox_server.url, tmp_path), "PYTHONPATH": str(ROOT)}),
        free_port(),
    )
    try:
        with (tmp_path / "log").open("ab") as log:
            processes.start(
                "wsgi:app",
                f"--bind=127.0.0.1:{port}",
                "--no-control-socket",
                module="gunicorn",
                stderr=log,
            )
        url = answering(f"http://127.0.0.1:{port}", "/healthz")
        assert "gunicorn -c python:dashboard.http.conf wsgi:app" in (tmp_path / "log").read_text()
        for path, root in (
            ("/webhooks/peliqan/login", "/webhooks/peliqan"),
            ("/static/login", "/static"),
            ("/x/healthz", "/x"),
        ):
            response = requests.get(url + path, headers={"SCRIPT_NAME": root}, timeout=10)
            assert (response.status_code, "SCRIPT_NAME" in response.text) == (400, True)
        # The router's own redirect has scheme and host.
        headers = {"X-Forwarded-Proto": "https"}
        moved = requests.get(
            f"{url}/accounts//1001", headers=headers, allow_redirects=False, timeout=10
        )
        assert moved.headers["Location"] == f"{url}/accounts/1001"
    finally:
        processes.end_all()


OUTSIDE = (
    "/",
    "/accounts",
    "/consoles/login",
    "/console/../login",
    "//console/login",
    "/CONSOLE/login",
    "/webhooks/peliqan",
)


@pytest.mark.parametrize("way", COMMANDS)
def test_below_a_path_no_header_and_no_variable_leads_out_of_it(
    tmp_path: Path, filled_store: Path, sandbox_server: Sandbox, way: str
) -> None:
    shutil.copy(filled_store / "console.db", tmp_path / "console.db")
    # gunicorn takes the path's prefix from SCRIPT_NAME in the environment.
    settings = {
        "dashboard_url": "https://console.example/console",
        "script_name": "/elsewhere",
        "dashboard_proxies": 1,
    }
    with serving(way, sandbox_server.url, tmp_path, **settings) as console:
        below = Served(console, 1, sign_in(f"{console.url}/console"), tmp_path)
        page = below.request("/console/accounts", own=True)
        assert page.startswith(b"HTTP/1.1 200")
        paths = re.findall(rb'="(/[^"]*)"', page)
        assert len(paths) > 50
        assert [path for path in paths if not path.startswith(b"/console/")] == []
        assert b"\r\nLocation: /console/login?next=/console/accounts\r\n" in below.request(
            "/console/accounts"
        )
        assert b"\r\nLocation: /console/?x=1\r\n" in below.request("/console?x=1")
        outside = below.request("/login")
        assert {status_of(outside), *(status_of(below.request(path)) for path in OUTSIDE)} == {404}
        for header in (
            ("SCRIPT_NAME", ""),
            ("SCRIPT_NAME", "/"),
            ("SCRIPT_NAME", "/login"),
            ("X-Forwarded-Prefix", "/"),
        ):
            assert below.request("/login", header) == outside
            assert below.request("/console/accounts", header, own=True) == page
        assert [
            status_of(below.request(f"{root}{probe}"))
            for root in ("", "/console")
            for probe in ("/healthz", "/readyz")
        ] == [200] * 4
