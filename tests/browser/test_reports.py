"""Trend, timeline and the page of changes, as only a browser shows them."""

from typing import Any

from playwright.sync_api import Page, expect

from tests.support.databases import wait_for
from tests.support.demo import Enter

DRAWN = """() => {
  const canvas = document.querySelector('#trend-chart canvas');
  const {width, height} = canvas;
  const copy = Object.assign(document.createElement('canvas'), {width, height});
  const context = copy.getContext('2d', {willReadFrequently: true});
  context.drawImage(canvas, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] > 250) colours.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
  }
  return [...colours];
}"""

TONE = """() => {
  const style = document.querySelector('.trend-toggle[data-severity=error] .trend-mark');
  return getComputedStyle(style).backgroundColor.match(/[0-9]+/g).join(',');
}"""


def test_the_trend_is_drawn_in_the_themes_colours_without_a_complaint(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/trend")
    canvas = operator.locator("#trend-chart canvas")
    expect(canvas).to_be_visible()
    tones = set()
    for _ in ("light", "dark"):
        tone = operator.evaluate(TONE)
        tones.add(tone)
        wait_for(
            lambda tone=tone: tone in operator.evaluate(DRAWN), "it is drawn in the theme's colour"
        )
        operator.locator("#theme").click()
    assert len(tones) == 2
    expect(canvas).to_have_count(1)
    # The numbers beside the names are those of the table's latest day.
    shown = operator.locator(".trend-toggle[data-severity=ok] [data-value]").inner_text()
    assert (
        shown == operator.locator("#trend-table tbody tr").first.locator("td").nth(5).inner_text()
    )


def test_a_line_is_drawn_or_left_out_by_its_button(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/trend")
    ok = operator.locator(".trend-toggle[data-severity=ok]")
    expect(ok).to_have_attribute("aria-pressed", "false")
    before = operator.evaluate(DRAWN)
    ok.focus()
    operator.keyboard.press("Enter")
    expect(ok).to_have_attribute("aria-pressed", "true")
    wait_for(lambda: len(operator.evaluate(DRAWN)) != len(before), "one line more is drawn")


def test_without_javascript_the_trend_is_its_table(
    browser: Any, browser_context_args: dict[str, Any], open_signed_in: Enter
) -> None:
    context = browser.new_context(**{**browser_context_args, "java_script_enabled": False})
    page = context.new_page()
    open_signed_in(page, "operator")
    page.goto("/trend")
    expect(page.locator("#trend-table tbody tr")).not_to_have_count(0)
    expect(page.locator("#trend-chart")).to_be_hidden()
    page.goto("/accounts/1048/timeline")
    first = page.locator(".event").first.inner_text()
    page.get_by_role("link", name="Earlier").click()
    assert page.locator(".event").first.inner_text() != first
    page.get_by_role("link", name="Back to the latest").click()
    assert page.locator(".event").first.inner_text() == first
    context.close()


def test_earlier_events_are_added_below_those_that_are_there(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.goto("/accounts/1048/timeline")
    expect(operator.locator(".event")).to_have_count(50)
    operator.get_by_role("link", name="Earlier").click()
    expect(operator.locator(".event").nth(50)).to_be_attached()
    times = operator.evaluate(
        "[...document.querySelectorAll('.event time')].map(each => each.dateTime)"
    )
    assert times == sorted(times, reverse=True)
    assert "before=" not in operator.url


def test_the_hand_over_is_copied_as_text_with_one_press(
    operator: Page, browser_errors: list[str]
) -> None:
    operator.context.grant_permissions(["clipboard-read", "clipboard-write"])
    operator.goto("/")
    operator.locator("a.since-link").click()
    operator.get_by_role("button", name="Copy as text").click()
    expect(operator.get_by_role("button", name="Copied")).to_be_visible()
    copied = operator.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Since ")
    for title in operator.locator("section li a.row-link").all_inner_texts():
        assert title in copied


def test_on_paper_there_is_neither_a_button_nor_the_night(
    browser: Any, browser_context_args: dict[str, Any], open_signed_in: Enter
) -> None:
    context = browser.new_context(**{**browser_context_args, "color_scheme": "dark"})
    page = context.new_page()
    open_signed_in(page, "operator")
    page.goto("/since")
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in (
        ".console-bar",
        ".btn-list",
        ".since-choice",
        "details.since-text",
        ".console-foot",
    ):
        expect(page.locator(hidden)).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ink = page.evaluate(
        "getComputedStyle(document.querySelector('.since-line strong'))"
        ".color.match(/[0-9.]+/g).map(Number)"
    )
    assert max(ink[:3]) < 120
    context.close()
