"""A console served by ``dashboard demo``, and the system's Chromium."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.support.databases import free_port
from tests.support.demo import Demo, Enter, end_demo, start_demo

# Milliseconds: other tests share the machine, and Playwright's five seconds are too few then.
expect.set_options(timeout=20_000)
CHROMIUM = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = start_demo(tmp_path_factory.mktemp("demo"), free_port())
    yield running
    end_demo(running)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's Chromium, without its sandbox for root, and without outside requests."""
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    assert found, "These tests need Chromium: apt install chromium"
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--no-first-run",
    ]
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {
        **browser_type_launch_args,
        "executable_path": found,
        "args": ["--disable-gpu", *quiet, *sandbox],
    }


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any], demo: Demo) -> dict[str, Any]:
    return {
        **browser_context_args,
        "base_url": demo.url,
        "timezone_id": "Europe/Brussels",
        "viewport": {"width": 1280, "height": 900},
    }


@pytest.fixture
def browser_errors(page: Page) -> Iterator[list[str]]:
    """The browser console's errors; a test that uses this fixture must end with none."""
    errors: list[str] = []

    def record(message: ConsoleMessage) -> None:
        if message.text.startswith("htmx:sendAbort"):
            # A poll that a press aborted: htmx reports the end first, then the reason.
            assert errors.pop().startswith("htmx:afterRequest")
        elif message.type in {"error", "warning"}:
            errors.append(message.text)

    page.on("console", record)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield errors
    assert errors == []


@pytest.fixture(scope="session")
def signed_in() -> dict[str, Any]:
    """The cookies of signed-in users: sign-ins are limited, and there are many tests."""
    return {}


@pytest.fixture
def open_signed_in(demo: Demo, signed_in: dict[str, Any]) -> Enter:
    """Sign a user in on a page, with the stored cookies of an earlier sign-in if any."""

    def go(page: Page, role: str) -> None:
        if role in signed_in:
            page.context.add_cookies(signed_in[role])
            page.goto("/")
        else:
            page.goto("/login")
            page.get_by_label("E-mail").fill(f"{role}@example.com")
            page.get_by_label("Password").fill(demo.passwords[role])
            page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Overview", exact=True).wait_for()
        signed_in[role] = page.context.cookies()

    return go


@pytest.fixture
def sign_in(page: Page, open_signed_in: Enter) -> Callable[[str], Page]:
    def go(role: str) -> Page:
        open_signed_in(page, role)
        return page

    return go


@pytest.fixture
def operator(sign_in: Callable[[str], Page], demo: Demo) -> Page:
    """An operator at a console whose first refresh is complete."""
    page = sign_in("operator")
    page.get_by_text("200 of 200 accounts read").wait_for(timeout=90_000)
    return page
