"""Unreadable requests get the right status and a message, as page and as JSON."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from dashboard.core.database import db
from tests.support.people import Person, words

BAD = [
    ("/connections?page=0", 400),
    ("/connections?page=-1", 400),
    ("/connections?page=abc", 400),
    ("/connections?page=1000000000000", 404),
    ("/connections?per_page=100000", 400),
    ("/connections?per_page=0", 400),
    ("/connections?sort=nonsense", 400),
    ("/connections?sort=--name", 400),
    ("/connections?severity=nonsense", 400),
    ("/connections?account=abc", 400),
    ("/connections?q=" + "x" * 10_000, 400),
    ("/connections?q=%00", 400),
    ("/accounts?readable=perhaps", 400),
    ("/accounts/abc", 404),
    ("/accounts/99999999", 404),
    ("/accounts/" + "9" * 40, 404),
    ("/accounts/1001/connections/abc", 404),
    ("/accounts/1001/connections/1", 404),
    ("/accounts/1002/connections/100101", 404),
    ("/accounts/1001/databases/7", 404),
    ("/accounts/1001/tables/7", 404),
    ("/accounts/1001/tables/10011900?page=99", 404),
    ("/accounts/1001/tables/10011900?sort=Nowhere", 400),
    ("/accounts/1001/tables/10011900/rows/99999", 404),
    ("/accounts/1001/connections/100101/runs/1", 404),
    ("/nowhere", 404),
    ("/receipts?verdict=perhaps", 400),
    ("/receipts?account=abc", 400),
    ("/receipts?page=99", 404),
]


@pytest.mark.parametrize(("path", "status"), BAD)
def test_what_cannot_be_read_is_a_page_with_a_sentence_and_a_next_step(
    viv: Person, path: str, status: int
) -> None:
    soup = viv.get(path, status)
    assert soup.select_one(".empty-title")
    assert "Go to the overview" in words(soup)
    assert "Traceback" not in words(soup)


@pytest.mark.parametrize(
    ("path", "status"),
    [(path, status) for path, status in BAD if path.startswith(("/connections?", "/accounts?"))],
)
def test_scripts_get_the_same_as_json(viv: Person, path: str, status: int) -> None:
    body = viv.json(path.replace("?", ".json?"), status)
    assert set(body) == {"error", "detail"}
    assert body["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/connections?q=%ff%fe",
        "/connections?q=%25_",
        "/connections?status=NOPE",
        "/accounts?q=%F0%9F%8D%95",
    ],
)
def test_odd_but_readable_input_is_an_ordinary_list(viv: Person, path: str) -> None:
    viv.get(path)


def test_percent_and_underscore_are_searched_as_they_are(viv: Person) -> None:
    assert viv.json("/accounts.json?q=%25")["total"] == 0
    assert viv.json("/connections.json?q=exact_online")["total"] > 0
    assert viv.json("/connections.json?q=exactXonline")["total"] == 0


def test_a_database_that_is_away_is_said_with_503_and_all_recovers_by_itself(
    viv: Person, app: Flask
) -> None:
    with app.app_context():
        engine = db.engine
        db.session.remove()

        def refuse(*_: Any) -> None:
            raise OperationalError("SELECT 1", {}, Exception("connection refused"))

        event.listen(engine, "before_cursor_execute", refuse)
        try:
            for path, headers in (
                ("/connections", {}),
                ("/connections.json", {}),
                ("/", {"HX-Request": "true"}),
            ):
                response = viv.client.get(path, headers=headers)
                assert (response.status_code, response.headers["Retry-After"]) == (503, "10"), path
                assert "database does not answer" in response.text
            assert viv.client.get("/healthz").status_code == 200
            assert viv.client.get("/readyz").status_code == 503
        finally:
            event.remove(engine, "before_cursor_execute", refuse)
    assert viv.client.get("/connections").status_code == 200


def test_static_files_are_kept_for_a_year_by_their_fingerprint(viv: Person) -> None:
    page = viv.get("/connections")
    addresses = [each["href"] for each in page.select("link[rel=stylesheet]")] + [
        each["src"] for each in page.select("script[src]")
    ]
    assert len(addresses) >= 3
    for address in addresses:
        assert "?v=" in address
        assert "max-age=31536000" in viv.client.get(address).headers["Cache-Control"]
    assert "immutable" not in viv.client.get("/static/console.css").headers["Cache-Control"]
