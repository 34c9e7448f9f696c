"""Every page and form with every fault: message, requests, audit trail, snapshot."""

import html
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from werkzeug.test import TestResponse

from dashboard import peliqan
from tests.api_faults.conftest import Desks
from tests.api_faults.console import DOORS, Door
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
READING = [door for door in DOORS if not door.starts]
PRESSES = [door for door in DOORS if door.starts]
FASTEST = 3.0
PAGES = (f"/accounts/{ACCOUNT}", f"/accounts/{ACCOUNT}/connections/{CONNECTION}", "/connections")
# The pages that draw what they read, each once.
DRAWN = [
    door
    for door in READING
    if not door.path.endswith(("/check", "/connected", "/exports", ".parquet", "/reveal", "/masks"))
]


def says_so(answer: TestResponse) -> bool:
    """Return whether a response reports the fault: a sentence for people, a code for scripts."""
    if answer.is_json:
        return answer.json["error"] in CODES
    text = html.unescape(answer.text)
    # With several tables the message names the unreadable one.
    return any(sentence in text for sentence in (*SENTENCES, "could not be read: “exact_invoices”"))


def is_in_order(door: Door, answer: TestResponse) -> bool:
    """No page is an internal error; statuses of 500 and more come with a message."""
    return answer.status_code < 500 or (answer.status_code in SAID and says_so(answer))


@pytest.mark.parametrize(
    ("fault", "turn"), zip(FAULTS, count(), strict=False), ids=[fault.name for fault in FAULTS]
)
def test_every_page_says_in_words_what_happened_and_what_is_known_stays(
    raw_server: RawServer, calm: Desks, fault: Fault, turn: int
) -> None:
    desk = calm.for_fault(fault)
    before, wrong = desk.known(), {}

    def look(door: Door) -> tuple[TestResponse, float]:
        desk.parts.api.breaker.record_answer()
        began = time.monotonic()
        return desk.go(door), time.monotonic() - began

    doors = [(door, door.asks[turn % len(door.asks)]) for door in READING]
    for name in sorted({name for _, name in doors}):
        mine = [door for door, asked in doors if asked == name]
        with raw_server.misbehaving(fault.play, name):
            # Slow requests run at the same time.
            with ThreadPoolExecutor(len(mine) if fault.impatient else 1) as pool:
                found = list(pool.map(look, mine))
        for door, (answer, took) in zip(mine, found, strict=True):
            told = (
                fault.error is None
                or fault.only
                or says_so(answer)
                or BY_NAME[name].plain
                or fault.leaves_another_way(name)
            )
            if not is_in_order(door, answer) or not told or took > FASTEST:
                wrong[door.path] = (name, answer.status_code, round(took, 1), answer.text[-1500:])
    assert not wrong
    assert desk.known() == before


def ends_as(door: Door, fault: Fault) -> tuple[str, int]:
    """Check the audit trail and the number of requests; two only after a refused token."""
    renewed = fault.name.startswith("401") and door.starts != "integrate"
    if fault.error is None and renewed:
        return "pending", 2
    if door.what == "sync" and (fault.unknown or fault.error is peliqan.Busy):
        return "pending", 1
    return "failed", 2 if renewed else 1


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if not fault.only], ids=lambda fault: fault.name
)
def test_what_starts_something_is_sent_once_and_its_end_is_written_down(
    raw_server: RawServer, calm: Desks, fault: Fault
) -> None:
    desk = calm.for_fault(fault)

    def press(door: Door) -> Any:
        answer = desk.go(door)
        return answer, desk.entry(door.what)

    with raw_server.misbehaving(fault.play, *(door.starts for door in PRESSES)):
        with ThreadPoolExecutor(len(PRESSES) if fault.impatient else 1) as pool:
            found = list(pool.map(press, PRESSES))
        sent = dict(raw_server.asked)
    for door, (answer, entry) in zip(PRESSES, found, strict=True):
        assert is_in_order(door, answer), (door, answer.status_code, answer.text[-1500:])
        assert (entry.result, sent[door.starts]) == ends_as(door, fault), (door, entry.detail)
        if entry.result == "failed":
            kind = (
                fault.unrenewed if door.starts == "integrate" and fault.unrenewed else fault.error
            )
            assert kind is not None
            assert kind.sentence in entry.detail


def fields_of(door: Door) -> list[tuple[str, str, str, Any]]:
    return [
        (name, path, what, answer)
        for name in door.asks
        for path, what, answer in variants(BY_NAME[name].good)
    ]


@pytest.mark.parametrize("door", DRAWN, ids=lambda door: door.path)
def test_a_page_is_drawn_whatever_field_is_null_or_missing(
    raw_server: RawServer, calm: Desks, door: Door
) -> None:
    desk, wrong = calm.patient, {}
    for name, path, what, answer in fields_of(door):
        with raw_server.answering(**{name: answer}):
            seen = desk.go(door)
        if not is_in_order(door, seen):
            wrong[name, path, what] = (seen.status_code, seen.text[-1500:])
        if "server" in door.asks:
            wrong |= {
                (name, path, what, page): found.status_code
                for page in PAGES
                if (found := desk.see(page)).status_code != 200
            }
        desk.forget()
    assert not wrong
    desk.read_fleet()
