"""Bulk jobs in a real browser, with the worker of a served console."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from dashboard.sandbox.app import create_sandbox
from tests.browser.accessibility import barriers
from tests.support.demo import Enter, is_quiet

LIMIT = 30_000


def try_on_one(page: Page) -> None:
    """Start a sync of a connection without a scheduled run, which would take minutes.

    If the matching connections changed meanwhile, the confirmation comes again.
    """
    life = create_sandbox(200).extensions["sandbox"].life
    for _ in range(5):
        values = [
            option.get_attribute("value") or "" for option in page.locator("#first option").all()
        ]
        at_rest = (
            value
            for value in values
            if is_quiet(life, life.connection(int(value.rpartition("-")[2])))
        )
        page.locator("#first").select_option(next(at_rest, values[0]))
        page.get_by_role("button", name="Try on one").click()
        page.wait_for_load_state()
        if page.locator("#bulk").count():
            return


def test_some_are_ticked_one_is_tried_and_the_rest_is_watched_to_its_end(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/connections?severity=ok&connector=hubspot&per_page=25")
    boxes = operator.locator("input[name=c]")
    operator.get_by_label("Tick all on this page").check()
    expect(boxes.and_(operator.locator(":checked"))).to_have_count(boxes.count())
    operator.get_by_label("Tick all on this page").uncheck()
    for index in range(3):
        boxes.nth(index).check()
    operator.locator("#many").get_by_role("button", name="Sync").click()
    expect(operator.get_by_role("heading", level=1)).to_have_text("Sync 3 connections")
    operator.get_by_label("Why").fill("the vendor mended it")
    try_on_one(operator)
    expect(operator.locator("#bulk[data-state=tried]")).to_be_visible(timeout=LIMIT)
    # The list beside it has updated, too.
    expect(operator.locator("#list tr[data-result=done]")).to_have_count(1)
    operator.get_by_role("button", name="Go on with the other 2").click()
    expect(operator.locator("#bulk[data-state=done]")).to_be_visible(timeout=LIMIT)
    expect(operator.locator("#list tr[data-result=done]")).to_have_count(3)
    expect(operator.locator("[data-number=done]")).to_have_text("3")
    requested: list[str] = []
    operator.on("request", lambda request: requested.append(request.url))
    operator.wait_for_timeout(3000)
    assert [url for url in requested if "/bulk/" in url] == []


def test_it_works_without_javascript(
    browser: Any, browser_context_args: dict[str, Any], open_signed_in: Enter, operator: Page
) -> None:
    context = browser.new_context(**{**browser_context_args, "java_script_enabled": False})
    page = context.new_page()
    open_signed_in(page, "operator")
    page.goto("/causes?rule=auth_failed")
    page.locator("a.row-link").first.click()
    page.get_by_role("link", name=re.compile("Make reauthorisation links for all")).click()
    page.fill("#why", "their consent ran out")
    try_on_one(page)

    def reload_until(selector: str) -> None:
        for _ in range(60):
            if page.locator(selector).count():
                return
            page.locator("#bulk a:has-text('Look again')").click()
            page.wait_for_timeout(500)
        raise AssertionError(page.locator("#bulk").inner_text())

    reload_until("#bulk[data-state=tried]")
    page.get_by_role("button", name=re.compile("Go on with the other")).click()
    reload_until("#bulk[data-state=done]")
    links = page.locator("a[id^=link-]")
    assert links.count() > 1
    assert "/sandbox/consent/" in (links.first.get_attribute("href") or "")
    context.close()


def test_no_state_of_a_job_has_a_serious_barrier_nor_overflows_a_phone(operator: Page) -> None:
    page, problems = operator, dict[str, list[str]]()

    def check(state: str) -> None:
        problems[state] = barriers(page)

    page.goto("/causes?rule=auth_failed")
    page.locator("a.row-link").first.click()
    page.get_by_role("link", name=re.compile("Sync all")).click()
    page.fill("#why", "the vendor mended it")
    check("confirm")
    try_on_one(page)
    expect(page.locator("#bulk[data-state=tried]")).to_be_visible(timeout=LIMIT)
    expect(page.locator("#bulk")).to_contain_text("It failed here")
    check("tried")
    page.get_by_role("button", name=re.compile("Go on all the same")).click()
    expect(page.locator("#bulk[data-state=running]")).to_be_visible(timeout=LIMIT)
    check("running")
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#bulk[data-state=cancelled]")).to_be_visible(timeout=LIMIT)
    check("cancelled")
    page.goto("/bulk")
    check("list")
    assert {state: found for state, found in problems.items() if found} == {}
