"""The rate limit holds in every second, retries included."""

import threading
import time
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor

import pytest

from dashboard import peliqan
from tests.support.databases import Servers
from tests.support.processes import TOKEN
from tests.support.sandbox import Sandbox

RATE = 40


def busiest(times: list[float], seconds: float = 1) -> int:
    times = sorted(times)
    return max(bisect_left(times, start + seconds) - index for index, start in enumerate(times))


def test_no_second_holds_more_requests_than_promised_however_many_ask() -> None:
    pace, sent = peliqan.RateLimiter(16, RATE), []

    def request(_: int) -> None:
        pace.wait()
        sent.append(time.monotonic())

    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(request, range(2 * RATE)))
    assert busiest(sent) <= RATE
    # It is not much slower than allowed: two seconds' requests leave within three seconds.
    assert time.monotonic() - started < 3


def test_two_processes_that_share_a_redis_share_the_second_and_spread_over_it(
    servers: Servers,
) -> None:
    sent: list[float] = []

    def request(limiter: peliqan.RateLimiter) -> None:
        for _ in range(3 * RATE // 2):
            limiter.wait()
            sent.append(time.monotonic())

    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(request, [peliqan.RateLimiter(16, RATE, servers.redis.url) for _ in range(2)])
        )
    assert busiest(sent) <= RATE
    # A burst at the start of a second could meet late requests of the second before.
    assert busiest(sent, 0.5) <= 0.8 * RATE
    assert time.monotonic() - started < 4


def test_no_more_calls_are_out_at_once_than_allowed(sandbox: Sandbox) -> None:
    out, most, lock = 0, 0, threading.Lock()

    class Counting(threading.BoundedSemaphore):
        def __enter__(self) -> bool:
            nonlocal out, most
            entered = super().__enter__()
            with lock:
                out += 1
                most = max(most, out)
            return bool(entered)

        def __exit__(self, *args: object) -> None:
            nonlocal out
            with lock:
                out -= 1
            super().__exit__(*args)  # type: ignore[arg-type]

    pace = peliqan.RateLimiter(3)
    pace.slot = Counting(3)
    options = peliqan.ClientOptions(rate_limiter=pace)
    api = peliqan.Peliqan(sandbox.url, TOKEN, tokens=peliqan.MemoryTokens(), options=options)
    sandbox.fault("sub_accounts", kind="extra_fields", delay_ms=50)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: api.account_page(1, 1), range(12)))
    assert most == 3


def test_retries_keep_to_the_pace_too(sandbox: Sandbox) -> None:
    requests = 0
    pace = peliqan.RateLimiter(1)
    wait = pace.wait

    def counting() -> None:
        nonlocal requests
        requests += 1
        wait()

    pace.wait = counting  # type: ignore[method-assign]
    options = peliqan.ClientOptions(rate_limiter=pace, backoff=0.01)
    api = peliqan.Peliqan(sandbox.url, TOKEN, tokens=peliqan.MemoryTokens(), options=options)
    sandbox.fault("sub_accounts", status=503, times=2)
    api.account_page(1, 1)
    assert requests == 3


def test_nothing_is_sent_while_the_shared_count_is_away(sandbox: Sandbox) -> None:
    pace = peliqan.RateLimiter(1, RATE, "redis://127.0.0.1:1/0")
    options = peliqan.ClientOptions(rate_limiter=pace)
    api = peliqan.Peliqan(sandbox.url, TOKEN, tokens=peliqan.MemoryTokens(), options=options)
    before = sandbox.state()["calls"].get("sub_accounts", 0)
    with pytest.raises(peliqan.RateLimiterUnavailable, match="Redis does not answer"):
        api.account_page(1, 1)
    assert sandbox.state()["calls"].get("sub_accounts", 0) == before
