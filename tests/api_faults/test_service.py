"""The API client: every route with every fault, and the number of its requests."""

import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dashboard import peliqan
from dashboard.peliqan.routes import ROUTES, Route
from tests.api_faults.server import RawServer
from tests.api_faults.table import (
    ACCOUNT,
    BY_NAME,
    CASES,
    CUSTOMER,
    FAULTS,
    IN_NO_TIME,
    PARTNER,
    PATIENCE,
    SECOND_WAYS,
    UNREACHED,
    Case,
    Fault,
    says,
)

KNOWN = {route.name: route for route in ROUTES}
OLD = "old-secret-5555555555"


def client(url: str, *, impatient: bool = False) -> peliqan.Peliqan:
    """A client with one retry, no waits, and a cached customer's token."""
    tokens = peliqan.MemoryTokens()
    tokens.put(ACCOUNT, OLD)
    patience = IN_NO_TIME if impatient else PATIENCE
    options = peliqan.ClientOptions(read_timeout=patience, retries=1, backoff=0.0)
    api = peliqan.Peliqan(url, PARTNER, tokens=tokens, options=options)
    # The size limit is 1 MB here: 200 responses of 16 MB would take long.
    api.transport.largest = 1 << 20
    return api


def came_of(call: Any) -> Any:
    """Return a call's result or the client's error; any other error is a bug."""
    try:
        return call()
    except peliqan.PeliqanError as error:
        return error


def expected(
    case: Case, route: Route, fault: Fault
) -> tuple[type[peliqan.PeliqanError] | None, int, bool]:
    """Return the error, the number of requests, and whether the work may have started."""
    renews = not route.partner and route.name != "proxy_db"
    if fault.leaves_another_way(route.name):
        return None, 1, False
    error = fault.error if renews or fault.unrenewed is None else fault.unrenewed
    if case.plain and fault.name == "a word":
        error = None
    if fault.only == "paged":
        # The second page, equal to the first.
        return error, 2, False
    if fault.name.startswith("401") and renews:
        return error, 2, False
    return error, 2 if fault.again and route.is_safe else 1, fault.unknown and route.once


def concerns(case: Case, fault: Fault) -> bool:
    if fault.only == "lists":
        items = (
            case.good
            if not isinstance(case.good, dict)
            else case.good.get("data", case.good.get("results"))
        )
        return isinstance(items, list)
    return fault.only != "paged" or case.paged


def secrets_in(error: peliqan.PeliqanError, server: RawServer) -> list[str]:
    text = (
        "".join(traceback.format_exception(error))
        + repr(error)
        + repr(error.args)
        + repr(vars(error))
    )
    return [secret for secret in (PARTNER, CUSTOMER, OLD, server.url, "/steal") if secret in text]


def test_every_route_has_its_line() -> None:
    assert [case.name for case in CASES] == [route.name for route in ROUTES]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_route_makes_of_it_what_the_table_says(raw_server: RawServer, fault: Fault) -> None:
    """Safe reads are retried only where that may help; requests that start work are sent once.

    No error contains a token or an address.
    """
    cases = [case for case in CASES if concerns(case, fault)]
    with raw_server.misbehaving(fault.play, *(case.name for case in cases)):
        # The token's own route has its fault in its own line only.
        raw_server.on.pop("identity", None)

        def outcome(case: Case) -> Any:
            return came_of(lambda: case.call(client(raw_server.url, impatient=fault.impatient)))

        # Other routes with the same data would be counted too; so each route also fails alone.
        alone = [
            case.name
            for case in cases
            if case.name == "identity" or fault.leaves_another_way(case.name)
        ]
        alone += ["default_dw_info"] if "default_dw_info" not in alone else []
        others = [case for case in cases if case.name not in alone]
        for name in alone:
            raw_server.on.pop(name, None)
        with ThreadPoolExecutor(len(others) if fault.impatient else 6) as pool:
            found = dict(
                zip((case.name for case in others), pool.map(outcome, others), strict=True)
            )
        counts = dict(raw_server.request_counts)
    for name in alone:
        if BY_NAME[name] in cases:
            with raw_server.misbehaving(fault.play, name):
                found[name] = outcome(BY_NAME[name])
                counts[name] = raw_server.request_counts[name]
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


REFUSALS = [fault for fault in FAULTS if fault.leaves_another_way("server")]


@pytest.mark.parametrize("fault", REFUSALS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("name", SECOND_WAYS)
def test_a_route_that_is_missing_or_refused_is_asked_once_and_the_other_way_from_then_on(
    raw_server: RawServer, name: str, fault: Fault
) -> None:
    api, case = client(raw_server.url), BY_NAME[name]
    with raw_server.misbehaving(fault.play, name):
        found = [case.call(api) for _ in range(3)]
        assert raw_server.request_counts[name] == 1
        assert all(raw_server.request_counts[other] == 3 for other in SECOND_WAYS[name])
    well = case.call(client(raw_server.url))
    results = [
        getattr(each, "model_dump", lambda each=each: {"": each})() for each in (well, *found)
    ]
    # The alternative route gives the same result; a status from runs lacks the task.
    assert all(
        each.get("id") == results[0].get("id") and each.get("running") == results[0].get("running")
        for each in results
    )


@pytest.mark.parametrize("name", SECOND_WAYS)
def test_where_both_ways_are_refused_the_error_is_told_and_the_first_is_tried_again_next_time(
    raw_server: RawServer, name: str
) -> None:
    api, refused = client(raw_server.url), next(fault for fault in FAULTS if fault.name == "404")
    with raw_server.misbehaving(refused.play, name, *SECOND_WAYS[name]):
        for times in (1, 2):
            with pytest.raises(peliqan.NotFound):
                BY_NAME[name].call(api)
            assert raw_server.request_counts[name] == times


@pytest.mark.parametrize("code", ["ERROR_TABLE_DOES_NOT_EXIST", "ERROR_USER_NOT_IN_GROUP"])
def test_a_table_that_does_not_exist_or_is_anothers_is_not_looked_for_elsewhere(
    raw_server: RawServer, code: str
) -> None:
    with raw_server.misbehaving(says({"error": code, "detail": ""}, 404), "table"):
        with pytest.raises(peliqan.PeliqanError):
            BY_NAME["table"].call(client(raw_server.url))
        assert raw_server.request_counts["applications"] == 0


@pytest.mark.parametrize(
    ("where", "error"), [each[1:] for each in UNREACHED], ids=[each[0] for each in UNREACHED]
)
def test_where_no_connection_comes_about_nothing_was_started(
    where: Any, error: type[peliqan.PeliqanError]
) -> None:
    with where() as url:

        def outcome(case: Case) -> Any:
            return came_of(lambda: case.call(client(url, impatient=True)))

        with ThreadPoolExecutor(len(CASES)) as pool:
            found = dict(zip((case.name for case in CASES), pool.map(outcome, CASES), strict=True))
    assert {
        name: (type(seen), seen.outcome_unknown) for name, seen in found.items()
    } == dict.fromkeys(BY_NAME, (error, False))


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
