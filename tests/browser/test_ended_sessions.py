"""After the end of a session no tab of the browser shows data."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.databases import wait_for
from tests.support.demo import Demo

KEPT = "() => [...Object.values(localStorage), ...Object.values(sessionStorage)]"


@pytest.fixture
def viewer(page: Page, demo: Demo) -> Page:
    """A session of the test's own, which it ends."""
    page.goto("/login")
    page.get_by_label("E-mail").fill("viewer@example.com")
    page.get_by_label("Password").fill(demo.passwords["viewer"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("200 of 200 accounts read").wait_for(timeout=90_000)
    return page


def open_another(page: Page) -> Page:
    other = page.context.new_page()
    other.goto("/accounts/1001")
    expect(other.get_by_role("heading", level=1)).to_have_text("Amber Foods BV")
    return other


def wait_until_all_is_fetched(*tabs: Page) -> None:
    """Wait for the pages' own requests, which count as use."""
    for tab in tabs:
        tab.wait_for_load_state("networkidle")


def test_when_one_signs_out_the_other_tabs_leave_at_once(
    viewer: Page, browser_errors: list[str]
) -> None:
    other, third = open_another(viewer), open_another(viewer)
    viewer.get_by_role("button", name="Sign out").click()
    for tab in (viewer, other, third):
        expect(tab.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert set(tab.evaluate(KEPT)) <= {"/login", "light", "dark"}
        assert "Amber" not in tab.content()


def test_they_show_nothing_any_more_where_the_console_does_not_answer(viewer: Page) -> None:
    other = open_another(viewer)
    other.clock.install()
    viewer.context.set_offline(True)
    viewer.get_by_role("button", name="Sign out").click()
    expect(other.locator("body")).to_be_empty()
    assert "Amber" not in other.title()


def test_an_hour_without_use_empties_the_screen_and_use_in_another_tab_keeps_it(
    viewer: Page,
) -> None:
    viewer.clock.install()
    viewer.goto("/accounts/1001")
    other = open_another(viewer)
    wait_until_all_is_fetched(viewer, other)
    viewer.clock.fast_forward("50:00")
    viewer.evaluate(
        "() => { window.heard = 0; new BroadcastChannel('session of /').onmessage = "
        "() => { window.heard += 1 } }"
    )
    other.reload()
    wait_until_all_is_fetched(other)
    # Otherwise time would go on before the first tab has the message.
    wait_for(lambda: bool(viewer.evaluate("window.heard")), "the other tab's use is known")
    expect(other.get_by_role("heading", level=1)).to_have_text("Amber Foods BV")
    viewer.clock.fast_forward("50:00")
    expect(viewer.get_by_role("heading", level=1)).to_have_text("Amber Foods BV")
    requested: list[str] = []
    viewer.on("request", lambda request: requested.append(request.url))
    viewer.clock.fast_forward("10:02")
    viewer.wait_for_url(lambda url: "/accounts" not in url)
    assert requested[0].endswith("/login")
