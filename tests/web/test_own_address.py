"""External addresses: from DASHBOARD_URL, else from the host and the trusted scheme."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache

from dashboard.app import create_app
from dashboard.cli.common import close_store
from dashboard.http.client_address import scheme_of
from dashboard.settings import SettingsError, read_settings
from dashboard.web.security import limiter
from tests.support.clock import Clock
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, run_provider
from tests.support.people import PASSWORD
from tests.support.sandbox import Sandbox
from tests.support.settings import GOOD, make_settings

ROOT = Path(__file__).parents[2]
HOST = "asked.example.com"
TABLE = "/accounts/1001/tables/10011900"
Make = Callable[..., Flask]


@pytest.fixture(scope="module")
def oidc() -> Iterator[Provider]:
    with run_provider(Provider()) as state:
        yield state


@pytest.fixture
def make(
    store: dict[str, str],
    sandbox: Sandbox,
    tmp_path: Path,
    compiled: FileSystemBytecodeCache,
    oidc: Provider,
    clock: Clock,
) -> Iterator[Make]:
    """Make a console with other settings."""
    made: list[Flask] = []

    def configure(**settings: Any) -> Flask:
        signing = {
            "dashboard_oidc_issuer": oidc.url,
            "dashboard_oidc_client_id": CLIENT_ID,
            "dashboard_oidc_client_secret": CLIENT_SECRET,
            "dashboard_oidc_roles": "support=operator",
        }
        app = create_app(
            make_settings(sandbox.url, tmp_path, **store, **signing, **settings), clock=clock
        )
        app.jinja_env.bytecode_cache = compiled
        limiter.enabled = False
        made.append(app)
        return app

    yield configure
    for each in made:
        close_store(each)


def token_on(client: FlaskClient, path: str, **more: Any) -> str:
    found = BeautifulSoup(client.get(path, **more).text, "html.parser").select_one(
        "input[name=csrf_token]"
    )
    assert found is not None
    return str(found["value"])


def sign_in(app: Flask, root: str, **more: Any) -> FlaskClient:
    """Return an administrator's browser. ``more``: for every request."""
    client = app.test_client()
    fields = {
        "email": "adam@example.com",
        "password": PASSWORD,
        "csrf_token": token_on(client, f"{root}/login", **more),
    }
    assert client.post(f"{root}/login", data=fields, **more).status_code == 302
    return client


def external_addresses(app: Flask, root: str, **more: Any) -> dict[str, str]:
    """Return all addresses with the console's scheme and host, by their place, without paths."""
    client = sign_in(app, root, **more)
    links = re.findall(r"https?://\S+", client.get(f"{root}/since.txt?hours=24", **more).text)
    assert links
    way = app.test_client().get(f"{root}/login/provider", **more)
    found = {
        "report": links[0],
        "access tokens": re.findall(
            r"https?://\S+/connections\.json", client.get(f"{root}/me", **more).text
        )[0],
        "webhooks": re.findall(
            r"https?://\S+/webhooks/peliqan", client.get(f"{root}/webhooks", **more).text
        )[0],
        "provider": parse_qs(urlsplit(way.location).query)["redirect_uri"][0],
        "redirect by the router": client.get(f"{root}/accounts//1001", **more).location,
    }
    frame = client.get(f"{root}/embed/frame", **more).headers["Content-Security-Policy"]
    found["the frame's policy"] = re.findall(r"script-src (\S+)", frame)[0] + root
    ends = (
        "",
        "/connections.json",
        "/webhooks/peliqan",
        "/login/provider/back",
        "/accounts/1001",
        "",
    )
    for (name, url), end in zip(found.items(), ends, strict=True):
        found[name] = url.removesuffix(end) if end else url
    found["report"] = re.sub(r"/(causes|accounts|connections|since)\b.*", "", found["report"])
    return found


CASES = [
    # DASHBOARD_URL, DASHBOARD_PROXIES, X-Forwarded-Proto, scheme of the connection, expected start
    ("", 0, "", "http", f"http://{HOST}"),
    ("", 0, "https", "http", f"http://{HOST}"),
    ("", 0, "", "https", f"https://{HOST}"),
    ("", 1, "", "http", f"http://{HOST}"),
    ("", 1, "https", "http", f"https://{HOST}"),
    ("", 1, "http", "https", f"http://{HOST}"),
    ("", 1, "https, http", "http", f"http://{HOST}"),
    ("", 2, "https, http", "http", f"https://{HOST}"),
    ("", 2, "https", "http", f"http://{HOST}"),
    ("", 2, "http,https,http", "http", f"https://{HOST}"),
    ("https://console.example.com", 0, "", "http", "https://console.example.com"),
    ("https://console.example.com", 1, "http", "http", "https://console.example.com"),
    ("https://console.example.com:8443/", 0, "", "http", "https://console.example.com:8443"),
    ("https://example.com/console", 0, "", "http", "https://example.com/console"),
    (
        "https://example.com/tools/console/",
        2,
        "http, http",
        "http",
        "https://example.com/tools/console",
    ),
    ("http://127.0.0.1:8900", 1, "https", "http", "http://127.0.0.1:8900"),
]


@pytest.mark.parametrize(("url", "proxies", "protocols", "connection", "expected"), CASES)
def test_every_external_address_begins_alike(
    make: Make, url: str, proxies: int, protocols: str, connection: str, expected: str
) -> None:
    app = make(dashboard_url=url or None, dashboard_proxies=proxies)
    root = urlsplit(expected).path
    # With DASHBOARD_URL, requested as by a proxy that does not pass the Host header on.
    host = "127.0.0.1:8900" if url else HOST
    more = {
        "base_url": f"{connection}://{host}",
        "headers": {"X-Forwarded-Proto": protocols} if protocols else {},
    }
    found = external_addresses(app, root, **more)
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize(
    ("forwarded", "proxies", "expected"),
    [
        ("https", 0, "http"),
        ("", 1, "http"),
        (" HTTPS ", 1, "https"),
        ("https,", 1, "http"),
        ("ftp", 1, "http"),
        ("javascript", 1, "http"),
        ('"https"', 1, "http"),
        ("https, unknown", 2, "https"),
        ("unknown, https", 2, "https"),
        ("unknown, unknown", 2, "http"),
        ("https", 3, "http"),
        ("https, http, http, http", 3, "http"),
    ],
)
def test_the_scheme_is_that_of_the_first_trusted_entry_that_names_one(
    forwarded: str, proxies: int, expected: str
) -> None:
    assert scheme_of("http", forwarded, proxies) == expected


def test_nothing_else_makes_an_address_from_what_was_asked_for() -> None:
    """Only the frame's policy names the requested host, which is no link."""
    names = re.compile(
        r"\b(host_url|url_root|base_url|SCRIPT_NAME|wsgi\.url_scheme)\b|\brequest\.(url|full_path|scheme)\b"
    )
    found = {
        (path.name, match[0])
        for path in [*(ROOT / "dashboard").rglob("*.py"), *(ROOT / "templates").rglob("*.*")]
        if path.suffix in {".py", ".html", ".txt", ".md"}
        and not {"http", "peliqan", "sandbox"} & {*path.parts}
        for match in names.finditer(path.read_text())
    }
    assert found == {
        ("views.py", "host_url"),
        ("page_after_sign_in.py", "request.full_path"),
        ("app.py", "SCRIPT_NAME"),
        ("settings.py", "SCRIPT_NAME"),
    }


def test_no_script_of_a_page_writes_an_address_or_a_cookies_path_by_hand() -> None:
    for path in (ROOT / "static").glob("*.js"):
        code = re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.MULTILINE)
        assert re.findall(r"""["'`=]/(?=[a-z"'`;])[^"'`;]*""", code.replace('"/"', "")) == [], (
            path.name
        )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://example.com", "https://example.com"),
        ("https://example.com/", "https://example.com"),
        ("https://EXAMPLE.com:443/Console/", "https://example.com/Console"),
        ("https://example.com/a/b.c/d-e_f~g", "https://example.com/a/b.c/d-e_f~g"),
        ("http://localhost:8900/console", "http://localhost:8900/console"),
        ("https://[2001:db8::1]:8443/console", "https://[2001:db8::1]:8443/console"),
    ],
)
def test_the_consoles_own_address_has_one_form(written: str, read: str) -> None:
    settings = read_settings({**GOOD, "DASHBOARD_URL": written}, Path("/nonexistent"))
    assert (settings.dashboard_url, settings.path) == (read, urlsplit(read).path)


@pytest.mark.parametrize(
    "written",
    [
        "https://example.com/a//b",
        "https://example.com//a",
        "https://example.com/../a",
        "https://example.com/a/..",
        "https://example.com/./a",
        "https://example.com/a?b",
        "https://example.com/?",
        "https://example.com/a#b",
        "https://example.com/#",
        "https://user@example.com/a",
        "https://user:secret@example.com",
        "https://example.com/a%2fb",
        "https://example.com/%2e%2e/b",
        "https://example.com/a b",
        "https://example.com/a;b",
        "https://example.com/\u00e9",
        "http://example.com/console",
        "/console",
        "example.com/console",
    ],
)
def test_an_address_that_others_would_read_otherwise_is_refused(written: str) -> None:
    with pytest.raises(SettingsError, match="DASHBOARD_URL: must ") as caught:
        read_settings({**GOOD, "DASHBOARD_URL": written}, Path("/nonexistent"))
    assert "secret@" not in str(caught.value)


def test_the_widgets_host_has_no_path_of_its_own_and_the_frame_is_below_the_consoles(
    make: Make,
) -> None:
    with pytest.raises(SettingsError, match="DASHBOARD_WIDGET_ORIGIN: must have no path"):
        read_settings(
            {**GOOD, "DASHBOARD_WIDGET_ORIGIN": "https://widget.example.net/console"},
            Path("/nonexistent"),
        )
    app = make(
        dashboard_url="https://example.com/console",
        dashboard_widget_origin="https://widget.example.net",
    )
    page = sign_in(app, "/console").get("/console/embed?external_id=x")
    assert 'data-frame-url="https://widget.example.net/console/embed/frame"' in page.text
    assert "frame-src https://widget.example.net" in page.headers["Content-Security-Policy"]
    host = {"Host": "widget.example.net"}
    frame = app.test_client().get("/console/embed/frame", headers=host)
    assert (frame.status_code, "frame-ancestors *" in frame.headers["Content-Security-Policy"]) == (
        200,
        True,
    )
    script = re.findall(r'src="(/[^"]*)"', frame.text)[0]
    assert app.test_client().get(script, headers=host).status_code == 200
    assert app.test_client().get("/console/login", headers=host).status_code == 404


@pytest.mark.parametrize("root", ["", "/console"])
def test_an_address_that_one_has_to_sign_in_for_is_where_one_lands(make: Make, root: str) -> None:
    app = make(dashboard_url=f"https://example.com{root}", dashboard_proxies=1)
    # A proxy that does not pass the Host header on, and one that does.
    for host in ("127.0.0.1:8900", "example.com"):
        client, more = app.test_client(), {"base_url": f"http://{host}"}
        deep = f"{root}/connections?severity=error"
        response = client.get(deep, **more)
        assert parse_qs(urlsplit(response.location).query)["next"] == [deep]
        page = BeautifulSoup(client.get(response.location, **more).text, "html.parser")
        fields = {
            str(each["name"]): str(each.get("value", ""))
            for each in page.select("form input[name]")
        }
        fields |= {"email": "viv@example.com", "password": PASSWORD}
        assert (
            client.post(response.location.partition("?")[0], data=fields, **more).location == deep
        )
        headers = {"HX-Request": "true", "HX-Current-URL": f"https://example.com{deep}"}
        sent = (
            app.test_client()
            .get(f"{root}/refresh-status", headers=headers, **more)
            .headers["HX-Redirect"]
        )
        assert parse_qs(urlsplit(sent).query)["next"] == [deep]


@pytest.mark.parametrize("root", ["", "/console"])
def test_a_form_that_comes_too_late_leads_back_to_its_page(
    make: Make, clock: Clock, root: str
) -> None:
    app = make(dashboard_url=f"https://example.com{root}")
    client = sign_in(app, root)
    fields, headers = (
        {"csrf_token": token_on(client, f"{root}/me")},
        {"Referer": f"https://example.com{root}/me?x=1"},
    )
    clock.move(hours=2)
    response = client.post(f"{root}/me/tokens", data=fields, headers=headers)
    assert parse_qs(urlsplit(response.location).query)["next"] == [f"{root}/me?x=1"]


@pytest.mark.parametrize(
    "target",
    [
        "/other",
        "/console/../other",
        "/console/%2e%2e/other",
        "/consoles",
        "/console",
        "//console/x",
    ],
)
def test_signing_in_below_a_path_leads_to_no_other_application(make: Make, target: str) -> None:
    app = make(dashboard_url="https://example.com/console")
    client = sign_in(app, "/console")
    assert client.get("/console/login", query_string={"next": target}).location == "/console/"


def test_trying_again_what_failed_stays_below_the_path(make: Make, sandbox: Sandbox) -> None:
    client = sign_in(
        make(dashboard_url="https://example.com/console", dashboard_api_timeout=1), "/console"
    )
    sandbox.fault("rows", status=500)
    for headers in ({}, {"HX-Request": "true"}):
        response = client.get(f"/console{TABLE}?page=1", headers=headers)
        assert response.status_code >= 500
        again = [
            link["href"]
            for link in BeautifulSoup(response.text, "html.parser").find_all("a")
            if "Try again" in link.text
        ]
        assert again == [f"/console{TABLE}?page=1"]


def test_two_consoles_on_one_host_have_their_own_cookies(make: Make) -> None:
    """A ``__Host-`` cookie has no path, so the name differs below a path."""
    found = {}
    for root in ("", "/console"):
        app = make(dashboard_url=f"https://example.com{root}", dashboard_insecure_cookies=False)
        client = app.test_client()
        more = {"base_url": "https://example.com"}
        fields = {
            "email": "adam@example.com",
            "password": PASSWORD,
            "csrf_token": token_on(client, f"{root}/login", **more),
        }
        response = client.post(f"{root}/login", data=fields, **more)
        for line in response.headers.getlist("Set-Cookie"):
            assert "; Secure" in line
            found[line.partition("=")[0]] = re.findall(r"; Path=([^;]+)", line)[0]
        # The name that other applications with Flask-Login use.
        client.set_cookie("remember_token", "theirs", domain="example.com")
        fields = {"csrf_token": token_on(client, f"{root}/me", **more)}
        response = client.post(f"{root}/logout", data=fields, **more)
        assert not any("remember_token" in line for line in response.headers.getlist("Set-Cookie"))
    assert found == {
        "__Host-console_session": "/",
        "__Host-console_browser": "/",
        "__Secure-console_session": "/console",
        "__Secure-console_browser": "/console",
    }


def test_signing_out_below_a_path_ends_the_session(make: Make) -> None:
    client = sign_in(make(dashboard_url="https://example.com/console"), "/console")
    assert client.get("/console/accounts").status_code == 200
    response = client.post("/console/logout", data={"csrf_token": token_on(client, "/console/me")})
    assert response.location == "/console/login"
    assert client.get("/console/accounts").status_code == 302
