"""Refreshes of the fleet, compared with the ideal and a plain loop; one worker and two."""

from collections.abc import Iterator, Sequence
from statistics import median
from time import perf_counter

from flask import Flask

from bench.fake_api import FakeApi, fake_api
from bench.fleet import fill
from bench.report import Figure, Limits, middle
from bench.served import Site, site
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.refresh import passes
from dashboard.refresh import service as refresh
from dashboard.refresh.tasks import start_refresh
from tests.support.databases import Servers, wait_for

LATENCY, ACCOUNTS, REFRESHES = 0.1, 1_600, 3
# More calls in flight need a larger fleet: each refresh then takes ten seconds, and its first and
# last calls have the same weight as in production.
FLEETS = ((ACCOUNTS, (8, 16)), (4 * ACCOUNTS, (32, 64)))
LOOPED = 10
RATE = 100
LARGE = 25_000
MEGABYTE = 1_000_000


def measure(servers: Servers) -> Iterator[Figure]:
    """Measure everything about refreshes."""
    for accounts, concurrencies in FLEETS:
        with fake_api(accounts) as api:
            yield from _compared_with_ideal(api, accounts, concurrencies)
    with fake_api(ACCOUNTS) as api:
        yield from _two_workers(api, servers)
        yield from _rate_limit(api, servers)
    with fake_api(LARGE) as api:
        yield _memory(api)


def _compared_with_ideal(
    api: FakeApi, accounts: int, concurrencies: Sequence[int]
) -> Iterator[Figure]:
    with site(api_url=api.url) as made:
        # The loop below and the refreshes share this process, which is set up as a worker is.
        refresh.tune_interpreter()
        run_refresh(made.make_app(dashboard_api_concurrency=16))
        api.turn(latency_ms=LATENCY * 1000)
        for concurrency in concurrencies:
            app, times, ideals = made.make_app(dashboard_api_concurrency=concurrency), [], []
            for _ in range(REFRESHES):
                before = api.calls()
                times.append(run_refresh(app))
                ideals.append((api.calls() - before) * LATENCY / concurrency)
            what = f"a refresh of {accounts:,} accounts with {concurrency} calls in flight"
            yield Figure.ratio(
                1, f"the ideal, compared with {what}", ideals, times, Limits(least=0.9)
            )
        an_account, a_call = _loop(made.app, api)
        total = an_account * accounts
        loop = [total / time for time in times]
        yield Figure(
            1,
            "the embedding page's loop, compared with the last refreshes",
            median(loop),
            30,
            None,
            middle(loop),
            f"{total:.0f} s, ours {median(times):.2f} s; {a_call * 1000:.0f} ms a call",
        )
        calls = median(ideals) * concurrencies[-1] / LATENCY
        yield Figure(
            1,
            "calls of a steady refresh, an account",
            calls / accounts,
            most=1.05,
            detail=f"{calls:.0f} calls, the list included",
        )


def _loop(app: Flask, api: FakeApi) -> tuple[float, float]:
    """Return seconds an account and a call of a loop over customers and their connections."""
    services: Services = app.extensions["services"]
    before, began = api.calls(), perf_counter()
    with app.app_context():
        accounts = next(iter(services.api.account_pages()))[:LOOPED]
        for account in accounts:
            each = services.api.for_account(account.id)
            for connection in each.connections():
                if not connection.is_warehouse:
                    each.runs(connection.id)
    took = perf_counter() - began
    return took / len(accounts), took / (api.calls() - before)


def _two_workers(api: FakeApi, servers: Servers) -> Iterator[Figure]:
    with site(servers, api.url, dashboard_api_concurrency=8) as made:
        api.turn(latency_ms=0)
        run_refresh(made.make_app(dashboard_api_concurrency=16))
        api.turn(latency_ms=LATENCY * 1000)
        made.start("worker")
        alone = [_refresh_by_workers(made) for _ in range(REFRESHES)]
        made.start("worker")
        _refresh_by_workers(made)
        together = [_refresh_by_workers(made) for _ in range(REFRESHES)]
        yield Figure.ratio(
            4, "a refresh with one worker, compared with two", alone, together, Limits(least=1.7)
        )


def _rate_limit(api: FakeApi, servers: Servers) -> Iterator[Figure]:
    with site(servers, api.url, dashboard_api_concurrency=32, dashboard_api_rate=RATE) as made:
        for _ in range(2):
            made.start("worker")
        api.turn(latency_ms=0)
        run_refresh(made.make_app(dashboard_api_concurrency=16, dashboard_api_rate=""))
        api.reset()
        api.turn(latency_ms=LATENCY * 1000)
        took = _refresh_by_workers(made)
        state = api.state()
        calls = sum(state["calls"].values())
        yield Figure(
            1,
            f"the busiest second, compared with the limit of {RATE}",
            state["busiest_second"] / RATE,
            most=1,
            detail=f"{state['busiest_second']} calls with two workers; "
            f"{calls / took:.0f} a second over the refresh",
        )


def _memory(api: FakeApi) -> Figure:
    with site(api_url=api.url, dashboard_api_concurrency=16) as made:
        fill(made.app, 4 * LARGE)
        worker = made.start("worker")
        took = _refresh_by_workers(made)
        with open(f"/proc/{worker.pid}/status") as status:
            kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        most = kilobytes * 1024 / MEGABYTE
        detail = f"{LARGE:,} accounts in {took:.0f} s, all changed, no latency"
        return Figure(1, "the most memory of a worker (MB)", most, most=150, detail=detail)


def run_refresh(app: Flask) -> float:
    """Refresh the fleet in this process; return the seconds."""
    services: Services = app.extensions["services"]
    with app.app_context():
        began = perf_counter()
        result = refresh.refresh_fleet(services)
        took = perf_counter() - began
        assert result.error is None, result.error
        db.session.remove()
        db.engine.dispose()
    return took


def _refresh_by_workers(made: Site) -> float:
    """Let the running workers refresh the fleet; return the seconds, from the store."""
    services: Services = made.app.extensions["services"]
    with made.app.app_context():
        opened = passes.start_or_join(services.clock())
        refresh_id = opened.id
        start_refresh()

        def ended() -> bool:
            db.session.rollback()
            return passes.get(refresh_id).active is None

        wait_for(ended, "the refresh ends", within=900)
        found = passes.get(refresh_id)
        assert found.error is None, found.error
        assert found.ended_at is not None
        took = (found.ended_at - found.started_at).total_seconds()
        db.session.remove()
    return took
