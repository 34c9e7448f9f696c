"""Every page and form with every fault: message, requests, audit trail, snapshot."""

import html
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from werkzeug.test import TestResponse

from dashboard import peliqan
from tests.api_faults.conftest import Consoles
from tests.api_faults.consoles import CONSOLE_REQUESTS, ConsoleRequest
from tests.api_faults.fields import variants
from tests.api_faults.server import RawServer
from tests.api_faults.table import ACCOUNT, BY_NAME, CONNECTION, FAULTS, Fault

SAID = {503, 502, 504}
SENTENCES = {
    kind.sentence
    for kind in (peliqan.PeliqanError, *peliqan.PeliqanError.__subclasses__(), peliqan.Busy)
}
CODES = {
    kind.code
    for kind in (peliqan.PeliqanError, *peliqan.PeliqanError.__subclasses__(), peliqan.Busy)
}
READING = [visit for visit in CONSOLE_REQUESTS if not visit.starts]
PRESSES = [visit for visit in CONSOLE_REQUESTS if visit.starts]
FASTEST = 3.0
PAGES = (f"/accounts/{ACCOUNT}", f"/accounts/{ACCOUNT}/connections/{CONNECTION}", "/connections")
# The pages that draw what they read, each once.
DRAWN = [
    visit
    for visit in READING
    if not visit.path.endswith(
        ("/check", "/connected", "/exports", ".parquet", "/reveal", "/masks")
    )
]


def says_so(response: TestResponse) -> bool:
    """Return whether a response reports the fault: a sentence for people, a code for scripts."""
    if response.is_json:
        return response.json["error"] in CODES
    text = html.unescape(response.text)
    # With several tables the message names the unreadable one.
    return any(sentence in text for sentence in (*SENTENCES, "could not be read: “exact_invoices”"))


def is_in_order(visit: ConsoleRequest, response: TestResponse) -> bool:
    """No page is an internal error; statuses of 500 and more come with a message."""
    return response.status_code < 500 or (response.status_code in SAID and says_so(response))


@pytest.mark.parametrize(
    ("fault", "turn"), zip(FAULTS, count(), strict=False), ids=[fault.name for fault in FAULTS]
)
def test_every_page_says_in_words_what_happened_and_what_is_known_stays(
    raw_server: RawServer, reset_consoles: Consoles, fault: Fault, turn: int
) -> None:
    console = reset_consoles.for_fault(fault)
    before, wrong = console.snapshot(), {}

    def load(visit: ConsoleRequest) -> tuple[TestResponse, float]:
        console.services.api.breaker.record_answer()
        started_at = time.monotonic()
        return console.send(visit), time.monotonic() - started_at

    routes = [(visit, visit.asks[turn % len(visit.asks)]) for visit in READING]
    for name in sorted({name for _, name in routes}):
        visits = [visit for visit, route in routes if route == name]
        with raw_server.misbehaving(fault.play, name):
            # Slow requests run at the same time.
            with ThreadPoolExecutor(len(visits) if fault.impatient else 1) as pool:
                found = list(pool.map(load, visits))
        for visit, (response, took) in zip(visits, found, strict=True):
            explained = (
                fault.error is None
                or fault.only
                or says_so(response)
                or BY_NAME[name].plain
                or fault.leaves_another_way(name)
            )
            if not is_in_order(visit, response) or not explained or took > FASTEST:
                wrong[visit.path] = (
                    name,
                    response.status_code,
                    round(took, 1),
                    response.text[-1500:],
                )
    assert not wrong
    assert console.snapshot() == before


def ends_as(visit: ConsoleRequest, fault: Fault) -> tuple[str, int]:
    """Check the audit trail and the number of requests; two only after a refused token."""
    renewed = fault.name.startswith("401") and visit.starts != "integrate"
    if fault.error is None and renewed:
        return "pending", 2
    if visit.what == "sync" and (fault.unknown or fault.error is peliqan.Busy):
        return "pending", 1
    return "failed", 2 if renewed else 1


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if not fault.only], ids=lambda fault: fault.name
)
def test_what_starts_something_is_sent_once_and_its_end_is_written_down(
    raw_server: RawServer, reset_consoles: Consoles, fault: Fault
) -> None:
    console = reset_consoles.for_fault(fault)

    def press(visit: ConsoleRequest) -> Any:
        response = console.send(visit)
        return response, console.entry(visit.what)

    with raw_server.misbehaving(fault.play, *(visit.starts for visit in PRESSES)):
        with ThreadPoolExecutor(len(PRESSES) if fault.impatient else 1) as pool:
            found = list(pool.map(press, PRESSES))
        sent = dict(raw_server.request_counts)
    for visit, (response, entry) in zip(PRESSES, found, strict=True):
        assert is_in_order(visit, response), (visit, response.status_code, response.text[-1500:])
        assert (entry.result, sent[visit.starts]) == ends_as(visit, fault), (visit, entry.detail)
        if entry.result == "failed":
            kind = (
                fault.unrenewed if visit.starts == "integrate" and fault.unrenewed else fault.error
            )
            assert kind is not None
            assert kind.sentence in entry.detail


def fields_of(visit: ConsoleRequest) -> list[tuple[str, str, str, Any]]:
    return [
        (name, path, what, body)
        for name in visit.asks
        for path, what, body in variants(BY_NAME[name].good)
    ]


@pytest.mark.parametrize("visit", DRAWN, ids=lambda visit: visit.path)
def test_a_page_is_drawn_whatever_field_is_null_or_missing(
    raw_server: RawServer, reset_consoles: Consoles, visit: ConsoleRequest
) -> None:
    console, wrong = reset_consoles.patient, {}
    for name, path, what, body in fields_of(visit):
        with raw_server.answering(**{name: body}):
            seen = console.send(visit)
        if not is_in_order(visit, seen):
            wrong[name, path, what] = (seen.status_code, seen.text[-1500:])
        if "server" in visit.asks:
            wrong |= {
                (name, path, what, page): found.status_code
                for page in PAGES
                if (found := console.see(page)).status_code != 200
            }
        console.forget()
    assert not wrong
    console.read_fleet()
