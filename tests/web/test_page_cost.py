"""The cost of pages: a fixed number of queries, and few bytes."""

import gzip

import pytest
from flask import Flask

from tests.support.people import Person
from tests.support.statements import counted

pytestmark = pytest.mark.both_engines


# User, counters, rows, version of the snapshot, and its age.
QUERIES = {
    "/connections": 4,
    "/connections?severity=error": 4,
    "/connections?q=amber": 4,
    "/connections?sort=-since": 4,
    "/connections.json": 4,
    "/connections.csv": 3,
    "/accounts": 4,
    "/accounts?connector=exact_online": 4,
    "/accounts.json": 4,
    "/": 8,
    "/causes": 8,
    "/findings": 5,
    "/bulk": 5,
    "/audit": 5,
    "/receipts": 5,
    "/webhooks": 7,
    "/alerts": 5,
    "/alerts/messages": 5,
    "/deliveries": 5,
    "/accounts/1001": 12,
    "/accounts/1001/timeline": 13,
    "/since": 7,
    "/trend": 4,
    "/desk": 9,
    "/desk/needed": 6,
    "/desk/banks": 6,
}


@pytest.mark.parametrize("path", QUERIES)
def test_a_page_asks_as_many_questions_for_two_hundred_rows_as_for_twenty_five(
    adam: Person, app: Flask, path: str
) -> None:
    statement_counts = {}
    for per_page in (25, 200):
        address = f"{path}{'&' if '?' in path else '?'}per_page={per_page}"
        # Counters are cached until the snapshot changes, so the second visit is typical.
        for _ in range(2):
            with counted(app) as statements:
                assert adam.client.get(address).status_code == 200
        statement_counts[per_page] = len(statements)
    assert statement_counts == {25: QUERIES[path], 200: QUERIES[path]}, "\n".join(statements)


def test_pages_and_static_files_travel_packed(adam: Person) -> None:
    headers = {"Accept-Encoding": "gzip, deflate, br"}
    for path in (
        "/connections",
        "/connections.json",
        "/static/console.css",
        "/static/vendor/icons.svg",
    ):
        whole, packed = adam.client.get(path), adam.client.get(path, headers=headers)
        assert "Content-Encoding" not in whole.headers
        assert packed.headers["Content-Encoding"] in {"gzip", "br"}, path
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert len(packed.data) < len(whole.data) / 2
        if packed.headers["Content-Encoding"] == "gzip":
            assert len(gzip.decompress(packed.data)) == pytest.approx(len(whole.data), rel=0.02)


def test_a_warm_page_load_transfers_less_than_thirty_kilobytes(adam: Person) -> None:
    for path in ("/", "/connections", "/accounts", "/audit"):
        assert len(adam.client.get(path, headers={"Accept-Encoding": "gzip"}).data) < 30_000
