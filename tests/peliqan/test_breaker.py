"""The breaker: when nobody is asked any more, who asks whether it answers again, and when all are."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard import peliqan
from dashboard.peliqan.breaker import FIRST_WAIT, IN_A_ROW, LONGEST_WAIT, OF_ONE_PLACE, OVERDUE, Breaker, MemoryNotes, Open
from tests.peliqan.conftest import CUSTOMER, Answer, FaultServer, html

BEGAN = datetime(2026, 1, 2, 10, 42, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SERVERS, SYNC, ACCOUNTS = "/api/servers/", "/api/servers/7/syncdb/", "/api/partner/sub-accounts/"


class Hands:
    """A clock whose hands a test moves."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def notes() -> MemoryNotes:
    return MemoryNotes()


def opened(notes: MemoryNotes, hands: Hands) -> Breaker:
    breaker = Breaker(notes, clock=hands)
    for place in range(IN_A_ROW):
        breaker.failed(place, "Peliqan did not answer in time.")
    return breaker


def is_open(breaker: Breaker, *, may_try: bool = False) -> bool:
    try:
        breaker.ask(may_try=may_try)
    except Open:
        return True
    return False


def test_nobody_is_asked_after_so_many_failures_in_a_row_and_not_one_before(notes: MemoryNotes, hands: Hands) -> None:
    breaker = Breaker(notes, clock=hands)
    for place in range(IN_A_ROW):
        assert not is_open(breaker)
        breaker.failed(place, "No.")
    assert is_open(breaker)
    assert breaker.outage is not None
    assert (breaker.outage.since, breaker.outage.reason) == (BEGAN, "No.")


def test_an_answer_between_begins_the_count_anew(notes: MemoryNotes, hands: Hands) -> None:
    breaker = Breaker(notes, clock=hands)
    for place in range(3 * IN_A_ROW):
        breaker.failed(place, "No.")
        if place % (IN_A_ROW - 1) == 0:
            breaker.answered()
    assert not is_open(breaker)


def test_one_address_that_fails_may_be_one_customers_trouble_and_has_to_fail_twice_as_often(
    notes: MemoryNotes, hands: Hands
) -> None:
    breaker = Breaker(notes, clock=hands)
    for _ in range(OF_ONE_PLACE - 1):
        breaker.failed(7, "No.")
        assert not is_open(breaker)
    breaker.failed(7, "No.")
    assert is_open(breaker)


def test_turns_come_ever_more_rarely_and_each_is_one_process_s(notes: MemoryNotes, hands: Hands) -> None:
    worker, other = opened(notes, hands), Breaker(notes, clock=hands)
    waits = []
    for _ in range(6):
        began = hands.now
        while not worker.take_turn():
            hands.move(SECOND)
        assert not other.take_turn()
        waits.append((hands.now - began).total_seconds())
    assert waits == [FIRST_WAIT.total_seconds(), 10, 20, 40, LONGEST_WAIT.total_seconds(), LONGEST_WAIT.total_seconds()]


def test_of_many_threads_one_has_the_turn(notes: MemoryNotes, hands: Hands) -> None:
    breaker = opened(notes, hands)
    hands.move(FIRST_WAIT)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: breaker.take_turn(), range(64))) == 1


def test_a_read_waits_for_the_worker_and_asks_only_where_none_does(notes: MemoryNotes, hands: Hands) -> None:
    breaker = opened(notes, hands)
    hands.move(FIRST_WAIT + OVERDUE - SECOND)
    assert is_open(breaker, may_try=True)
    hands.move(SECOND)
    assert is_open(breaker, may_try=False)
    assert not is_open(breaker, may_try=True)
    assert is_open(breaker, may_try=True)


def test_another_process_learns_of_it_within_a_second_and_of_its_end_as_well(notes: MemoryNotes, hands: Hands) -> None:
    other = Breaker(notes, clock=hands)
    assert not is_open(other)
    first = opened(notes, hands)
    hands.move(SECOND)
    assert is_open(other)
    first.answered()
    assert not is_open(first)
    hands.move(SECOND)
    assert not is_open(other)


def test_an_outage_that_another_wrote_down_first_counts(notes: MemoryNotes, hands: Hands) -> None:
    first = opened(notes, hands)
    hands.move(SECOND / 2)
    second = opened(notes, hands)
    assert second.outage == first.outage


def test_a_clock_that_is_put_back_does_not_keep_it_shut(notes: MemoryNotes, hands: Hands) -> None:
    other, first = Breaker(notes, clock=hands), opened(notes, hands)
    assert is_open(other)
    hands.move(-timedelta(hours=1))
    first.answered()
    assert not is_open(other)


# Over the wire


@pytest.fixture
def api(server: FaultServer, hands: Hands) -> Iterator[peliqan.Peliqan]:
    made = server.client(breaker=Breaker(clock=hands), retries=0, read_timeout=5.0)
    for account_id in range(1, 10):
        made.tokens.put(account_id, CUSTOMER)
    return made


def fail(api: peliqan.Peliqan, times: int = IN_A_ROW) -> None:
    for account_id in range(1, times + 1):
        # Accounts are told apart by their tokens.
        api.tokens.put(account_id, f"{CUSTOMER}{account_id}")
        with pytest.raises(peliqan.PeliqanError):
            api.for_account(account_id).connections()


def test_while_it_answers_nobody_nothing_is_sent_and_the_words_say_so(server: FaultServer, api: peliqan.Peliqan) -> None:
    server.say(SERVERS, html(503))
    server.say(SYNC, Answer({"run_data": []}))
    fail(api)
    asked = len(server.asked)
    began = time.monotonic()
    with pytest.raises(peliqan.Away) as read:
        api.for_account(1).connections()
    with pytest.raises(peliqan.Away) as started:
        api.for_account(1).start_sync(7)
    with pytest.raises(peliqan.Away):
        list(api.for_account(1)._transport.stream(api.routes["proxy_db"], CUSTOMER, {}, quiet=1))
    assert time.monotonic() - began < 0.5
    assert len(server.asked) == asked
    assert started.value.outcome_unknown is False
    since = "Every try since 2 January, 10:42 UTC has failed (the last with: Peliqan has an internal error)"
    assert read.value.explained == f"Peliqan does not answer. {since}, so it is asked now and then only."
    assert started.value.explained == f"Peliqan does not answer. {since}, so this was not sent."


def test_a_press_is_never_the_try_nor_is_the_token_that_it_needs(server: FaultServer, api: peliqan.Peliqan, hands: Hands) -> None:
    server.say(SERVERS, html(503))
    fail(api)
    server.say(SYNC, Answer({"run_data": []}))
    hands.move(timedelta(hours=1))
    for account_id in (1, 77):  # of the second, no token is known
        with pytest.raises(peliqan.Away):
            api.for_account(account_id).start_sync(7)
    with pytest.raises(peliqan.Away):
        api.integration_token("cust-1")
    assert server.count(SYNC) + server.count("/api/partner/sub-account/identity/") == 0


def test_a_read_that_is_answered_ends_it(server: FaultServer, api: peliqan.Peliqan, hands: Hands) -> None:
    server.say(SERVERS, html(503))
    fail(api)
    server.say(SERVERS, Answer([]))
    hands.move(FIRST_WAIT + OVERDUE)
    assert api.for_account(1).connections() == ()
    assert api.breaker.outage is None
    assert api.for_account(2).connections() == ()


def test_a_try_that_fails_is_one_request(server: FaultServer, hands: Hands) -> None:
    api = server.client(breaker=Breaker(clock=hands), retries=3, read_timeout=5.0)
    server.say(ACCOUNTS, html(503))
    for _ in range(3):
        with pytest.raises(peliqan.PeliqanError):
            api.account_page()
    # Four tries, four, and two of the third call: its retries are given up as soon as it is known.
    assert server.count(ACCOUNTS) == OF_ONE_PLACE
    assert api.breaker.take_turn() is False
    hands.move(FIRST_WAIT)
    assert api.breaker.take_turn() is True
    assert api.answers_again() is False
    assert server.count(ACCOUNTS) == OF_ONE_PLACE + 1
    server.say(ACCOUNTS, Answer([]))
    assert api.answers_again() is True


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


def test_a_count_of_requests_that_is_away_says_nothing_of_peliqan(server: FaultServer, hands: Hands) -> None:
    pace = peliqan.Pace(4, 10, "redis://127.0.0.1:1/0")
    api = server.client(breaker=Breaker(clock=hands), pace=pace)
    for _ in range(OF_ONE_PLACE):
        with pytest.raises(peliqan.NoPace):
            api.account_page()
    assert api.breaker.outage is None


def test_whoever_waits_for_a_free_slot_is_told_as_soon_as_it_is_known(server: FaultServer, hands: Hands) -> None:
    """Eight are stuck in time-outs at one slot: those behind them do not wait for theirs."""

    def stalls(_: Any) -> None:
        server.stopped.wait(5)

    server.say(SERVERS, Answer(raw=stalls))
    api = server.client(breaker=Breaker(clock=hands), retries=0, read_timeout=0.15, concurrency=2, pace=peliqan.Pace(2))

    def call(account_id: int) -> type[Exception]:
        api.tokens.put(account_id, f"{CUSTOMER}{account_id}")
        try:
            api.for_account(account_id).connections()
        except peliqan.PeliqanError as error:
            return type(error)
        raise AssertionError

    with ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        kinds = list(pool.map(call, range(16)))
    assert kinds.count(peliqan.TimedOut) <= IN_A_ROW + 2
    assert kinds.count(peliqan.Away) >= 16 - IN_A_ROW - 2
    assert time.monotonic() - began < 2
