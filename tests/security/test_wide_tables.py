"""A table of 300 columns with long names: addresses stay short through nginx and gunicorn."""

import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from bs4 import BeautifulSoup, Tag

from tests.security.served_console import serving
from tests.support.nginx import Nginx
from tests.support.people import PASSWORD
from tests.support.sample_tables import ACCOUNT, TABLE, OwnTable
from tests.support.sandbox import Sandbox

PATH = f"/accounts/{ACCOUNT}/tables/{TABLE}"
LONGEST_ADDRESS = 2_000
COLUMNS = [
    f"Umsatz & Erlöse, monthly / as of the source system’s end {number:03d}"
    for number in range(300)
]
assert {len(name) for name in COLUMNS} == {60}


class Browser:
    """A browser without scripts: links and forms, whose addresses must all be short."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()

    def request(self, method: str, target: str, **more: object) -> requests.Response:
        response = self.session.request(method, urljoin(self.url, target), timeout=60, **more)  # type: ignore[arg-type]
        for each in [*response.history, response]:
            assert len(each.url.removeprefix(self.url)) < LONGEST_ADDRESS, (
                f"{each.url[:120]}… has {len(each.url)} characters"
            )
        assert response.status_code == 200, f"{response.status_code} {response.text[:300]}"
        return response

    def page(self, response: requests.Response) -> BeautifulSoup:
        for link in re.findall(r'\b(?:href|action|hx-get|hx-post)="([^"]*)"', response.text):
            assert len(unescape(link)) < LONGEST_ADDRESS, link[:300]
        return BeautifulSoup(response.text, "html.parser")

    def open(self, target: str) -> tuple[str, BeautifulSoup]:
        """Follow a link; return its address and its page."""
        response = self.request("GET", target)
        return response.url.removeprefix(self.url), self.page(response)

    def submit(self, form: Tag, **typed: object) -> tuple[str, BeautifulSoup]:
        """Fill in a form and send it; return the address and the page."""
        fields: dict[str, list[str]] = {}
        for field in form.select("input[name]"):
            if field.get("type") == "checkbox" and not field.has_attr("checked"):
                continue
            fields.setdefault(str(field["name"]), []).append(str(field.get("value", "")))
        fields |= {
            name: value if isinstance(value, list) else [str(value)]
            for name, value in typed.items()
        }
        method = str(form.get("method", "get")).upper()
        response = self.request(
            method, str(form["action"]), **{"data" if method == "POST" else "params": fields}
        )
        return response.url.removeprefix(self.url), self.page(response)

    def sign_in(self, email: str, target: str = "/login") -> tuple[str, BeautifulSoup]:
        where, page = self.open(target)
        assert where.startswith("/login")
        return self.submit(one(page, "form[method=post]"), email=email, password=PASSWORD)


def one(page: BeautifulSoup | Tag, selector: str) -> Tag:
    found = page.select_one(selector)
    assert found is not None, selector
    return found


def shown(page: BeautifulSoup) -> list[int]:
    """Return the numbers of the columns that the page shows."""
    heads = [
        words.get_text()
        for words in page.select(".rows thead th .sort-link, .rows thead th > span")
    ]
    ticked = [str(box["value"]) for box in page.select(".rows-ticks input[checked]")]
    assert len(heads) == len(ticked)
    return [COLUMNS.index(name) for name in ticked]


@pytest.fixture(scope="module")
def nginx(
    filled_store: Path, sandbox_server: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("wide")
    shutil.copy(filled_store / "console.db", folder / "console.db")
    requests.post(f"{sandbox_server.url}/sandbox/control/reset", timeout=5)
    own = OwnTable(columns=dict.fromkeys(COLUMNS, "text"))
    for number in range(1, 25):
        own.put(
            number, "", **{COLUMNS[0]: f"first {number:03d}", COLUMNS[299]: f"last {number % 2}"}
        )
    with pytest.MonkeyPatch.context() as patch:
        own.install(sandbox_server, patch)
        with serving("gunicorn wsgi:app", sandbox_server.url, folder) as console:
            nginx_folder = tmp_path_factory.mktemp("nginx")
            running = Nginx(nginx_folder, console.url)
            yield running
            running.stop()


@pytest.fixture(scope="module")
def olga(nginx: Nginx) -> Browser:
    browser = Browser(nginx.default)
    browser.sign_in("olga@example.com")
    return browser


def _check_shared_link(
    nginx: Nginx, filtered: str, second: str, expected: list[int], url: str
) -> None:
    viv = Browser(nginx.default)
    landed, page = viv.sign_in("viv@example.com", filtered)
    assert landed == filtered
    assert shown(page) == expected
    assert "of 12 rows" in one(page, ".pager").get_text()
    _, page = viv.open(f"{PATH}?per_page=5")
    again, _ = viv.submit(
        one(page, "form.rows-panel:has(.rows-ticks)"),
        column=[COLUMNS[number] for number in expected],
    )
    assert again == url
    viv.open(second)


@pytest.mark.parametrize("unticked", [1, 150, 299])
def test_columns_are_unticked_and_everything_after_it_has_a_short_address(
    nginx: Nginx, olga: Browser, unticked: int
) -> None:
    _, page = olga.open(f"{PATH}?per_page=5")
    remaining = list(range(300))[: 300 - unticked]
    form = one(page, "form.rows-panel:has(.rows-ticks)")
    url, page = olga.submit(form, column=[COLUMNS[number] for number in remaining])
    assert shown(page) == remaining
    assert "of 24 rows" in one(page, ".pager").get_text()

    second, page = olga.open(str(one(page, "a[rel=next]")["href"]))
    assert shown(page) == remaining
    assert "Page 2 of 5" in one(page, ".pager").get_text()

    _, page = olga.open(str(one(page, ".rows thead a.sort-link")["href"]))
    _, page = olga.open(str(one(page, ".rows thead a.sort-link")["href"]))
    assert shown(page) == remaining
    assert "first 024" in one(page, ".rows tbody tr").get_text()

    # A hidden column, if there is one.
    condition = {"add_column": COLUMNS[299], "add_kind": "contains", "add_value": "last 1"}
    _, page = olga.submit(one(page, "form.rows-add"), **condition)
    assert shown(page) == remaining
    assert "of 12 rows" in one(page, ".pager").get_text()
    assert "first 023" in one(page, ".rows tbody tr").get_text()
    filtered, page = olga.open(str(one(page, "a[rel=next]")["href"]))
    assert "Page 2 of 3" in one(page, ".pager").get_text()

    csv = olga.request("GET", str(one(page, ".pager-twins a[href*='.csv']")["href"]))
    assert len(csv.text.splitlines()) == 6
    whole = olga.request("GET", f"{PATH}/export.csv?{urlsplit(filtered).query}")
    lines = whole.text.splitlines()
    assert len(lines) == 13
    assert "first 023" in lines[1]
    assert (COLUMNS[299] in lines[0]) == (299 in remaining)
    export, _ = olga.submit(one(page, "form[action$='/exports']"), format="csv")
    assert re.fullmatch(r"/exports/\d+", export)

    _, page = olga.open(str(one(page, ".rows-condition a")["href"]))
    assert "of 24 rows" in one(page, ".pager").get_text()
    assert shown(page) == remaining
    every, page = olga.open(
        str(next(link for link in page.select("a") if link.get_text() == "All columns")["href"])
    )
    assert "sort=" in every
    assert len(one(page, ".rows thead tr").select("th")) == 301

    # A colleague opens the link, signs in, and makes the same choice.
    _check_shared_link(nginx, filtered, second, remaining, url)


def test_a_search_goes_through_what_is_shown_or_says_that_it_cannot(olga: Browser) -> None:
    _, page = olga.open(f"{PATH}?per_page=5")
    form = one(page, "form.rows-panel:has(.rows-ticks)")
    _, page = olga.submit(form, column=COLUMNS[1:])
    _, page = olga.submit(one(page, "form.list-filters"), q="first 007")
    assert "of 0 rows" not in page.get_text()
    assert "Nothing matches" in page.get_text()
    _, page = olga.submit(one(page, "form.list-filters"), q="last 1")
    assert "of 12 rows" in one(page, ".pager").get_text()
    _, page = olga.submit(one(page, "form.list-filters"), q="")
    assert "of 24 rows" in one(page, ".pager").get_text()
    url, page = olga.submit(form, column=COLUMNS[::2])
    response = olga.session.get(urljoin(olga.url, f"{url}&q=last"), timeout=60)
    assert response.status_code == 400
    assert "150 of 300 columns are too many to name" in response.text


def test_an_address_of_before_that_names_all_its_columns_still_opens_where_the_proxy_lets_it_pass(
    nginx: Nginx, olga: Browser
) -> None:
    """Old bookmarks: the page's own links are short."""
    browser = Browser(nginx.deployed)
    browser.sign_in("olga@example.com")
    response = browser.session.get(
        f"{nginx.deployed}{PATH}", params={"column": COLUMNS[:150], "per_page": 5}, timeout=60
    )
    assert response.status_code == 200
    assert len(response.url) > 10_000
    assert shown(browser.page(response)) == list(range(150))
