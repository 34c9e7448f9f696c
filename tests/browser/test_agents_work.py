"""A support agent's work in a real browser against a served console."""

import json
import re
import signal
import subprocess
import urllib.request
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from dashboard.sandbox.app import create_sandbox
from tests.browser.accessibility import barriers
from tests.support.databases import wait_for
from tests.support.demo import Demo, is_quiet, start_demo
from tests.support.people import path_of

EXPIRED = "/accounts/1048/connections/104801"
LIMIT = 20_000


def healthy(index: int = 0) -> Any:
    """Return a healthy connection of the demo's fleet without a current scheduled run."""
    life = create_sandbox(200).extensions["sandbox"].life
    found = (
        each
        for account in life.accounts(20, 100)
        for each in life.connections(account.id)
        if not each.failure and not each.placed and not each.flips and is_quiet(life, each)
    )
    return next(islice(found, index, None))


def test_the_demo_serves_its_first_page_within_seconds_of_being_started(demo: Demo) -> None:
    # Five seconds on an idle machine; other demos and tests may run at the same time.
    assert demo.started_in < 30


def test_an_agent_finds_a_customer_by_three_letters_and_the_keyboard(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.keyboard.press("/")
    expect(operator.locator("#find")).to_be_focused()
    operator.keyboard.type("blu")
    operator.locator("#found a").first.wait_for()
    operator.locator("#find").fill("cust-00001")
    operator.keyboard.press("Enter")
    expect(operator.get_by_role("heading", level=1)).to_have_text("Amber Foods BV")
    operator.goto("/connections")
    operator.keyboard.press("j")
    operator.keyboard.press("j")
    expect(operator.locator("tr.row-here")).to_have_count(1)
    operator.keyboard.press("Enter")
    operator.wait_for_url(re.compile(r"/accounts/\d+/connections/\d+$"))


def test_a_list_narrows_as_one_types_and_its_address_can_be_shared(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/connections")
    operator.locator("#filter-severity").select_option("error")
    operator.wait_for_url(re.compile("severity=error"))
    shown = operator.locator(".pager > div").first.inner_text()
    operator.goto(operator.url)
    assert operator.locator(".pager > div").first.inner_text() == shown
    operator.go_back()
    operator.locator("#filter-q").fill("amber")
    operator.wait_for_url(re.compile("q=amber"))


def test_a_sync_is_watched_to_its_end_and_then_nothing_asks_any_more(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(path_of(healthy()))
    operator.get_by_role("button", name="Sync now").click()
    expect(operator.locator("#sync[data-running=true]")).to_be_visible()
    expect(operator.get_by_role("button", name="Sync now")).to_have_count(0)
    expect(operator.locator("#sync[data-running=false]")).to_contain_text(
        "Sync completed", timeout=LIMIT
    )
    expect(operator.locator("#sync")).to_contain_text("records")
    expect(operator.get_by_role("button", name="Sync now")).to_be_visible()
    requested: list[str] = []
    operator.on("request", lambda request: requested.append(request.url))
    operator.wait_for_timeout(3000)
    assert [url for url in requested if "run-status" in url] == []


def test_a_press_is_not_lost_to_a_look_that_was_under_way(
    operator: Page, browser_errors: list[str]
) -> None:
    path = path_of(healthy(3))
    wait_for(
        lambda: 'hx-trigger="load' in operator.request.get(path).text(),
        "what was read is old enough",
        within=60,
    )
    polls: list[Any] = []
    presses: list[Any] = []
    operator.route("**/live", lambda route: polls.append((route, route.fetch())))
    operator.route("**/sync", lambda route: presses.append(route))
    operator.goto(path)

    def seen(held: list[Any]) -> bool:
        operator.wait_for_timeout(20)
        return bool(held)

    wait_for(lambda: seen(polls), "the page looks")
    over = (
        "for (const end of ['htmx:afterSwap', 'htmx:sendAbort']) "
        "document.addEventListener(end, () => { window.lookOver = true; })"
    )
    operator.evaluate(f"() => {{ {over} }}")
    operator.get_by_role("button", name="Sync now").click()
    wait_for(lambda: seen(presses), "it was pressed")
    # The poll's result is older than the press, and arrives before its response.
    poll, found = polls[0]
    poll.fulfill(response=found)
    wait_for(lambda: operator.evaluate("() => window.lookOver"), "the look is over")
    presses[0].continue_()
    expect(operator.locator("#sync[data-running=true]")).to_be_visible()


def test_a_hidden_tab_asks_for_nothing_and_goes_on_when_it_is_seen_again(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(path_of(healthy(1)))
    operator.get_by_role("button", name="Sync now").click()
    expect(operator.locator("#sync[data-running=true]")).to_be_visible()
    hide = (
        "hidden => Object.defineProperty(document, 'hidden', "
        "{configurable: true, get: () => hidden})"
    )
    operator.evaluate(hide, True)
    requested: list[str] = []
    operator.on("request", lambda request: requested.append(request.url))
    operator.wait_for_timeout(5000)
    assert requested == []
    operator.evaluate(hide, False)
    expect(operator.locator("#sync[data-running=false]")).to_contain_text(
        "Sync completed", timeout=LIMIT
    )
    assert any("run-status" in url for url in requested)


def test_reauthorising_through_the_consent_page_turns_the_connection_green(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(EXPIRED)
    expect(operator.locator("#connection")).to_contain_text("invalid_grant")
    # Once among the buttons, and once beside the finding, as the playbook's first step.
    expect(operator.get_by_role("button", name="Reauthorise")).to_have_count(2)
    operator.locator(".first-step").get_by_role("button", name="Reauthorise").click()
    link = operator.get_by_role("link", name="Open in a new tab")
    with operator.expect_popup() as popup:
        link.click()
    consent = popup.value
    expect(consent.get_by_role("heading")).to_contain_text("Allow access")
    consent.get_by_role("button", name="Allow").click()
    expect(consent.get_by_role("heading")).to_have_text("Access allowed")
    expect(operator.locator("#connection[data-status=OK]")).to_be_visible(timeout=LIMIT)
    expect(operator.locator("#ask")).to_contain_text("Reauthorisation worked")


def test_the_line_of_why_outlives_a_look_presses_nothing_by_enter_and_goes_along_with_the_button(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(path_of(healthy(2)))
    why = operator.locator("#why")
    why.fill("Asked for by the customer")
    why.press("Enter")
    with operator.expect_response(re.compile("/live$")):
        operator.evaluate("htmx.trigger('#connection', 'settled')")
    expect(why).to_have_value("Asked for by the customer")
    expect(operator.locator("#sync[data-running=false]")).to_be_empty()
    operator.locator(".connection-actions").get_by_role("button", name="Sync now").click()
    expect(operator.locator(".done-here")).to_contain_text("Asked for by the customer")
    expect(why).to_have_value("")
    expect(operator.locator(".done-here .status-badge")).to_have_text(
        re.compile("worked|no effect"), timeout=LIMIT
    )


def test_a_table_is_paged_sorted_and_opened_row_by_row(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/accounts/1001")
    operator.get_by_role("link", name=re.compile("dw_1001")).click()
    operator.get_by_role("link", name=re.compile("1 million")).click()
    expect(operator.locator(".pager")).to_contain_text("1\u202f000\u202f000 rows")
    operator.get_by_role("link", name="Next page").click()
    expect(operator.locator(".pager-here")).to_contain_text("Page 2")
    operator.get_by_role("link", name=re.compile("^Nr")).click()
    operator.wait_for_url(re.compile("sort=Nr"))
    operator.get_by_role("link", name=re.compile("^Nr")).click()
    expect(operator.locator(".rows tbody tr").first).to_contain_text("LED-1000000")
    operator.locator(".rows tbody th a").first.click()
    expect(operator.get_by_role("heading", level=1)).to_have_text("Row 1000000")


def test_the_widget_makes_a_connection_and_the_console_reads_it_at_once(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/embed?external_id=cust-00002&connectors=shopify,xero")
    frame = operator.frame_locator("#embed-frame iframe")
    frame.get_by_role("button", name="Add connection").click()
    expect(frame.locator(".pq-list button")).to_have_count(2)
    frame.get_by_role("button", name=re.compile("Shopify")).click()
    frame.get_by_label("Connection name").fill("Shop from the widget")
    frame.get_by_role("button", name="Connect", exact=True).click()
    expect(operator.locator("#payloads")).to_contain_text('"server_type": "shopify"')
    expect(operator.locator("#connected")).to_contain_text("Shop from the widget")
    expect(operator.locator("#token-left")).to_contain_text(re.compile(r"2\d:\d\d"))
    expect(operator.locator("#snippet")).to_contain_text('"shopify"')


@pytest.mark.parametrize("name", ["server_id", "serverId", "connection_id", "connectionId", "id"])
def test_the_widget_names_the_new_connection_by_any_of_its_keys(operator: Page, name: str) -> None:
    operator.goto("/embed?external_id=cust-00003")
    operator.frame_locator("#embed-frame iframe").get_by_role(
        "button", name="Add connection"
    ).wait_for()
    frame = next(each for each in operator.frames if each.url.endswith("/embed/frame"))
    frame.evaluate(
        "payload => parent.postMessage({console: 'connected', payload}, '*')",
        {"server_id": None, name: 100301},
    )
    expect(
        operator.locator("#connected a[href$='/accounts/1003/connections/100301']").first
    ).to_be_visible()


def test_the_widgets_frame_cannot_reach_the_console(operator: Page) -> None:
    operator.goto("/embed?external_id=cust-00003")
    operator.frame_locator("#embed-frame iframe").get_by_role(
        "button", name="Add connection"
    ).wait_for()
    frame = next(each for each in operator.frames if each.url.endswith("/embed/frame"))
    reach = """async () => {
      const tried = {};
      try { tried.parent = parent.document.title } catch (error) { tried.parent = error.name }
      try { tried.cookie = document.cookie } catch (error) { tried.cookie = error.name }
      try { tried.fetch = (await fetch('/connections.json')).status }
      catch (error) { tried.fetch = error.name }
      return {...tried, origin: self.origin};
    }"""
    assert frame.evaluate(reach) == {
        "parent": "SecurityError",
        "cookie": "SecurityError",
        "fetch": "TypeError",
        "origin": "null",
    }


def test_everything_works_without_javascript(
    browser: Any, demo: Demo, browser_context_args: dict[str, Any]
) -> None:
    context = browser.new_context(**{**browser_context_args, "java_script_enabled": False})
    page = context.new_page()
    page.goto("/login")
    page.fill("#email", "operator@example.com")
    page.fill("#password", demo.passwords["operator"])
    page.click("button:has-text('Sign in')")
    mine = healthy()
    page.fill("#find", str(mine.id))
    page.press("#find", "Enter")
    page.wait_for_url(re.compile(f"connections/{mine.id}"))
    page.click("button:has-text('Sync now')")
    for _ in range(20):
        if page.locator("#sync[data-running=false]").count():
            break
        page.locator("#sync a:has-text('Look again')").click()
        page.wait_for_timeout(500)
    assert "Sync" in page.locator("#sync").inner_text()
    page.goto("/connections")
    page.fill("#filter-q", "shopify")
    page.press("#filter-q", "Enter")
    page.wait_for_url(re.compile("q=shopify"))
    context.close()


PAGES = [
    "/", "/accounts", "/connections?severity=error", "/accounts/1001",
    "/accounts/1001/connections/100102", "/accounts/1049",
    "/accounts/1001/databases/10011", "/accounts/1001/tables/10011900",
    "/accounts/1001/tables/10011900/rows/3",
    "/accounts/1001/tables/10011900/rows/2/cell?column=Long",
    "/accounts/1001/tables/10011900/health", "/accounts/1001/connections/100102/search",
    "/accounts/1001/sql", "/queries", "/queries/new", "/pulls", "/pulls/new", "/exports",
    "/deliveries", "/embed?external_id=cust-00001", "/embed?external_id=nobody", "/audit",
    "/receipts", "/users", "/webhooks", "/users/new", "/me", "/me/password", "/me/second-factor",
    "/users/1", "/find?q=amber", "/nowhere",
    "/connections?q=zzzz", "/alerts", "/alerts/new", "/alerts/messages", "/bulk",
    "/bulk/new?kind=sync&which=all&severity=error",
    "/bulk/new?kind=reauthorise&which=ticked", "/since", "/trend", "/accounts/1048/timeline",
    "/accounts/1048/connections/104801/timeline",
    "/desk", "/desk/needed", "/desk/banks", "/desk/invite?account=1001",
    "/causes", "/causes/1", "/findings", "/findings?contradicts=yes",
]  # fmt: skip


def _search(page: Page) -> None:
    page.goto("/accounts/1001/connections/100102/search")
    page.fill("#search-value", "Example")
    page.click("button:has-text('Search its tables')")
    page.locator("#search[data-state=ended] tbody tr").first.wait_for()


def _answer(page: Page) -> None:
    page.goto("/accounts/1001/sql")
    page.fill("#text", "select 1 as one, 'two' as two")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".rows td").first.wait_for()


def _schedule(page: Page) -> None:
    page.goto("/pulls/new")
    page.fill("#name", f"Copies {page.evaluate('Date.now()')}")
    page.fill("#address", f"sqlite:///{mkdtemp()}/copies.db")
    page.fill("#accounts", "1001")
    page.fill("#tables", "Empty")
    page.get_by_role("button", name="Save and run").click()
    page.wait_for_url(re.compile(r"/pulls/\d+$"))


def _export(page: Page) -> None:
    page.goto("/accounts/1001/tables/10011900")
    page.locator("form[aria-label=Export] button").first.click()
    page.wait_for_url(re.compile(r"/exports/\d+$"))
    page.get_by_role("link", name="Download").wait_for()


# Pages that exist once somebody did something.
MADE = {"a search": _search, "an answer": _answer, "a schedule": _schedule, "an export": _export}


def test_no_page_has_a_serious_barrier_nor_overflows_a_phone(page: Page, demo: Demo) -> None:
    page.goto("/login")
    problems = {"/login": barriers(page)}
    page.fill("#email", "admin@example.com")
    page.fill("#password", demo.passwords["admin"])
    page.click("button:has-text('Sign in')")
    page.wait_for_url(demo.url + "/")
    for path, open_page in {**dict.fromkeys(PAGES), **MADE}.items():
        if open_page is not None:
            open_page(page)
        else:
            page.goto(path)
        # Requests of the page after it has loaded.
        expect(page.locator(".htmx-request, [hx-trigger=load]")).to_have_count(0)
        if "tables" in path:
            page.locator(".rows, .row-table, .whole, #table-health dl").first.wait_for()
        problems[path] = barriers(page)
    assert {path: found for path, found in problems.items() if found} == {}


def test_a_taken_port_is_stepped_over_and_ctrl_c_leaves_no_process(
    demo: Demo, tmp_path: Path
) -> None:
    port = int(demo.url.rsplit(":", 1)[1])
    second = start_demo(tmp_path, port)
    assert second.url != demo.url
    group = second.process.pid
    second.process.send_signal(signal.SIGINT)
    # The worker gets 30 s before it is stopped; the sandbox 10 s after that.
    second.process.wait(60)

    def is_empty() -> bool:
        return not subprocess.run(
            ["ps", "-o", "pid=", "-g", str(group)], capture_output=True, text=True, check=False
        ).stdout

    wait_for(is_empty, "the last of its processes has ended")
    with urllib.request.urlopen(demo.url + "/healthz", timeout=30) as response:
        assert response.status == 200


def test_a_token_opens_the_twins_over_the_wire(operator: Page, demo: Demo) -> None:
    operator.goto("/me")
    operator.get_by_label("Name of a new token").fill("wire")
    operator.get_by_role("button", name="Create").click()
    secret = operator.locator("#secret").inner_text()
    request = urllib.request.Request(
        f"{demo.url}/connections.json?per_page=1", headers={"Authorization": f"Bearer {secret}"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        body = json.load(response)
    assert body["total"] > 600
