"""The circuit breaker: when it opens, which process sends probes, and when it closes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard import peliqan
from dashboard.peliqan.circuit_breaker import (
    OVERDUE,
    PROBE_EVERY,
    CircuitBreaker,
    CircuitOpen,
    MemoryOutageStore,
)
from dashboard.peliqan.limits import FAILURES_OF_OUTAGE, FIRST_PROBE_AFTER, LONGEST_PROBE_WAIT
from tests.support.fault_server import CUSTOMER, Answer, FaultServer, html

BEGAN = datetime(2026, 1, 2, 10, 42, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SERVERS, SYNC, ACCOUNTS = "/api/servers/", "/api/servers/7/syncdb/", "/api/partner/sub-accounts/"


class ManualClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def notes() -> MemoryOutageStore:
    return MemoryOutageStore()


def fail_once(breaker: CircuitBreaker, account: int, *, timed_out: bool = False) -> bool:
    """Record a try without an answer; return whether a probe is wanted."""
    return breaker.record_failure(account, breaker.answers, timed_out=timed_out)


def opened(notes: MemoryOutageStore, manual_clock: ManualClock) -> CircuitBreaker:
    """Return a breaker that failures and an unanswered probe have opened."""
    breaker = CircuitBreaker(notes, clock=manual_clock)
    while not fail_once(breaker, 1):
        pass
    breaker.record_probe(breaker.answers, answered=False, reason="Peliqan did not answer in time.")
    return breaker


def is_open(breaker: CircuitBreaker, *, may_probe: bool = False) -> bool:
    try:
        breaker.ensure_closed(may_probe=may_probe)
    except CircuitOpen:
        return True
    return False


def test_a_probe_is_asked_for_after_so_many_failures_in_a_row_and_not_one_before(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = CircuitBreaker(notes, clock=manual_clock)
    assert [fail_once(breaker, account) for account in range(FAILURES_OF_OUTAGE)] == [False] * (
        FAILURES_OF_OUTAGE - 1
    ) + [True]
    assert not is_open(breaker)
    breaker.record_probe(breaker.answers, answered=False, reason="No.")
    assert is_open(breaker)
    assert breaker.outage is not None
    assert (breaker.outage.since, breaker.outage.reason) == (BEGAN, "No.")


def test_a_probe_that_is_answered_keeps_it_closed_and_no_other_is_sent_for_a_while(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = CircuitBreaker(notes, clock=manual_clock)
    for _ in range(3):
        assert [fail_once(breaker, 7) for _ in range(FAILURES_OF_OUTAGE)][-1]
        breaker.record_probe(breaker.answers, answered=True)
        assert not any(fail_once(breaker, 7) for _ in range(10 * FAILURES_OF_OUTAGE))
        assert not is_open(breaker)
        manual_clock.move(PROBE_EVERY)
        breaker.record_answer()


def test_only_one_probe_is_under_way_at_a_time(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = CircuitBreaker(notes, clock=manual_clock)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda account: fail_once(breaker, account), range(200))) == 1


def test_an_answer_between_begins_the_count_anew(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = CircuitBreaker(notes, clock=manual_clock)
    for account in range(3 * FAILURES_OF_OUTAGE):
        assert not fail_once(breaker, account)
        if account % (FAILURES_OF_OUTAGE - 1) == 0:
            breaker.record_answer()


def test_a_try_during_which_another_was_answered_is_not_counted(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = CircuitBreaker(notes, clock=manual_clock)
    sent = breaker.answers
    breaker.record_answer()
    assert not any(
        breaker.record_failure(account, sent, timed_out=True)
        for account in range(10 * FAILURES_OF_OUTAGE)
    )


def test_an_answer_that_comes_while_the_probe_is_under_way_keeps_it_closed(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = CircuitBreaker(notes, clock=manual_clock)
    while not fail_once(breaker, 1):
        pass
    sent = breaker.answers
    breaker.record_answer()
    breaker.record_probe(sent, answered=False, reason="No.")
    assert not is_open(breaker)


def test_a_time_out_beside_another_accounts_failure_is_suspicious_at_once(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = CircuitBreaker(notes, clock=manual_clock)
    assert not any(fail_once(breaker, 1, timed_out=True) for _ in range(10 * FAILURES_OF_OUTAGE))
    assert fail_once(breaker, 2, timed_out=True)


def test_turns_come_ever_more_rarely_and_each_is_one_process_s(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    worker, other = opened(notes, manual_clock), CircuitBreaker(notes, clock=manual_clock)
    waits = []
    for _ in range(6):
        started_at = manual_clock.now
        while not worker.claim_probe():
            manual_clock.move(SECOND)
        assert not other.claim_probe()
        waits.append((manual_clock.now - started_at).total_seconds())
    assert waits == [
        FIRST_PROBE_AFTER.total_seconds(),
        10,
        20,
        40,
        LONGEST_PROBE_WAIT.total_seconds(),
        LONGEST_PROBE_WAIT.total_seconds(),
    ]


def test_of_many_threads_one_has_the_turn(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = opened(notes, manual_clock)
    manual_clock.move(FIRST_PROBE_AFTER)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: breaker.claim_probe(), range(64))) == 1


def test_a_read_waits_for_the_worker_and_asks_only_where_none_does(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    breaker = opened(notes, manual_clock)
    manual_clock.move(FIRST_PROBE_AFTER + OVERDUE - SECOND)
    assert is_open(breaker, may_probe=True)
    manual_clock.move(SECOND)
    assert is_open(breaker, may_probe=False)
    assert not is_open(breaker, may_probe=True)
    assert is_open(breaker, may_probe=True)


def test_another_process_learns_of_it_within_a_second_and_of_its_end_as_well(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    other = CircuitBreaker(notes, clock=manual_clock)
    assert not is_open(other)
    first = opened(notes, manual_clock)
    manual_clock.move(SECOND)
    assert is_open(other)
    first.record_answer()
    assert not is_open(first)
    manual_clock.move(SECOND)
    assert not is_open(other)


def test_an_outage_that_another_wrote_down_first_counts(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    first = opened(notes, manual_clock)
    manual_clock.move(SECOND / 2)
    second = opened(notes, manual_clock)
    assert second.outage == first.outage


def test_a_clock_that_is_put_back_does_not_keep_it_shut(
    notes: MemoryOutageStore, manual_clock: ManualClock
) -> None:
    other, first = CircuitBreaker(notes, clock=manual_clock), opened(notes, manual_clock)
    assert is_open(other)
    manual_clock.move(-timedelta(hours=1))
    first.record_answer()
    assert not is_open(other)


# Over the wire


@pytest.fixture
def api(server: FaultServer, manual_clock: ManualClock) -> Iterator[peliqan.Peliqan]:
    made = server.client(breaker=CircuitBreaker(clock=manual_clock), retries=0, read_timeout=5.0)
    for account_id in range(1, 10):
        made.tokens.put(account_id, CUSTOMER)
    return made


def fail(api: peliqan.Peliqan, times: int = FAILURES_OF_OUTAGE) -> None:
    for account_id in range(1, times + 1):
        # The breaker distinguishes accounts by their tokens.
        api.tokens.put(account_id, f"{CUSTOMER}{account_id}")
        with pytest.raises(peliqan.PeliqanError):
            api.for_account(account_id).connections()


def test_while_it_answers_nobody_nothing_is_sent_and_the_words_say_so(
    server: FaultServer, api: peliqan.Peliqan
) -> None:
    server.say(SERVERS, html(503))
    server.say(ACCOUNTS, html(503))
    server.say(SYNC, Answer({"run_data": []}))
    fail(api)
    requests_before = len(server.requests)
    started_at = time.monotonic()
    with pytest.raises(peliqan.ApiUnavailable) as read:
        api.for_account(1).connections()
    with pytest.raises(peliqan.ApiUnavailable) as started:
        api.for_account(1).start_sync(7)
    with pytest.raises(peliqan.ApiUnavailable):
        list(api.for_account(1).query("select 1", warehouse="data"))
    assert time.monotonic() - started_at < 0.5
    assert len(server.requests) == requests_before
    assert started.value.outcome_unknown is False
    since = (
        "Every try since 2 January, 10:42 UTC has failed"
        " (the last with: Peliqan has an internal error)"
    )
    assert (
        read.value.explained
        == f"Peliqan does not answer. {since}, so it is asked now and then only."
    )
    assert started.value.explained == f"Peliqan does not answer. {since}, so this was not sent."


def test_a_press_is_never_the_try_nor_is_the_token_that_it_needs(
    server: FaultServer, api: peliqan.Peliqan, manual_clock: ManualClock
) -> None:
    server.say(SERVERS, html(503))
    server.say(ACCOUNTS, html(503))
    fail(api)
    server.say(SYNC, Answer({"run_data": []}))
    manual_clock.move(timedelta(hours=1))
    for account_id in (1, 77):  # of the second, no token is known
        with pytest.raises(peliqan.ApiUnavailable):
            api.for_account(account_id).start_sync(7)
    with pytest.raises(peliqan.ApiUnavailable):
        api.integration_token("cust-1")
    assert server.count(SYNC) + server.count("/api/partner/sub-account/identity/") == 0


def test_a_read_that_is_answered_ends_it(
    server: FaultServer, api: peliqan.Peliqan, manual_clock: ManualClock
) -> None:
    server.say(SERVERS, html(503))
    server.say(ACCOUNTS, html(503))
    fail(api)
    server.say(SERVERS, Answer([]))
    manual_clock.move(FIRST_PROBE_AFTER + OVERDUE)
    assert api.for_account(1).connections() == ()
    assert api.breaker.outage is None
    assert api.for_account(2).connections() == ()


def test_a_try_that_fails_is_one_request(server: FaultServer, manual_clock: ManualClock) -> None:
    api = server.client(breaker=CircuitBreaker(clock=manual_clock), retries=3, read_timeout=5.0)
    server.say(ACCOUNTS, html(503))
    for _ in range(3):
        with pytest.raises(peliqan.PeliqanError):
            api.account_page()
    # Four tries, one of the second call, and the probe; then the second call does not retry.
    expected = FAILURES_OF_OUTAGE + 1
    assert server.count(ACCOUNTS) == expected
    assert api.breaker.claim_probe() is False
    manual_clock.move(FIRST_PROBE_AFTER)
    assert api.breaker.claim_probe() is True
    assert api.answers_again() is False
    assert server.count(ACCOUNTS) == expected + 1
    server.say(ACCOUNTS, Answer([]))
    assert api.answers_again() is True


def test_what_a_probe_asks_has_nothing_to_do_with_the_failing_accounts(
    server: FaultServer, api: peliqan.Peliqan, manual_clock: ManualClock
) -> None:
    server.say(SERVERS, Answer([]))
    assert api.for_account(9).connections() == ()
    good = f"JWT {CUSTOMER}"
    # Customers' routes fail while the partner's works, which is an outage for all customers.
    server.say(SERVERS, html(503))
    server.say(ACCOUNTS, Answer([]))
    fail(api)
    assert server.requests[-1].headers["Authorization"] == good
    assert api.breaker.outage is not None
    # No customer's call has succeeded, so the partner's is the probe.
    api.breaker.record_answer()
    manual_clock.move(PROBE_EVERY)
    requests_before = server.count(ACCOUNTS)
    api.transport._last_good = None
    fail(api)
    assert server.count(ACCOUNTS) == requests_before + 1
    assert api.breaker.outage is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429])
def test_a_refusal_is_an_answer(server: FaultServer, api: peliqan.Peliqan, status: int) -> None:
    server.say(SERVERS, Answer({"detail": "No."}, status))
    fail(api, 9)
    assert api.breaker.outage is None


@pytest.mark.parametrize("answer", [lambda: html(), lambda: Answer(b""), lambda: Answer(b"[")])
def test_an_answer_that_cannot_be_read_is_one_all_the_same(
    server: FaultServer, api: peliqan.Peliqan, answer: Callable[[], Answer]
) -> None:
    server.say(SERVERS, answer())
    fail(api, 9)
    assert api.breaker.outage is None


def test_a_count_of_requests_that_is_away_says_nothing_of_peliqan(
    server: FaultServer, manual_clock: ManualClock
) -> None:
    pace = peliqan.RateLimiter(4, 10, "redis://127.0.0.1:1/0")
    api = server.client(breaker=CircuitBreaker(clock=manual_clock), rate_limiter=pace)
    for _ in range(2 * FAILURES_OF_OUTAGE):
        with pytest.raises(peliqan.RateLimiterUnavailable):
            api.account_page()
    assert api.breaker.outage is None


def test_whoever_waits_for_a_free_slot_is_told_as_soon_as_it_is_known(
    server: FaultServer, manual_clock: ManualClock
) -> None:
    """Eight calls wait for a slot while others time out: they fail as soon as it opens."""

    def stalls(_: Any) -> None:
        server.stopped.wait(5)

    server.say(SERVERS, Answer(raw=stalls))
    server.say(ACCOUNTS, Answer(raw=stalls))
    api = server.client(
        breaker=CircuitBreaker(clock=manual_clock),
        retries=0,
        read_timeout=0.15,
        concurrency=2,
        rate_limiter=peliqan.RateLimiter(2),
    )

    def call(account_id: int) -> type[Exception]:
        api.tokens.put(account_id, f"{CUSTOMER}{account_id}")
        try:
            api.for_account(account_id).connections()
        except peliqan.PeliqanError as error:
            return type(error)
        raise AssertionError

    with ThreadPoolExecutor(16) as pool:
        started_at = time.monotonic()
        kinds = list(pool.map(call, range(16)))
    # Two run at a time, and time-outs of two accounts are enough to open it.
    assert kinds.count(peliqan.TimedOut) <= 4
    assert kinds.count(peliqan.ApiUnavailable) >= 12
    assert time.monotonic() - started_at < 2
