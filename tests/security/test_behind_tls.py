"""Every page and address through nginx with TLS: at the root of a host, and below a path."""

import re
import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit

import pytest
import requests
from bs4 import BeautifulSoup
from flask import Flask
from werkzeug.exceptions import HTTPException

from tests.security.route_requests import ACCOUNT, TABLE, RouteRequest, RouteRequests
from tests.security.served_console import serving
from tests.support.alert_receiver import RECEIVERS
from tests.support.databases import free_port
from tests.support.hook_receiver import HOOK
from tests.support.nginx import TlsNginx
from tests.support.people import PASSWORD
from tests.support.sandbox import Sandbox

FETCHED = ("href", "src", "hx-get", "data-frame-url", "data-sign-in")
POSTED = ("hx-post", "formaction", "data-token-url", "data-connected-url")
# The parameters that a route needs to show anything.
ASKED = {
    "desk.new_invite": f"?account={ACCOUNT}",
    "tables.cell_value": "?column=Title",
    "overview.find": "?q=amber",
    "bulk.new": "?which=all&kind=sync",
}
# The routes that correctly respond with an error, and its status.
ERRORS = {
    "nowhere": 404,
    "measured.show": 403,
    "provider.begin": 404,
    "provider.back": 404,
    "health.ready": 200,
}


@dataclass
class Visitor:
    """An administrator's browser.

    ``base``: the console's public address; ``inner``: the address that nginx uses.
    """

    base: str
    inner: str
    session: requests.Session
    routes: Flask
    problems: list[str] = field(default_factory=list)
    cookies: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def get(self, path: str) -> requests.Response:
        """Request a path of the console; check every header and address of the response."""
        response = self.session.get(f"{self.base}{path}", allow_redirects=False, timeout=60)
        self.record(response)
        return response

    def post(self, path: str, page: str, **fields: str) -> requests.Response:
        token = BeautifulSoup(self.get(page).text, "html.parser").select_one(
            "input[name=csrf_token]"
        )
        assert token is not None
        fields["csrf_token"] = str(token["value"])
        headers = {"Referer": f"{self.base}{page}"}
        response = self.session.post(
            f"{self.base}{path}", fields, headers=headers, allow_redirects=False, timeout=60
        )
        self.record(response)
        return response

    def record(self, response: requests.Response) -> None:
        """Record each cookie, and each address that leaves the console."""
        for line in response.raw.headers.getlist("Set-Cookie"):
            for name, cookie in SimpleCookie(line).items():
                self.cookies[name] = cookie["path"], bool(cookie["secure"])
        for name in (
            "Location",
            "HX-Redirect",
            "HX-Push-Url",
            "Content-Location",
            "Link",
            "Refresh",
        ):
            if name in response.headers:
                self.check(
                    response.url,
                    response.headers[name].partition("url=")[2] or response.headers[name],
                    name,
                )
        text = (
            response.text
            if re.match("text/|application/json", response.headers.get("Content-Type", ""))
            else ""
        )
        for host in (self.inner, self.base):
            for found in re.findall(
                rf"https?://{re.escape(urlsplit(host).netloc)}[^\s\"'<;]*", text
            ):
                self.check(response.url, found, "text")
        if response.headers.get("X-Request-ID") is None:
            self.problems.append(f"{response.url}: not the console's answer")

    def check(self, page: str, address: str, where: str) -> str | None:
        """Return the path below the console's base; None for another host.

        Records an address that leaves the console.
        """
        url = urljoin(page, address).partition("#")[0]
        if url != self.base and not url.startswith(f"{self.base}/"):
            if urlsplit(url).netloc in {urlsplit(self.base).netloc, urlsplit(self.inner).netloc}:
                self.problems.append(f"{page}: {where} leads to {url}")
            return None
        return url.removeprefix(self.base)

    def endpoint(self, path: str, method: str) -> str | None:
        """Return the route of the path; None and a record where there is none."""
        try:
            found: str = self.routes.url_map.bind("x").match(unquote(urlsplit(path).path), method)[
                0
            ]
        except HTTPException as error:
            self.problems.append(f"{method} {path}: {error}")
            return None
        return found

    def addresses(self, response: requests.Response) -> Iterator[str]:
        """Yield the paths that the page requests by GET; check that forms lead to a route."""
        soup = BeautifulSoup(response.text, "html.parser")
        for form in soup.find_all("form", action=True):
            path = self.check(response.url, str(form["action"]), "<form action>")
            if path is not None and form["action"] != "#":
                self.endpoint(path, str(form.get("method", "get")).upper())
        for attribute in (*FETCHED, *POSTED):
            for element in soup.find_all(attrs={attribute: True}):
                value = str(element[attribute])
                if value.startswith(("#", "data:", "mailto:")):
                    continue
                path = self.check(response.url, value, f"<{element.name} {attribute}>")
                if path is not None and attribute in FETCHED:
                    yield path
                elif path is not None:
                    self.endpoint(path, "POST")

    def walk(self, route_requests: list[RouteRequest]) -> int:
        """Open every route and one link of each kind; return the number of responses."""
        waiting = deque(
            (request.endpoint, request.path + ASKED.get(request.endpoint, ""))
            for request in route_requests
        )
        seen: set[object] = {request.endpoint for request in route_requests}
        opened = 0
        while waiting:
            endpoint, path = waiting.popleft()
            response = self.get(path)
            opened += 1
            if response.status_code != ERRORS.get(
                endpoint, response.status_code if response.status_code < 400 else 200
            ):
                self.problems.append(f"{path}: {response.status_code}")
            if not response.headers.get("Content-Type", "").startswith("text/html"):
                continue
            for link in self.addresses(response):
                found = self.endpoint(link, "GET")
                names = frozenset(
                    name for name, _ in parse_qsl(urlsplit(link).query, keep_blank_values=True)
                )
                # Each route once with and once without a query; a list also with its next page.
                kind = (
                    (found, urlsplit(link).path)
                    if found == "static"
                    else (found, bool(names), "page" in names)
                )
                if (
                    found is None
                    or kind in seen
                    or (urlsplit(link).path.rpartition(".")[2] in FILES and found in seen)
                ):
                    continue
                seen.add(kind)
                waiting.append((found, link))
        return opened


FILES = {"csv", "jsonl", "parquet"}


@pytest.fixture(scope="module", params=["", "/console"], ids=["at the root", "below a path"])
def visitor(
    request: pytest.FixtureRequest,
    used_store: Path,
    app: Flask,
    sandbox_server: Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Visitor]:
    """An administrator's browser at a deployed console with one of each object, with cookies."""
    path, port = request.param, free_port()
    folder, nginx_folder = (
        tmp_path_factory.mktemp("served") / "data",
        tmp_path_factory.mktemp("nginx"),
    )
    shutil.copytree(used_store, folder)
    base = f"https://127.0.0.1:{port}{path}"
    settings = {
        "dashboard_url": base,
        "dashboard_proxies": 1,
        "dashboard_insecure_cookies": "no",
        **HOOK,
        **RECEIVERS,
    }
    with serving("dashboard serve", sandbox_server.url, folder, **settings) as console:
        nginx = TlsNginx(nginx_folder, console.url, port, below_path=bool(path))
        try:
            session = requests.Session()
            # REQUESTS_CA_BUNDLE in the environment would override ``verify``.
            session.trust_env, session.verify = False, str(nginx.certificate)
            found = Visitor(base, console.url, session, app)
            signed_in = found.post(
                "/login",
                "/login",
                email="adam@example.com",
                password=PASSWORD,
                next=f"{path}/causes",
            )
            assert (signed_in.status_code, signed_in.headers["Location"]) == (302, f"{path}/causes")
            yield found
        finally:
            nginx.stop()


def test_every_address_on_every_page_stays_below_the_consoles_own_and_answers(
    visitor: Visitor, route_requests: RouteRequests
) -> None:
    [begin_search] = [
        request.path
        for request in route_requests.all("POST")
        if request.endpoint == "searches.begin"
    ]
    search = visitor.post(begin_search, begin_search, value="amber").headers["Location"]
    mine = RouteRequest(
        "searches.show", "GET", search.removeprefix(urlsplit(visitor.base).path), None
    )
    others = [
        request for request in route_requests.all("GET") if request.endpoint != "searches.show"
    ]
    opened = visitor.walk([*others, mine, RouteRequest("nowhere", "GET", "/nowhere", None)])
    assert visitor.problems == []
    assert opened > 150


def test_cookies_have_the_path_of_the_console_and_go_over_https_alone(visitor: Visitor) -> None:
    path = urlsplit(visitor.base).path
    prefix = "__Secure-" if path else "__Host-"
    cookies = dict.fromkeys(
        (f"{prefix}console_session", f"{prefix}console_browser"), (path or "/", True)
    )
    assert visitor.cookies == cookies


def test_a_form_needs_its_token_and_a_list_and_a_table_are_downloaded_whole(
    visitor: Visitor,
) -> None:
    forged = visitor.session.post(
        f"{visitor.base}/me/tokens",
        {"name": "x"},
        headers={"Referer": f"{visitor.base}/me"},
        timeout=60,
    )
    assert forged.status_code == 400
    made = visitor.post("/me/tokens", "/me", name="through nginx")
    assert (made.status_code, "copy it now" in made.text) == (200, True)
    for path in ("/accounts.csv", f"/accounts/{ACCOUNT}/tables/{TABLE}/export.jsonl"):
        file = visitor.get(path)
        assert (file.status_code, "attachment" in file.headers["Content-Disposition"]) == (
            200,
            True,
        )
        assert file.text.count("\n") > 3


def test_who_is_not_signed_in_is_sent_to_the_sign_in_page_of_the_console(visitor: Visitor) -> None:
    """nginx forwards the host without its port, so the browser uses another host name."""
    path = urlsplit(visitor.base).path
    stranger = requests.Session()
    stranger.trust_env, stranger.verify = False, visitor.session.verify
    page = f"{path}/connections?severity=error"
    response = stranger.get(
        f"{visitor.base}/connections?severity=error", allow_redirects=False, timeout=60
    )
    headers = {"HX-Request": "true", "HX-Current-URL": f"{visitor.base}/connections?severity=error"}
    fragment = stranger.get(f"{visitor.base}/refresh-status", headers=headers, timeout=60)
    for location in (response.headers["Location"], fragment.headers["HX-Redirect"]):
        assert urlsplit(location).path == f"{path}/login"
        assert dict(parse_qsl(urlsplit(location).query)) == {"next": page}


def test_the_host_above_the_path_is_the_other_applications(visitor: Visitor) -> None:
    root = visitor.base.removesuffix("/console")
    found = visitor.session.get(f"{root}/accounts", allow_redirects=False, timeout=60)
    assert found.text == "another application" if root != visitor.base else found.status_code == 200
    inner = [
        requests.get(f"{visitor.inner}{probe}", timeout=60).status_code
        for probe in ("/healthz", "/readyz", "/metrics")
    ]
    assert inner == [200, 200, 200]
