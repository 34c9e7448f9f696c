"""Error texts that report refused access, and others that only resemble them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.findings.rules.refused_access import refuses_access

REFUSED = [
    "401 Client Error: Unauthorized for url: https://api.example.com/v1/invoices?page=3",
    "HTTP/1.1 401",
    "status_code=401",
    "Could not read page: 401",
    '{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}',
    "Access token is expired",
    "token_expired",
    "ExpiredAccessToken",
    "Request failed: expired access token",
    "Request failed: expired_access_token",
    "The refresh token is invalid or has been used before.",
    "No refresh token available; please connect again.",
    "Unable to obtain a new access token from the refresh token.",
    "Missing required parameter: refresh_token",
    "oauth_refresh_token was revoked",
    "RefreshToken not found in the vault",
    "400 Client Error: Bad Request for url: https://start.example.com/api/oauth2/token"
    " (refresh token)",
    "Invalid chainid in request",
    "chainId=48213 is no longer active",
    "Unknown chain id 5",
    "CHAIN_ID: 77 was closed by the user",
    "SaltEdge::ConsentExpired: the consent 3 of connection 9 expired on 2026-11-20",
    "Authentication failed for user odoo",
    "Invalid API key",
    "Please re-authorize the application",
    "stream invoices: 401 Client Error",
]
OTHER = [
    "",
    "500 Server Error: Internal Server Error",
    "403 Client Error: Forbidden (module 'opportunities' is not licensed)",
    "HTTPSConnectionPool(host='api.example.com', port=443): Read timed out while reading page 401",
    "500 Server Error for url: https://api.example.com/v1/401/invoices?page=401",
    'column "vat_code" is of type bigint but expression is of type text'
    " (schema source_1001, row 401)",
    "401 rows were rejected by the target",
    "1,401 rows were written, then the connection was closed",
    "The upload took 401.5 s and was cut off at 12:00:01.401",
    "table refresh_tokens: 12 rows loaded; 500 Server Error",
    "refresh_tokens: duplicate key value violates unique constraint",
    'column "refresh_token" of relation "sessions" does not exist',
    "stream refresh_token: schema changed",
    'null value in column "chainid" violates not-null constraint',
    "No refresh token needed for this source. Read timed out.",
    "A refresh token is not required here; the file was not found.",
    "The refresh token was renewed. 502 Bad Gateway.",
    "Refresh token is valid, but the API is away (503)",
    "blockchainidentity service is away",
    "Pod pipeline-run-1001-401x was OOMKilled",
]


def cases(text: str) -> list[str]:
    return [text, text.upper(), text.lower(), text.replace(" ", "\n  ")]


@pytest.mark.parametrize("text", REFUSED)
def test_a_sign_of_refused_access_is_found_in_any_case_and_over_line_breaks(text: str) -> None:
    assert all(refuses_access(each) for each in cases(text))
    assert refuses_access(f"Traceback (most recent call last):\n{text}\nexit code 1")


@pytest.mark.parametrize("text", OTHER)
def test_what_only_looks_like_a_sign_is_none(text: str) -> None:
    assert not any(refuses_access(each) for each in cases(text))


@given(st.text(max_size=2000))
def test_any_text_has_an_answer(text: str) -> None:
    assert refuses_access(f"{text}. invalid_grant ") is True


@pytest.mark.parametrize(
    "piece", ["https://", "a", "column ", "row ", " ", "refresh token is ", "consent "]
)
def test_a_long_text_is_answered_at_once_by_its_beginning_and_its_end(piece: str) -> None:
    started_at = time.process_time()
    assert refuses_access(f"invalid_grant {piece * 500_000}")
    assert refuses_access(f"{piece * 500_000}. invalid_grant")
    assert time.process_time() - started_at < 2
