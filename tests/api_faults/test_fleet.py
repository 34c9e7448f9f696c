"""Refreshes with every fault and with shrinking listings: stored data stay."""

import pytest
from bs4 import BeautifulSoup

from tests.api_faults.conftest import Consoles
from tests.api_faults.server import RawServer
from tests.api_faults.table import ACCOUNT, ACCOUNTS, CONNECTION, FAULTS, Fault
from tests.support.people import words

MISSING_TEXT = "Peliqan's listing has been without"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


# Two complete listings in a row have to omit an object before it is removed.
PASSES = {"sub_accounts": 2, "servers": 2, "runs": 1}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_passes_lose_nothing_that_was_known_and_say_what_they_could_not_read(
    raw_server: RawServer, reset_consoles: Consoles, fault: Fault
) -> None:
    console = reset_consoles.for_fault(fault)
    before = console.snapshot()
    for route, times in PASSES.items():
        console.services.api.breaker.record_answer()
        with raw_server.misbehaving(fault.play, route):
            results = [console.read_fleet() for _ in range(times)]
        # The partner's own token is not renewed, but the next refresh succeeds.
        error = fault.unrenewed if route == "sub_accounts" and fault.unrenewed else fault.error
        fails = error is not None and not (fault.only == "paged" and route == "runs")
        errors = [
            result.error or next(iter(result.unreadable.values()), None) for result in results
        ]
        assert (errors[0] is not None) is fails, (route, errors)
        assert console.snapshot() == before
        if fails and error is not None:
            assert error.sentence in str(errors[0])
    reset_consoles.patient.services.api.breaker.record_answer()
    assert reset_consoles.patient.read_fleet().unreadable == {}
    assert reset_consoles.patient.snapshot() == before


def test_a_listing_that_shrinks_to_nothing_is_not_believed_while_a_connection_answers(
    raw_server: RawServer, reset_consoles: Consoles
) -> None:
    console = reset_consoles.patient
    before = console.snapshot()
    with raw_server.answering(servers=[]):
        results = [console.read_fleet() for _ in range(3)]
    assert console.snapshot() == before
    assert {reason for result in results for reason in result.unreadable.values()} == {
        "Peliqan's answer could not be read. It lists no connection any more, "
        "though one of them is still there."
    }
    text = words(BeautifulSoup(console.see(f"/accounts/{ACCOUNT}").text, "html.parser"))
    assert "lists no connection any more" in text
    assert "its last known state" in text
    assert console.read_fleet().unreadable == {}


def test_a_listing_that_shrinks_to_nothing_is_believed_where_connections_are_gone_and_it_is_said(
    raw_server: RawServer, reset_consoles: Consoles
) -> None:
    console = reset_consoles.patient
    with (
        raw_server.answering(servers=[]),
        raw_server.misbehaving(lambda request: request.send(NOT_FOUND), "server"),
    ):
        assert console.read_fleet().unreadable == {}
        assert all(gone_at is None for *_, gone_at, _ in console.snapshot()["connections"])
        assert console.read_fleet().unreadable == {}
    assert all(gone_at is not None for *_, gone_at, _ in console.snapshot()["connections"])
    assert MISSING_TEXT in words(
        BeautifulSoup(console.see(f"/accounts/{ACCOUNT}").text, "html.parser")
    )
    assert MISSING_TEXT in words(
        BeautifulSoup(
            console.see(f"/accounts/{ACCOUNT}/connections/{CONNECTION}").text, "html.parser"
        )
    )
    assert console.read_fleet().unreadable == {}
    assert all(gone_at is None for *_, gone_at, _ in console.snapshot()["connections"])


def test_an_empty_list_of_accounts_is_not_believed_while_one_of_them_answers(
    raw_server: RawServer, reset_consoles: Consoles
) -> None:
    console = reset_consoles.patient
    before = console.snapshot()
    for empty in ([], {"data": [], "next": None}, {"results": []}):
        with raw_server.answering(sub_accounts=empty):
            errors = [console.read_fleet().error for _ in range(2)]
        assert all(error and "lists no account any more" in error for error in errors)
        assert console.snapshot() == before


def test_an_empty_list_of_accounts_is_believed_where_they_are_gone_and_they_come_back_when_they_do(
    raw_server: RawServer, reset_consoles: Consoles
) -> None:
    console = reset_consoles.patient
    with (
        raw_server.answering(sub_accounts=[]),
        raw_server.misbehaving(lambda request: request.send(NOT_FOUND), "sub_account"),
    ):
        assert [console.read_fleet().error for _ in range(2)] == [None, None]
    assert all(gone_at is not None for *_, gone_at in console.snapshot()["accounts"])
    assert console.read_fleet().error is None
    assert [gone_at for *_, gone_at in console.snapshot()["accounts"]] == [None] * len(ACCOUNTS)
