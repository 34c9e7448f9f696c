"""The same error at many customers is one text; different errors stay different."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.findings.rules.error_texts import LONGEST, normalised, span


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "401 Client Error: Unauthorized for url:"
            " https://api.example.com/v1/1051/invoices?page=78 (invalid_grant)",
            "401 Client Error: Unauthorized for url:"
            " https://eu.api.example.com/v2/9/invoices (invalid_grant)",
        ),
        (
            'column "vat_code" is of type bigint (schema source_1, row 33)',
            'column "total" is of type bigint (schema source_2204, row 1)',
        ),
        (
            "consent 43 of connection 1032 expired on 2026-11-24",
            "consent 7 of connection 9 expired on 2025-01-02T03:04:05Z",
        ),
        (
            "HTTPSConnectionPool(host='api.a.example.com', port=443): Read timed out",
            "HTTPSConnectionPool(host='b.example.com', port=8443): Read timed out",
        ),
        (
            "task 0b9c6e1e-8a54-4b8f-9a1c-0a1b2c3d4e5f was lost",
            "task ffffffff-0000-4b8f-9a1c-000000000000 was lost",
        ),
        (
            "mail to ann@example.com bounced at 10:42",
            "mail to bob.b@mail.example.org bounced at 23:01:59",
        ),
        ("Verbinding met 10.0.0.1:5432 geweigerd", "Verbinding met 192.168.1.77:5433 geweigerd"),
        ("Rate limit: 1,000 calls, 3.5 s left", "Rate limit: 20 calls, 900 s left"),
        (
            "object 5f4dcc3b5aa765d61d8327deb882cf99 is gone",
            "object e99a18c428cb38d5f260853678922e03 is gone",
        ),
        ("Two\n  lines", "two lines"),
    ],
)
def test_what_differs_from_customer_to_customer_is_taken_out(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("401 Client Error: Unauthorized", "403 Client Error: Forbidden"),
        ("Read timed out", "Connection refused"),
        ("invalid_grant: token has been expired", "invalid_client: unknown client"),
    ],
)
def test_different_errors_stay_different(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


def test_the_words_stay_readable() -> None:
    text = (
        "401 Client Error: Unauthorized for url: https://x.example.com/1"
        " (invalid_grant: Token has been expired or revoked.)"
    )
    assert (
        normalised(text) == "# client error: unauthorized for url: <url>"
        " (invalid_grant: token has been expired or revoked.)"
    )


@given(st.text(max_size=3000))
def test_no_text_is_too_odd_and_taking_out_twice_changes_nothing_more(text: str) -> None:
    once = normalised(text)
    assert len(once) <= LONGEST
    assert "\n" not in once


def test_an_apostrophe_in_a_word_is_no_quote() -> None:
    assert normalised("the account's token doesn't work") == "the account's token doesn't work"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7380, "2 h 3 min"),
        (90061, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_a_span_is_said_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text
