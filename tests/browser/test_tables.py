"""The table browser in a real browser: rows, prefetched pages, menus, full values."""

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.support.demo import Demo

EVERYTHING, MILLION, WIDE = (f"/accounts/1001/tables/1001190{n}" for n in (0, 2, 3))
CONTACTS = "/accounts/1001/tables/10011031"


def test_the_next_page_is_there_before_it_is_asked_for_and_back_leads_back(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(MILLION)
    following = operator.locator("a[rel=next]")
    with operator.expect_response(re.compile(r"page=2")):
        following.hover()
    requested: list[str] = []
    operator.on(
        "request",
        lambda request: requested.append(request.url) if "page=2" in request.url else None,
    )
    following.click()
    expect(operator.locator(".pager-here")).to_have_text(re.compile(r"Page 2 of"))
    assert requested == []
    assert operator.url.endswith("?page=2")
    # Content that the test inserts is processed like htmx's own.
    operator.locator("a[rel=next]").click()
    expect(operator.locator(".pager-here")).to_have_text(re.compile(r"Page 3 of"))
    operator.go_back()
    expect(operator.locator(".pager-here")).to_have_text(re.compile(r"Page 2 of"))
    operator.go_back()
    expect(operator.locator(".pager-here")).to_have_text(re.compile(r"Page 1 of"))


def test_the_form_of_conditions_knows_the_columns_type(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(EVERYTHING)
    operator.locator("#add-column").select_option("Due")
    assert operator.locator("#add-kind").input_value() == "date_is"
    assert operator.locator("#add-value").get_attribute("type") == "date"
    operator.locator("#add-kind").select_option("empty")
    expect(operator.locator("#add-value")).to_be_hidden()
    operator.locator("#add-kind").select_option("date_is")
    operator.locator("#add-value").fill("2026-02-02")
    operator.get_by_role("button", name="Add").click()
    expect(operator.locator(".rows-condition")).to_have_text(["Due is on 2026-02-02"])
    expect(operator.locator(".pager")).to_contain_text("of 15 rows")
    operator.get_by_label("Remove the condition").click()
    expect(operator.locator(".pager")).to_contain_text("of 60 rows")


def test_a_few_of_two_hundred_columns_are_found_and_chosen(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(WIDE)
    operator.locator("summary", has_text="Columns").click()
    operator.get_by_role("button", name="None").click()
    operator.get_by_label("Find a column").fill("column 19")
    expect(operator.locator(".rows-ticks .form-check:visible")).to_have_count(10)
    operator.get_by_role("button", name="All").click()
    operator.get_by_role("button", name="Show these").click()
    expect(operator.locator(".rows thead .sort-link")).to_have_count(10)
    expect(operator.locator("summary", has_text="Columns (10 of 200)")).to_be_visible()


def test_rows_that_take_long_leave_the_page_free_and_a_failure_is_said_in_their_place(
    operator: Page, demo: Demo
) -> None:
    faults = f"{demo.sandbox}/sandbox/control/faults"
    try:
        requests.post(
            faults, json={"route": "rows", "delay_ms": 1500}, timeout=30
        ).raise_for_status()
        operator.goto(EVERYTHING)
        expect(operator.get_by_text("Asking Peliqan for the rows")).to_be_visible()
        # Rows have that, too: whichever response is there at that moment.
        operator.locator("#filter-q").type("alert")
        expect(operator.locator(".rows tbody tr").first).to_be_visible()
        assert operator.locator("#filter-q").input_value() == "alert"
        requests.delete(faults, timeout=30)
        requests.post(faults, json={"route": "rows", "status": 500}, timeout=30).raise_for_status()
        operator.goto(EVERYTHING)
        expect(operator.locator("#rows .alert")).to_contain_text("internal error", timeout=15_000)
    finally:
        requests.delete(faults, timeout=30)


def test_a_whole_value_opens_in_a_dialog_and_is_copied(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.context.grant_permissions(["clipboard-read", "clipboard-write"])
    operator.goto(EVERYTHING)
    operator.locator("tr:nth-child(2) a.cell-more").first.click()
    expect(operator.locator("#cell-dialog")).to_be_visible()
    operator.locator("#cell-dialog").get_by_role("button", name="Copy").click()
    expect(operator.locator("#cell-dialog").get_by_role("button", name="Copied")).to_be_visible()
    assert operator.evaluate("navigator.clipboard.readText()") == "A very long text. " * 1200
    operator.get_by_role("button", name="Close").click()
    operator.locator("tr:nth-child(1) td:nth-child(2)").hover()
    operator.locator(".cell-copy").click()
    expect(operator.locator(".cell-copy")).to_have_text("Copied")
    assert operator.evaluate("navigator.clipboard.readText()") == "=1+1"


def test_masked_columns_are_shown_to_who_says_why(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(CONTACTS)
    expect(operator.locator(".rows .cell-masked").first).to_be_visible()
    operator.locator("summary", has_text="Show masked columns").click()
    operator.get_by_label("Why do you need to see them?").fill(
        "The customer asks which address we have."
    )
    operator.get_by_role("button", name="Show them to me").click()
    expect(operator.locator(".rows-until")).to_contain_text("masked columns until")
    expect(operator.get_by_text("contact1@example.com")).to_be_visible()


def test_without_scripts_rows_conditions_and_columns_work_by_plain_forms(
    operator: Page,
    browser: Browser,
    browser_context_args: dict[str, Any],
    signed_in: dict[str, Any],
) -> None:
    context = browser.new_context(**{**browser_context_args, "java_script_enabled": False})
    context.add_cookies([each for each in signed_in["operator"] if each["name"] != "tz"])
    page = context.new_page()
    page.goto(EVERYTHING)
    expect(page.locator(".rows tbody tr")).to_have_count(50)
    page.locator("#add-column").select_option("Stars")
    page.locator("#add-kind").select_option("equal")
    page.locator("#add-value").fill("5")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".rows-condition")).to_have_text(["Stars is 5"])
    page.locator("summary", has_text=re.compile(r"^\s*Columns")).click()
    for box in page.locator(".rows-ticks input").all()[2:]:
        box.uncheck()
    page.get_by_role("button", name="Show these").click()
    expect(page.locator(".rows thead .sort-link")).to_have_count(2)
    expect(page.locator(".rows tbody tr")).to_have_count(10)
    context.close()


def test_the_head_and_the_first_column_stay_while_one_scrolls(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto(WIDE)
    scroller, head, first = (
        operator.locator(each)
        for each in (
            ".rows-scroll",
            ".rows thead th:nth-child(3)",
            ".rows tbody tr:nth-child(20) th",
        )
    )
    first.wait_for()
    before = head.bounding_box(), first.bounding_box()
    scroller.evaluate("box => box.scrollTo(600, 300)")
    after = head.bounding_box(), first.bounding_box()
    assert all(before)
    assert all(after)
    assert after[0]["y"] == before[0]["y"]  # type: ignore[index]
    assert after[0]["x"] < before[0]["x"]  # type: ignore[index]
    assert after[1]["x"] == before[1]["x"]  # type: ignore[index]
    assert after[1]["y"] < before[1]["y"]  # type: ignore[index]


def test_rows_that_failed_come_with_try_again_and_health_opens_in_place(
    operator: Page, demo: Demo
) -> None:
    fault = f"{demo.sandbox}/sandbox/control/faults"
    requests.post(
        fault, json={"route": "rows", "match": "10011900", "status": 503}, timeout=30
    ).raise_for_status()
    operator.goto(f"{EVERYTHING}?sort=-Stars")
    again = operator.locator("#rows").get_by_role("link", name="Try again")
    again.wait_for()
    requests.delete(fault, timeout=30)
    again.click()
    expect(operator.locator(".rows tbody tr")).to_have_count(50)
    assert operator.url.endswith("?sort=-Stars")
    operator.get_by_role("link", name="Health").click()
    expect(operator.locator("#table-health dl")).to_contain_text("among the 50 rows of page 1")
    expect(operator.locator(".rows tbody tr")).to_have_count(50)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_search_goes_on_by_itself_to_its_answer(
    operator: Page, browser_errors: list[str], theme: Any
) -> None:
    operator.emulate_media(color_scheme=theme)
    operator.goto("/accounts/1001/connections/100102")
    operator.get_by_label("Is it in there?", exact=True).fill("no such value anywhere")
    operator.get_by_role("button", name="Search its tables").click()
    expect(operator.locator("#search [role=status]")).to_contain_text(
        "Not found in the", timeout=20_000
    )
    operator.set_viewport_size({"width": 390, "height": 800})
    assert operator.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
