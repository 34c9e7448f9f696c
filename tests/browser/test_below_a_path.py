"""A user's way through a console below a path, behind nginx with TLS as deployed."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect

from tests.security.route_requests import ACCOUNT, TABLE
from tests.security.served_console import serving
from tests.support.databases import free_port
from tests.support.nginx import TlsNginx
from tests.support.people import PASSWORD, path_of
from tests.support.sandbox import Sandbox


@dataclass
class Browsing:
    """A page in its own browser, and all its requests."""

    page: Page
    base: str
    requested: list[str]
    failed: list[str]

    def record_request(self, request: Request) -> None:
        self.requested.append(request.url)

    def record_failure(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")


def is_fragment(response: Response) -> bool:
    """Return whether htmx sent the request."""
    return response.request.headers.get("hx-request") == "true"


@pytest.fixture
def browsing(
    filled_store: Path, sandbox: Sandbox, tmp_path: Path, browser: Browser
) -> Iterator[Browsing]:
    (tmp_path / "data").mkdir()
    (tmp_path / "nginx").mkdir()
    shutil.copy(filled_store / "console.db", tmp_path / "data" / "console.db")
    port = free_port()
    base = f"https://127.0.0.1:{port}/console"
    script = f"{sandbox.url}/embed/v1.3/peliqan-integration.js"
    settings = {
        "dashboard_url": base,
        "dashboard_proxies": 1,
        "dashboard_insecure_cookies": "no",
        "peliqan_embed_script_url": script,
    }
    with serving("dashboard serve", sandbox.url, tmp_path / "data", **settings) as console:
        nginx = TlsNginx(tmp_path / "nginx", console.url, port, below_path=True)
        # Only the test knows the certificate.
        context = browser.new_context(
            ignore_https_errors=True, viewport={"width": 1280, "height": 900}
        )
        try:
            found = Browsing(context.new_page(), base, [], [])
            context.on("request", found.record_request)
            context.on("response", found.record_failure)
            yield found
        finally:
            context.close()
            nginx.stop()


def sign_in(page: Page, base: str, path: str) -> None:
    """Open a page and sign in; the login page redirects back to it."""
    page.goto(f"{base}{path}")
    expect(page).to_have_url(f"{base}/login?next={urlsplit(base).path}{path}")
    page.get_by_label("E-mail").fill("adam@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{base}{path}")


def sync_and_search(page: Page, base: str) -> None:
    """Start a sync, then open an account from the search box."""
    # The press's fragment, and the requests that the page then sends.
    with page.expect_response(lambda response: response.request.method == "POST" and response.ok):
        page.get_by_role("button", name="Sync now").first.click()
    with page.expect_response(
        lambda response: is_fragment(response) and response.request.method == "GET" and response.ok
    ):
        pass
    page.get_by_role("link", name="Overview", exact=True).click()
    expect(page).to_have_url(f"{base}/")
    page.get_by_role("searchbox").press_sequentially("amber")
    page.locator("#found a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Amber")
    assert page.url.startswith(f"{base}/accounts/")


def read_pages(page: Page, base: str) -> None:
    """Sort a list, read a table's rows, open the widget, and download a file."""
    # A list with htmx filters, and its address in the browser's bar.
    page.goto(f"{base}/connections")
    page.locator("#list .sort-link").first.click()
    page.wait_for_url(f"{base}/connections?*")
    page.reload()
    expect(page.locator("#list")).to_be_visible()

    page.goto(f"{base}/accounts/{ACCOUNT}/tables/{TABLE}")
    expect(page.locator(".rows tbody tr").first).to_be_visible(timeout=60_000)
    # The widget's frame has its own policy, which names the console's files by address.
    page.goto(f"{base}/embed?external_id=cust-00002")
    expect(
        page.frame_locator("#embed-frame iframe").get_by_role("button", name="Add connection")
    ).to_be_enabled()
    with page.expect_download() as download:
        page.evaluate("path => { location.href = path }", f"{base}/accounts.csv")
    assert download.value.suggested_filename == "accounts.csv"


def sign_out(page: Page, base: str) -> None:
    """Sign out; every tab shows the login page."""
    second = page.context.new_page()
    second.goto(f"{base}/accounts")
    page.get_by_role("button", name="Sign out").click()
    for tab in (page, second):
        expect(tab.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert tab.url == f"{base}/login"


def test_signing_in_searching_opening_reading_and_leaving_stay_below_the_path(
    browsing: Browsing, sandbox: Sandbox
) -> None:
    page, base = browsing.page, browsing.base
    sign_in(page, base, path_of(sandbox.healthy))
    sync_and_search(page, base)
    read_pages(page, base)
    cookies = {str(cookie.get("name")): cookie.get("path") for cookie in page.context.cookies()}
    assert cookies == {
        "__Secure-console_session": "/console",
        "__Secure-console_browser": "/console",
        "tz": "/console/",
    }
    sign_out(page, base)

    assert len(browsing.requested) > 50
    assert [
        url for url in browsing.requested if not url.startswith((f"{base}/", sandbox.url, "data:"))
    ] == []
    assert browsing.failed == []
