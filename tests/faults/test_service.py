"""The service: every route with every fault. How often the server is asked is part of each answer."""

import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dashboard import peliqan
from dashboard.peliqan.routes import ROUTES, Route
from tests.faults.server import RawServer
from tests.faults.table import (
    ACCOUNT,
    BY_NAME,
    CASES,
    CUSTOMER,
    FAULTS,
    IN_NO_TIME,
    PARTNER,
    PATIENCE,
    UNREACHED,
    Case,
    Fault,
)

KNOWN = {route.name: route for route in ROUTES}
OLD = "old-secret-5555555555"


def client(url: str, *, impatient: bool = False) -> peliqan.Peliqan:
    """One retry, no waits; with a customer's token that was kept."""
    tokens = peliqan.MemoryTokens()
    tokens.put(ACCOUNT, OLD)
    patience = IN_NO_TIME if impatient else PATIENCE
    api = peliqan.Peliqan(url, PARTNER, tokens=tokens, read_timeout=patience, retries=1, backoff=0.0)
    # What is too large is told from a megabyte on: sixteen, two hundred times, take their time.
    api.transport.largest = 1 << 20
    return api


def came_of(call: Any) -> Any:
    """What a call gives: its answer, or the service's error; any other error is a mistake of ours."""
    try:
        return call()
    except peliqan.PeliqanError as error:
        return error


def expected(case: Case, route: Route, fault: Fault) -> tuple[type[peliqan.PeliqanError] | None, int, bool]:
    """The error, how often the server is asked, and whether something may have been started."""
    renews = not route.partner and route.name != "proxy_db"
    error = fault.error if renews or fault.unrenewed is None else fault.unrenewed
    if case.plain and fault.name == "a word":
        error = None
    if fault.only == "paged":
        # The second page, which is the first again.
        return error, 2, False
    if fault.name.startswith("401") and renews:
        return error, 2, False
    return error, 2 if fault.again and route.is_safe else 1, fault.unknown and route.once


def concerns(case: Case, fault: Fault) -> bool:
    if fault.only == "lists":
        told = case.good if not isinstance(case.good, dict) else case.good.get("data", case.good.get("results"))
        return isinstance(told, list)
    return fault.only != "paged" or case.paged


def secrets_in(error: peliqan.PeliqanError, server: RawServer) -> list[str]:
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.args) + repr(vars(error))
    return [secret for secret in (PARTNER, CUSTOMER, OLD, server.url, "/steal") if secret in told]


def test_every_route_has_its_line() -> None:
    assert [case.name for case in CASES] == [route.name for route in ROUTES]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_route_makes_of_it_what_the_table_says(raw_server: RawServer, fault: Fault) -> None:
    """A safe read is tried again only where that may help; what starts something reaches the server once, whatever happens; no
    error holds a token or an address, nor keeps one that does."""
    cases = [case for case in CASES if concerns(case, fault)]
    with raw_server.misbehaving(fault.play, *(case.name for case in cases)):
        # The token's own route misbehaves in its own line alone.
        raw_server.on.pop("identity", None)

        def outcome(case: Case) -> Any:
            return came_of(lambda: case.call(client(raw_server.url, impatient=fault.impatient)))

        others = [case for case in cases if case.name not in ("identity", "default_dw_info")]
        raw_server.on.pop("default_dw_info", None)
        with ThreadPoolExecutor(len(others) if fault.impatient else 6) as pool:
            found = dict(zip((case.name for case in others), pool.map(outcome, others), strict=True))
        counts = dict(raw_server.asked)
    for name in ("identity", "default_dw_info"):
        if BY_NAME[name] in cases:
            with raw_server.misbehaving(fault.play, name):
                found[name] = outcome(BY_NAME[name])
                counts[name] = raw_server.asked[name]
    wrong = {}
    for case in cases:
        error, times, unknown = expected(case, KNOWN[case.name], fault)
        seen = found[case.name]
        kind = type(seen) if isinstance(seen, peliqan.PeliqanError) else None
        if (kind, counts[case.name]) != (error, times):
            wrong[case.name] = (kind, counts[case.name], "instead of", error, times)
        elif kind is not None:
            assert seen.outcome_unknown is unknown, (case.name, seen)
            assert seen.__context__ is None
            assert seen.__cause__ is None
            assert secrets_in(seen, raw_server) == []
            assert seen.error != "ERROR_X" or f"In their words: {seen.status}." in seen.explained
    assert not wrong


@pytest.mark.parametrize(("where", "error"), [each[1:] for each in UNREACHED], ids=[each[0] for each in UNREACHED])
def test_where_no_connection_comes_about_nothing_was_started(where: Any, error: type[peliqan.PeliqanError]) -> None:
    with where() as url:

        def outcome(case: Case) -> Any:
            return came_of(lambda: case.call(client(url, impatient=True)))

        with ThreadPoolExecutor(len(CASES)) as pool:
            found = dict(zip((case.name for case in CASES), pool.map(outcome, CASES), strict=True))
    assert {name: (type(seen), seen.outcome_unknown) for name, seen in found.items()} == dict.fromkeys(BY_NAME, (error, False))


def test_what_comes_twice_is_there_once(raw_server: RawServer) -> None:
    twice = next(fault for fault in FAULTS if fault.name == "an id twice")
    for case in CASES:
        good = case.call(client(raw_server.url))
        with (
            raw_server.misbehaving(twice.play, case.name)
            if concerns(case, twice) and case.name != "rows"
            else raw_server.answering()
        ):
            assert case.call(client(raw_server.url)) == good
