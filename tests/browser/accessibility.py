"""Accessibility checks: axe-core's findings, and sideways scrolling on phones."""

from pathlib import Path

from playwright.sync_api import Page

AXE = (Path(__file__).parent.parent / "vendor" / "axe.min.js").read_text()
RUN = (
    "async rules => (await axe.run(document, {iframes: false, "
    "...(rules.length && {runOnly: rules})})).violations"
)


def barriers(page: Page) -> list[str]:
    """Return serious and critical findings with their elements; restore light and wide."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.evaluate(AXE)
    found = _findings(page)
    page.set_viewport_size({"width": 390, "height": 800})
    if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
        found.append("overflows at 390 px")
    page.set_viewport_size({"width": 1280, "height": 900})
    # Positions and names are the same in the dark.
    page.emulate_media(color_scheme="dark")
    page.locator("html[data-bs-theme=dark]").wait_for(state="attached")
    found += [f"in the dark: {each}" for each in _findings(page, "color-contrast")]
    page.emulate_media(color_scheme="light")
    return found


def _findings(page: Page, *rules: str) -> list[str]:
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']][:4]}"
        for each in page.evaluate(RUN, list(rules))
        if each["impact"] in {"serious", "critical"}
    ]
