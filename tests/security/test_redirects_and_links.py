"""Addresses that people or the console are sent to: redirects, hosts, links, frames."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.actions.service import ActionRequest
from dashboard.app import create_app
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.customer_links import service as customer_links
from dashboard.pulls.models import PullSchedule
from dashboard.settings import SettingsError, read_settings
from dashboard.web.page_after_sign_in import safe_next
from dashboard.web.security import PROBES
from tests.customer_links.test_service import stored_connection
from tests.security.route_requests import RouteRequests, send_request
from tests.support.people import PASSWORD, Person
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

HERE = "https://console.example.com"
ELSEWHERE = [
    "https://evil.example/", "//evil.example", "///evil.example", "////evil.example",
    "/\\evil.example", "\\\\evil.example",
    "/\t/evil.example", "/%09/evil.example", "/ /evil.example", "\t//evil.example",
    " //evil.example", "/\n/evil.example",
    "https:evil.example", "https:/evil.example", "http:evil.example", "evil.example",
    "javascript:alert(1)", "JavaScript:alert(1)",
    "data:text/html,x", "/\u2028/evil.example", "\u2215\u2215evil.example", "/\u00a0/evil.example",
    "//[", "http://[", "//evil.example:99999999",
    "/..//evil.example", "/./\\evil.example", "/;//evil.example", "//evil.example/%2f..",
    "https://localhost@evil.example/", "", "?next=//evil.example",
]  # fmt: skip


@pytest.mark.parametrize("target", ELSEWHERE)
def test_whatever_the_address_says_signing_in_leads_to_this_console(
    app: Flask, target: str
) -> None:
    person = Person(app.test_client())
    response = person.post(
        "/login", page="/login", email="viv@example.com", password=PASSWORD, next=target
    )
    assert response.status_code == 302
    for location in (response.location, person.client.get(f"/login?next={quote(target)}").location):
        where = urlsplit(urljoin(f"{HERE}/login", location))
        assert f"{where.scheme}://{where.netloc}" == HERE, location
        # As browsers read it: a backslash is a slash; tabs and line breaks are dropped.
        assert not re.sub(r"[\t\r\n]", "", location.replace("\\", "/")).startswith("//"), location


@pytest.mark.parametrize("target", ELSEWHERE)
def test_nor_does_any_other_form_that_leads_back_to_where_it_stood(app: Flask, target: str) -> None:
    olga = Person(app.test_client(), "olga@example.com")
    for path in ("/accounts/1001/tables/10011900/reveal", "/accounts/1001/connections/100101/tick"):
        response = olga.post(path, next=target, why="x", do="tick", then="")
        if response.status_code in {302, 303}:
            assert (
                urlsplit(urljoin(f"{HERE}/x", response.location)).netloc == urlsplit(HERE).netloc
            ), response.location
        assert response.status_code < 500


def test_an_address_of_this_console_is_gone_back_to(app: Flask) -> None:
    with app.test_request_context("/login"):
        for target in (
            "/connections?severity=error",
            "/accounts/1001?x=%2F%2Fevil.example",
            "/find?q=a//b",
        ):
            assert safe_next(target) == target


@pytest.fixture(scope="module")
def named(sandbox_server: Sandbox, folder: Path, app: Flask) -> Flask:
    """A console with its own host name, and another one for the widget."""
    return create_app(
        make_settings(
            sandbox_server.url,
            folder,
            dashboard_url=HERE,
            dashboard_widget_origin="https://widget.example.net",
        )
    )


@pytest.mark.parametrize(
    "host",
    ["evil.example", "console.example.com.evil.example", "evil.example:8900",
        "xconsole.example.com", "169.254.169.254", "a b", "[::2]", "",
     "console.example.com@evil.example", "evil.example#console.example.com",
     "evil.example; script-src *"],
)  # fmt: skip
def test_a_host_name_that_is_not_the_consoles_is_answered_by_nothing(
    named: Flask, host: str
) -> None:
    for path in ("/", "/login", "/embed/frame", "/webhooks", "/static/console.css", "/nowhere"):
        response = named.test_client().get(path, headers={"Host": host})
        assert response.status_code == 400, path
        if host:
            assert host not in response.text
            assert host not in str(response.headers)


@pytest.mark.parametrize(
    "host",
    [
        "console.example.com",
        "CONSOLE.example.com",
        "console.example.com:443",
        "localhost:8900",
        "127.0.0.1",
        "[::1]:8900",
    ],
)
def test_its_own_and_this_machines_are_answered(named: Flask, host: str) -> None:
    assert named.test_client().get("/login", headers={"Host": host}).status_code == 200


def test_without_a_name_of_its_own_no_host_header_reaches_a_page_of_others_or_a_policy(
    app: Flask,
) -> None:
    for host in ("evil.example; script-src *", 'evil.example"><xss>', "a,b"):
        response = app.test_client().get("/embed/frame", headers={"Host": host})
        assert "script-src *" not in response.headers.get("Content-Security-Policy", "")
        assert "<xss>" not in response.text
    response = app.test_client().get(
        "/", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    )
    assert response.location.startswith("/login")


def test_the_widgets_host_gives_the_frame_and_nothing_of_the_console(
    named: Flask, route_requests: RouteRequests
) -> None:
    """The vendor's script runs there, so that host must not have a login form."""
    client, host = named.test_client(), {"Host": "widget.example.net"}
    for request in route_requests.all("GET"):
        if request.endpoint in PROBES:
            continue
        response = send_request(client, request, headers=host)
        assert response.status_code == (200 if request.endpoint == "embed.frame" else 404), request
    assert client.post("/login", headers=host).status_code in {400, 404}
    assert (
        "sandbox" not in client.get("/embed/frame", headers=host).headers["Content-Security-Policy"]
    )


def test_under_the_consoles_own_name_the_frame_never_has_its_origin(
    named: Flask, app: Flask
) -> None:
    for served in (named, app):
        response = served.test_client().get("/embed/frame", headers={"Host": "localhost"})
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox allow-scripts")
        assert "allow-same-origin" not in policy
        assert "frame-ancestors 'self'" in policy
        assert "Set-Cookie" not in response.headers


def test_the_widget_has_another_host_than_the_console_or_none() -> None:
    good = {"SECRET_KEY": "s" * 40, "PELIQAN_PARTNER_TOKEN": "t", "DASHBOARD_URL": HERE}
    for same in (HERE, f"{HERE}:443", HERE.upper().replace("HTTPS", "https")):
        with pytest.raises(SettingsError, match="another host"):
            read_settings({**good, "DASHBOARD_WIDGET_ORIGIN": same}, Path("/nonexistent"))
    found = read_settings(
        {**good, "DASHBOARD_WIDGET_ORIGIN": "https://widget.example.net"}, Path("/nonexistent")
    )
    assert found.hosts >= {"console.example.com", "widget.example.net", "127.0.0.1"}


UNSAFE = [
    "javascript:alert(1)", "JAVASCRIPT://example.com/%0aalert(1)", "data:text/html,x",
    "vbscript:x", "file:///etc/passwd", "ftp://example.com/",
    "http://example.com/", "//example.com", "https:example.com", "https:///example.com",
    "https://", "", "mailto:a@example.com",
    "https://user@example.com/", "https://example.com@evil.example/", "https://:@evil.example/",
    "https://example.com\\@evil.example/",
    "https://ex\u0430mple.com/", "https://example\u3002com/", "https://\uff45xample.com/",
    "https://example.com%2eevil.example/",
    "https://example.com%00.evil.example/", "https://exam\tple.com/",
    "https://example.com\r\nX: y", "https://-example.com/", "https://a..b/",
    "https://127.0.0.1/", "https://localhost/", "https://x.localhost/", "https://LOCALHOST./",
    "http://127.0.0.1:8901/", "https://[::1]/",
    "https://10.0.0.1/", "https://192.168.1.1/admin", "https://172.16.0.1/",
    "https://169.254.169.254/latest/meta-data/", "https://100.64.0.1/",
    "https://[fe80::1]/", "https://[fd00::1]/", "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:127.0.0.1]/", "https://0.0.0.0/", "https://0/",
    "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/",
    "https://127.0.0.1./", "https://[::]/",
    "https://example.com:x/", "https://example.com:99999/", "https://" + "a" * 8000,
]  # fmt: skip


@pytest.mark.parametrize("url", UNSAFE)
@pytest.mark.parametrize("route", ["reauthorise", "saltedge_refresh", "invite"])
def test_no_such_address_of_peliqans_is_handed_to_anybody(url: str, route: str) -> None:
    """All three are checked by the same function."""
    with pytest.raises(customer_links.UnsafeLink) as caught:
        customer_links.check_link(url, from_here=False)
    assert url not in str(caught.value) or not url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/x?y=1#z",
        "https://login.xn--bcher-kva.example:8443/a",
        "https://8.8.8.8/",
        "https://[2001:4860:4860::8888]/",
    ],
)
def test_an_ordinary_one_is_with_the_host_that_is_to_be_read_first(url: str) -> None:
    assert customer_links.check_link(url, from_here=False).host in url


@pytest.mark.parametrize(
    "link",
    [
        ("reauthorise", actions.REAUTHORISE, "auth_uri", {"failure": "expired", "auth": "oauth2"}),
        ("saltedge_refresh", actions.BANK_REFRESH, "url", {"auth": "saltedge"}),
    ],
)
@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(document.cookie)",
        "data:text/html,x",
        "https://user@example.com/",
        "https://ex\u0430mple.com/",
        "https://10.0.0.1/",
    ],
)
def test_the_console_keeps_none_and_says_why_without_it(
    app: Flask, sandbox: Sandbox, link: tuple[str, str, str, dict[str, Any]], url: str
) -> None:
    route, kind, key, wanted = link
    services: Services = app.extensions["services"]
    sandbox.fault(route, status=200, body={key: url})
    with app.app_context():
        before = db.session.scalar(select(func.count(Action.id)).where(Action.url.is_not(None)))
        action = customer_links.request_link(
            services.api,
            kind,
            stored_connection(sandbox.find(**wanted)),
            ActionRequest("olga@example.com", services.clock(), 15),
        )
        assert (action.state, action.url) == ("failed", None)
        assert "not safe" in action.detail
        assert url not in action.detail
        assert (
            db.session.scalar(select(func.count(Action.id)).where(Action.url.is_not(None)))
            == before
        )
    sandbox.clear()


def test_an_invites_address_goes_through_the_same_door(app: Flask, sandbox: Sandbox) -> None:
    sandbox.fault("invite", status=200, body={"url": "javascript:alert(1)"})
    olga = Person(app.test_client(), "olga@example.com")
    shown = olga.client.get(
        olga.post("/accounts/1001/invite", connector="something_new").location
    ).text
    assert "not safe" in shown
    assert "javascript:" not in shown
    sandbox.clear()


@pytest.mark.parametrize(
    "destination",
    [
        "{data}/console.db",
        "{data}/../{name}/console.db",
        "{data}/queue.db",
        *(
            f"{{data}}/console.db{behind}"
            for behind in ("-journal", "-wal", "-shm", ".lock", "x", "-journal/copies.db")
        ),
        "{data}/CONSOLE.DB",
        "{data}/new.db",
        "{data}/below/new.db",
    ],
)
def test_copies_never_go_into_the_consoles_own_files(
    app: Flask, folder: Path, destination: str
) -> None:
    adam = Person(app.test_client(), "adam@example.com")
    address = "sqlite:///" + destination.format(data=folder, name=folder.name)
    _is_refused(app, adam, address)


@pytest.mark.parametrize(
    "destination", ["{data}", "{data}/exports", "{data}/x/../exports", "{data}/new", "{data}/.."]
)
def test_nor_into_its_folders(app: Flask, folder: Path, destination: str) -> None:
    _is_refused(
        app,
        Person(app.test_client(), "adam@example.com"),
        "parquet://" + destination.format(data=folder),
    )


def _is_refused(app: Flask, adam: Person, address: str) -> None:
    response = adam.post(
        "/pulls",
        page="/pulls/new",
        name="Into its own",
        address=address,
        every="60",
        full_every="20",
    )
    assert response.status_code == 422
    assert "Copies need a place of their own" in response.text
    with app.app_context():
        assert (
            db.session.scalar(
                select(func.count(PullSchedule.id)).where(PullSchedule.name == "Into its own")
            )
            == 0
        )
