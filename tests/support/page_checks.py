"""The checks that every page passes which a test opens as a user."""

from bs4 import BeautifulSoup


def check_page(soup: BeautifulSoup, path: str) -> None:
    """Check: one heading, unique ids, every form with an action, every POST with a token."""
    assert len(soup.find_all("h1")) == 1, f"{path} has not exactly one h1"
    ids = [element["id"] for element in soup.find_all(id=True)]
    assert len(ids) == len(set(ids)), (
        f"{path} has an id twice: {sorted({each for each in ids if ids.count(each) > 1})}"
    )
    for form in soup.find_all("form"):
        assert form.get("action"), f"{path} has a form without action"
        if str(form.get("method", "")).lower() == "post":
            assert form.find("input", {"name": "csrf_token"}), (
                f"{path} has a form without its token"
            )
