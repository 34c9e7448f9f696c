"""Notes, assignments and links for customers, in a real browser."""

import re
from contextlib import suppress

from playwright.sync_api import Error, Page, Route, expect

from tests.browser.accessibility import barriers
from tests.browser.test_agents_work import LIMIT
from tests.support.databases import wait_for


def test_a_message_goes_out_in_the_customers_language_and_the_connection_comes_back(
    operator: Page, browser_errors: list[str]
) -> None:
    # A connector that no other browser test of this fleet uses.
    operator.goto("/desk/needed?q=Shopify")
    row = operator.locator("tr[data-row]").first
    customer = row.locator("a").first.inner_text()
    row.get_by_role("button", name="Make a link").click()
    message = operator.locator("#message")
    expect(message.locator("#message-body")).to_contain_text("Hello,")
    message.get_by_label("Message in").select_option("nl")
    expect(message.locator("#message-body")).to_contain_text("Goedendag,")
    assert "%0D%0A" in (
        message.get_by_role("link", name="Open in the mail program").get_attribute("href") or ""
    )
    # The page polls the link's state; the chosen text must stay.
    with operator.expect_response(re.compile("link-status")):
        pass
    expect(message.locator("#message-body")).to_contain_text("Goedendag,")
    message.get_by_role("button", name="I have sent it").click()
    expect(message).to_contain_text("in Dutch")
    operator.context.grant_permissions(["clipboard-read", "clipboard-write"])
    message.get_by_role("button", name="Copy the message").click()
    expect(message.get_by_role("button", name="Copied")).to_be_visible()
    copied = operator.evaluate("navigator.clipboard.readText()")
    assert copied == message.locator("#message-body").inner_text()
    link = next(line for line in copied.splitlines() if line.startswith("http"))
    customers = operator.context.new_page()
    customers.goto(link)
    customers.get_by_role("button", name="Allow").click()
    expect(customers.get_by_role("heading")).to_have_text("Access allowed")
    customers.close()
    expect(operator.locator("#ask")).to_contain_text("Reauthorisation worked", timeout=LIMIT)
    expect(operator.locator("#message-body")).to_have_count(0)
    operator.goto("/desk")
    expect(operator.locator("section", has_text="Came back today")).to_contain_text(customer)


def test_a_note_and_an_owner_are_written_without_leaving_the_page(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/accounts/1003")
    operator.get_by_role("button", name="I am on it").click()
    expect(operator.locator("#owner")).to_contain_text("You are on this account")
    operator.get_by_label("What the next person should know").fill("Ask for Ann.")
    operator.get_by_role("button", name="Add note").click()
    expect(operator.locator(".note")).to_contain_text("Ask for Ann.")
    operator.locator(".note").get_by_role("button", name="Delete").click()
    expect(operator.locator(".note")).to_have_count(0)
    operator.get_by_role("button", name="Let it go").click()
    expect(operator.locator("#owner")).to_contain_text("Nobody is on this account")


def test_a_message_has_no_serious_barrier_nor_overflows_a_phone(operator: Page) -> None:
    operator.goto("/accounts/1005")
    operator.get_by_label("What the next person should know").fill("x" * 400)
    operator.get_by_role("button", name="Add note").click()
    expect(operator.locator(".note").first).to_be_visible()
    operator.goto("/desk/invite?account=1005")
    operator.get_by_label("Connector").fill("a_connector_with_a_rather_long_name")
    operator.get_by_role("button", name="Make the invite").click()
    expect(operator.locator("#message-body")).to_be_visible()
    problems = {}
    for path in (operator.url, "/desk", "/accounts/1005"):
        operator.goto(path)
        problems[path] = barriers(operator)
    assert {path: found for path, found in problems.items() if found} == {}


def test_a_language_that_was_chosen_stays_though_the_page_is_refreshed_behind_it(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/desk/needed?q=Xero")
    held: list[Route] = []
    operator.route("**/live*", lambda route: held.append(route))
    operator.locator("tr[data-row]").first.get_by_role("button", name="Make a link").click()
    body = operator.locator("#message-body")
    expect(body).to_contain_text("Hello,")
    operator.evaluate("document.querySelector('#connection').dispatchEvent(new Event('settled'))")
    wait_for(lambda: held or operator.wait_for_timeout(50), "the refresh is under way")
    operator.get_by_label("Message in").select_option("nl")
    operator.unroute("**/live*")
    for route in held:
        # The browser may have aborted it.
        with suppress(Error):
            route.continue_()
    operator.wait_for_load_state("networkidle")
    expect(body).to_contain_text("Goedendag,")
    with operator.expect_response("**/live*"):
        operator.evaluate(
            "document.querySelector('#connection').dispatchEvent(new Event('settled'))"
        )
    operator.wait_for_load_state("networkidle")
    expect(body).to_contain_text("Goedendag,")
